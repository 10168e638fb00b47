// Renders what DMS sends, one function a type. Everything in a payload comes from outside: it may be missing, of any
// type, or hostile. Knows nothing of the connection.

import { asJson, element, outsideLink, picture, webAddress } from "./dom.js";

const HAS_EXTENSION = /\.[a-z0-9]{2,5}$/i;
// By its name, where no content type says it.
const IMAGE_NAME = /\.(png|jpe?g|gif|webp|avif|svg)$/i;

// What ends a sentence does not belong to the address before it.
const WEB_ADDRESS = /(\bhttps?:\/\/[^\s<>"']*[^\s<>"'.,;:!?)\]}])/;

const RENDERERS = {
  text: renderText,
  menu: renderMenu,
  carousel: renderCarousel,
  link_button: renderLinkButton,
  wait_time: renderWaitTime,
  csr_end_session: (_payload, { say }) => [element("p", { dir: "auto" }, say("endedByThem"))],
};

// These are no one's words: they stand across the conversation instead of in a bubble.
export const ANNOUNCEMENTS = new Set(["wait_time", "csr_end_session"]);

/**
 * The nodes for a payload.
 * @param say (name, values) gives a text of the chat in its language
 * @param picked ({text, payload, index}) is called when the customer picks a menu item or a card's button, the index-th
 *        button.choice of the message
 */
export function renderPayload(payload, say, picked) {
  let count = 0;
  const choose = (item) => {
    const index = count++;
    return choice(item, (chosen) => picked({ ...chosen, index }));
  };
  const known = payload !== null && typeof payload === "object" && Object.hasOwn(RENDERERS, payload.type);
  const nodes = known ? RENDERERS[payload.type](payload, { say, choose }) : [];
  // Of a known type, but with nothing in it that could be shown: better all of it than an empty bubble.
  return nodes.some((node) => node.textContent || node.querySelector("img")) ? nodes : [renderUnknown(payload, say)];
}

/** The attachments of a message of either side. */
export function renderAttachments(attachments, say) {
  return objects(list(attachments)).map((attachment) => renderAttachment(attachment, say));
}

/** Who speaks: the agent's name, the author's, or nobody in particular. */
export function speaker(payload) {
  return words(payload?.csr_name) || words(payload?.author) || "";
}

/** The payloads of a menu's or a carousel's buttons, in the order of its button.choice. */
export function choicesOf(payload) {
  if (payload?.type === "menu") return objects(payload.items).map(chosenPayload);
  if (payload?.type === "carousel") return objects(payload.items).flatMap((card) => objects(card.items).map(chosenPayload));
  return [];
}

function chosenPayload(item) {
  return item.payload ?? item.text;
}

function renderText(payload, { say }) {
  const texts = list(payload.text).map(words).filter(Boolean);
  return [...texts.map(paragraph), ...renderAttachments(payload.attachments, say)];
}

/** A text of either side. The direction is the text's own: an Arabic answer in a Dutch chat reads from the right. */
export function paragraph(text) {
  return element("p", { class: "text", dir: "auto" }, ...linked(text));
}

/** The text, with the web addresses in it as links. */
function linked(text) {
  return text.split(WEB_ADDRESS).map((part, index) => (index % 2 ? outsideLink(part, part, "") : part));
}

function renderAttachment(attachment, say) {
  const named = words(attachment.file_name) || nameIn(attachment.url);
  const name = named || say("attachment");
  const type = words(attachment.content_type);
  // A name that ends in .pdf says more to a person than application/pdf.
  const facts = [HAS_EXTENSION.test(name) ? "" : type, fileSize(attachment.size)].filter(Boolean).join(", ");
  const file = () =>
    element("p", { class: "file" }, outsideLink(attachment.url, name, say("notALink")), facts && element("small", {}, ` ${facts}`));
  if (!(type ? type.startsWith("image/") : IMAGE_NAME.test(named))) return file();
  const image = picture(attachment.url, name, { class: "attached-image" });
  if (image === null) return file();
  const figure = element("figure", { class: "figure" }, image, element("figcaption", {}, file()));
  image.addEventListener("error", () => figure.prepend(element("small", {}, say("pictureFailed"))), { once: true });
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

function renderMenu(payload, { say, choose }) {
  const title = words(payload.title);
  return [
    title && paragraph(title),
    element("ul", { class: "choices", "aria-label": title || say("choices") },
      ...objects(payload.items).map((item) => element("li", {}, choose(item)))),
  ].filter(Boolean);
}

function renderCarousel(payload, { say, choose }) {
  const cards = objects(payload.items).map((card) =>
    element("li", { class: "card" },
      picture(card.title_image_url, "", { class: "card-image" }),
      element("p", { class: "card-title", dir: "auto" }, words(card.title)),
      words(card.sub_title) && element("p", { class: "card-sub", dir: "auto" }, words(card.sub_title)),
      element("div", { class: "card-choices" }, ...objects(card.items).map((item) => choose(item)))));
  // The list itself cannot be the stop for Tab: a list with a role of its own is none to a screen reader.
  return [element("div", { class: "carousel", role: "group", tabindex: "0", "aria-label": say("cards") },
    element("ul", { class: "cards" }, ...cards))];
}

function choice(item, picked) {
  const payload = chosenPayload(item);
  const text = words(item.text) || words(payload) || "…";
  return element("button", { type: "button", class: "choice", onclick: () => picked({ text, payload }) },
    picture(item.image_url, "", { class: "choice-image" }),
    element("span", { class: "choice-words", dir: "auto" },
      element("span", { class: "choice-text" }, text),
      words(item.description) && element("span", { class: "choice-description" }, words(item.description))));
}

function renderLinkButton(payload, { say }) {
  const title = words(payload.title);
  const label = words(payload.label) || words(payload.url) || say("link");
  return [
    title && paragraph(title),
    element("p", {}, outsideLink(payload.url, label, say("notALink"), { class: "link-button" })),
  ].filter(Boolean);
}

function renderWaitTime(payload, { say }) {
  // DMS gives no unit, so the value is shown as it came.
  const time = words(payload.waitTime);
  return time ? [element("p", { dir: "auto" }, say("waitTime", { time }))] : [];
}

function renderUnknown(payload, say) {
  const type = words(payload?.type);
  return element("details", { class: "unknown" },
    element("summary", { dir: "auto" }, type ? say("unknownType", { type }) : say("unknown")),
    element("pre", { tabindex: "0", dir: "ltr" }, asJson(payload)));
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

export function fileSize(bytes) {
  if (typeof bytes !== "number" || !Number.isFinite(bytes) || bytes < 0) return "";
  const [size, unit] = bytes < 1000 ? [bytes, "bytes"] : bytes < 1_000_000 ? [bytes / 1000, "kB"] : [bytes / 1_000_000, "MB"];
  return `${size.toLocaleString([], { maximumFractionDigits: 1 })} ${unit}`;
}
