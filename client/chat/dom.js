// Makes nodes. Owns the two rules that keep text from outside harmless: text is only ever a text node, and only
// addresses of the schemes named here become links or pictures.

const LINK_SCHEMES = new Set(["https:", "http:", "mailto:", "tel:"]);

/** An element with attributes, listeners (functions under "onclick" and the like) and children (strings become text). */
export function element(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** A drawing of 24 by 24, in the colour of the text around it, and nothing to a screen reader. */
export function icon(path) {
  const shape = filled(document.createElementNS("http://www.w3.org/2000/svg", "path"), { d: path });
  const attributes = { viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true", focusable: "false" };
  return filled(document.createElementNS("http://www.w3.org/2000/svg", "svg"), attributes, [shape]);
}

function filled(node, attributes, children = []) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** The address, if it is an http or https one, else null. A path is none: it would lead to the site that the chat is on. */
export function webAddress(text) {
  const address = parsed(text);
  return address !== null && address.protocol.startsWith("http") && LINK_SCHEMES.has(address.protocol) ? address.href : null;
}

/** What a link may lead to: a web address, a mail address or a telephone number; else null. */
export function linkAddress(text) {
  const address = parsed(text);
  return address !== null && LINK_SCHEMES.has(address.protocol) ? address.href : null;
}

function parsed(text) {
  if (typeof text !== "string") return null;
  try {
    return new URL(text);
  } catch {
    return null;
  }
}

/** A link that leaves the page, or just its text where the address is none that may be followed. */
export function outsideLink(address, text, refused, attributes = {}) {
  const href = linkAddress(address);
  if (href === null) return element("span", { class: "refused" }, text, " ", element("small", {}, refused));
  return element("a", { href, target: "_blank", rel: "noopener noreferrer", referrerpolicy: "no-referrer", ...attributes }, text);
}

/**
 * An image that goes away where it cannot be shown. Null where it must not be: an <img> may show a web address, or an image
 * that is itself in the text. Neither can run anything there.
 */
export function picture(address, alt, attributes = {}) {
  const inText = typeof address === "string" && /^data:image\/[a-z0-9.+-]+[;,]/i.test(address);
  const src = inText ? address : webAddress(address);
  if (src === null) return null;
  const image = element("img", { alt, referrerpolicy: "no-referrer", ...attributes });
  image.addEventListener("error", () => image.remove(), { once: true });
  image.src = src;
  return image;
}

export function asJson(value) {
  try {
    return JSON.stringify(value, null, 2) ?? String(value);
  } catch {
    return String(value);
  }
}

/**
 * Keeps `scroller` at its end while content grows, unless the reader has scrolled away from it.
 * Returns {toEnd, hold, atEnd}: go there now; stay here although content is about to grow; is it there.
 */
export function stickToEnd(scroller, content, moved = () => {}) {
  let atEnd = true;
  let top = 0;
  const toEnd = () => {
    scroller.scrollTop = scroller.scrollHeight;
  };
  scroller.addEventListener("scroll", () => {
    // Scroll events come late: content may have grown since. Only scrolling back is the reader's.
    if (scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 32) atEnd = true;
    else if (scroller.scrollTop < top) atEnd = false;
    top = scroller.scrollTop;
    moved(atEnd);
  }, { passive: true });
  const observer = new ResizeObserver(() => atEnd && toEnd());
  observer.observe(content);
  observer.observe(scroller);
  return {
    toEnd: () => {
      atEnd = true;
      toEnd();
      moved(true);
    },
    hold: () => {
      atEnd = false;
    },
    atEnd: () => atEnd,
  };
}
