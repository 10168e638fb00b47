// Renders what DMS sends, one function a type. Everything in a payload comes from outside: it may be missing, of any
// type, or hostile. Knows nothing of the connection.

import { asJson, element, outsideLink, picture } from "../shared/dom.js";

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

/** The nodes for a payload. `choose({text, payload})` is called when the customer picks a menu item or a card's button. */
export function renderPayload(payload, choose) {
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
    ...objects(payload.attachments).map(renderAttachment),
  ];
}

function renderAttachment(attachment) {
  const name = words(attachment.file_name) || "Attachment";
  const facts = [words(attachment.content_type), fileSize(attachment.size)].filter(Boolean).join(", ");
  const file = () =>
    element("p", { class: "file" }, outsideLink(attachment.url, name), facts && element("small", {}, ` ${facts}`));
  if (!words(attachment.content_type).startsWith("image/")) return file();
  const image = picture(attachment.url, name, { class: "attached-image" });
  if (image === null) return file();
  const figure = element("figure", { class: "figure" }, image, element("figcaption", {}, file()));
  image.addEventListener("error", () => figure.prepend(element("small", {}, "The image cannot be shown here.")), { once: true });
  return figure;
}

function renderMenu(payload, choose) {
  const title = words(payload.title);
  return [
    title && element("p", { class: "text" }, title),
    element("ul", { class: "choices", "aria-label": title || "Choices" },
      ...objects(payload.items).map((item) => element("li", {}, choice(item, choose)))),
  ].filter(Boolean);
}

function renderCarousel(payload, choose) {
  const cards = objects(payload.items).map((card) =>
    element("li", { class: "card" },
      picture(card.title_image_url, "", { class: "card-image" }),
      element("p", { class: "card-title" }, words(card.title)),
      words(card.sub_title) && element("p", { class: "card-sub" }, words(card.sub_title)),
      element("div", { class: "card-choices" }, ...objects(card.items).map((item) => choice(item, choose)))));
  return [element("ul", { class: "carousel", tabindex: "0", "aria-label": "Cards, scrolls sideways" }, ...cards)];
}

function choice(item, choose) {
  const payload = item.payload ?? item.text;
  const text = words(item.text) || words(payload) || "…";
  return element("button", { type: "button", class: "choice", onclick: () => choose({ text, payload }) },
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

function words(value) {
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
