// Renders what DMS sends, one function a type. Everything in a payload comes from outside: it may be missing, of any
// type, or hostile. Knows nothing of the connection.

import { asJson, element, outsideLink, picture, webAddress } from "../shared/dom.js";

// By its name, where no content type says it.
const IMAGE_NAME = /\.(png|jpe?g|gif|webp|avif|svg)$/i;

const RENDERERS = {
  text: renderText,
  menu: renderMenu,
  carousel: renderCarousel,
  link_button: renderLinkButton,
  wait_time: renderWaitTime,
  csr_end_session: () => [element("p", {}, "The conversation was ended by the other side.")],
};

// These are no one's words: they stand across the conversation instead of in a bubble.
export const ANNOUNCEMENTS = new Set(["wait_time", "csr_end_session"]);

/**
 * The nodes for a payload. `picked({text, payload, index})` is called when the customer picks a menu item or a card's button,
 * the index-th button.choice of the message.
 */
export function renderPayload(payload, picked) {
  let count = 0;
  const choose = (item) => {
    const index = count++;
    return choice(item, (chosen) => picked({ ...chosen, index }));
  };
  const known = payload !== null && typeof payload === "object" && Object.hasOwn(RENDERERS, payload.type);
  const nodes = known ? RENDERERS[payload.type](payload, choose) : [];
  // Of a known type, but with nothing in it that could be shown: better all of it than an empty bubble.
  return nodes.some((node) => node.textContent || node.querySelector("img")) ? nodes : [renderUnknown(payload)];
}

/** Who speaks: the agent's name, the author's, or nobody in particular. */
export function speaker(payload) {
  return words(payload?.csr_name) || words(payload?.author) || "";
}

function renderText(payload) {
  const texts = list(payload.text).map(words).filter(Boolean);
  return [
    ...texts.map((text) => element("p", { class: "text" }, text)),
    ...objects(list(payload.attachments)).map(renderAttachment),
  ];
}

function renderAttachment(attachment) {
  const named = words(attachment.file_name) || nameIn(attachment.url);
  const name = named || "Attachment";
  const type = words(attachment.content_type);
  const facts = [type, fileSize(attachment.size)].filter(Boolean).join(", ");
  const file = () =>
    element("p", { class: "file" }, outsideLink(attachment.url, name), facts && element("small", {}, ` ${facts}`));
  if (!(type ? type.startsWith("image/") : IMAGE_NAME.test(named))) return file();
  const image = picture(attachment.url, name, { class: "attached-image" });
  if (image === null) return file();
  const figure = element("figure", { class: "figure" }, image, element("figcaption", {}, file()));
  const said = "The image cannot be shown here. DMS's links to files die after 15 minutes.";
  image.addEventListener("error", () => figure.prepend(element("small", {}, said)), { once: true });
  return figure;
}

/** What the file is called in its address, or nothing. */
function nameIn(url) {
  const address = webAddress(url);
  if (address === null) return "";
  const last = new URL(address).pathname.split("/").at(-1);
  try {
    return decodeURIComponent(last);
  } catch {
    return last;
  }
}

function renderMenu(payload, choose) {
  const title = words(payload.title);
  return [
    title && element("p", { class: "text" }, title),
    element("ul", { class: "choices", "aria-label": title || "Choices" },
      ...objects(payload.items).map((item) => element("li", {}, choose(item)))),
  ].filter(Boolean);
}

function renderCarousel(payload, choose) {
  const cards = objects(payload.items).map((card) =>
    element("li", { class: "card" },
      picture(card.title_image_url, "", { class: "card-image" }),
      element("p", { class: "card-title" }, words(card.title)),
      words(card.sub_title) && element("p", { class: "card-sub" }, words(card.sub_title)),
      element("div", { class: "card-choices" }, ...objects(card.items).map((item) => choose(item)))));
  return [element("ul", { class: "carousel", tabindex: "0", "aria-label": "Cards, scrolls sideways" }, ...cards)];
}

function choice(item, picked) {
  const payload = item.payload ?? item.text;
  const text = words(item.text) || words(payload) || "…";
  return element("button", { type: "button", class: "choice", onclick: () => picked({ text, payload }) },
    picture(item.image_url, "", { class: "choice-image" }),
    element("span", { class: "choice-words" },
      element("span", { class: "choice-text" }, text),
      words(item.description) && element("span", { class: "choice-description" }, words(item.description))));
}

function renderLinkButton(payload) {
  const title = words(payload.title);
  const label = words(payload.label) || words(payload.url) || "Link";
  return [
    title && element("p", { class: "text" }, title),
    element("p", {}, outsideLink(payload.url, label, { class: "link-button" })),
  ].filter(Boolean);
}

function renderWaitTime(payload) {
  // DMS gives no unit, so the value is shown as it came.
  const waitTime = words(payload.waitTime);
  return waitTime ? [element("p", {}, `Estimated waiting time: ${waitTime}`)] : [];
}

function renderUnknown(payload) {
  const type = words(payload?.type);
  return element("details", { class: "unknown" },
    element("summary", {}, type ? `Message of type “${type}”` : "A message that this page does not know"),
    element("pre", { tabindex: "0" }, asJson(payload)));
}

/** A text or number as text, anything else as none. */
export function words(value) {
  return typeof value === "string" || typeof value === "number" ? String(value) : "";
}

function list(value) {
  return Array.isArray(value) ? value : [value];
}

function objects(value) {
  return Array.isArray(value) ? value.filter((item) => item !== null && typeof item === "object") : [];
}

function fileSize(bytes) {
  if (typeof bytes !== "number" || !Number.isFinite(bytes) || bytes < 0) return "";
  if (bytes < 1000) return `${bytes} bytes`;
  const [size, unit] = bytes < 1_000_000 ? [bytes / 1000, "kB"] : [bytes / 1_000_000, "MB"];
  return `${size.toLocaleString([], { maximumFractionDigits: 1 })} ${unit}`;
}
