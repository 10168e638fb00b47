// Small helpers to build the page. Owns the two rules that keep text from outside harmless: text is only ever a text
// node, and only http and https addresses become links.

/** An element with attributes, listeners (functions under "onclick" and the like) and children (strings become text). */
export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

export function byId(id) {
  return document.getElementById(id);
}

/** The address in full, if it is an http or https one (or a path on this page's own host), else null. */
export function webAddress(text) {
  if (typeof text !== "string") return null;
  try {
    const address = text.startsWith("/") ? new URL(text, window.location.origin) : new URL(text);
    return address.protocol === "https:" || address.protocol === "http:" ? address.href : null;
  } catch {
    return null;
  }
}

/** What an <img> may show: a web address, or an image that is itself in the text. Neither can run anything there. */
export function imageAddress(text) {
  if (typeof text === "string" && /^data:image\/[a-z0-9.+-]+[;,]/i.test(text)) return text;
  return webAddress(text);
}

/** A link that leaves the page, or just its text where the address is none that may be followed. */
export function outsideLink(address, text, attributes = {}) {
  const href = webAddress(address);
  if (href === null) {
    return element("span", { class: "refused" }, text, " ", element("small", {}, "(not a web address: no link)"));
  }
  return element("a", { href, target: "_blank", rel: "noopener noreferrer", referrerpolicy: "no-referrer", ...attributes }, text);
}

/** An image that gives way to `fallback` (a node, or nothing) where it cannot be shown. Null where it must not be. */
export function picture(address, alt, attributes = {}, fallback = null) {
  const src = imageAddress(address);
  if (src === null) return null;
  const image = element("img", { alt, referrerpolicy: "no-referrer", ...attributes });
  image.addEventListener("error", () => (fallback ? image.replaceWith(fallback) : image.remove()), { once: true });
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

export function clockTime(milliseconds) {
  return new Date(milliseconds).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
}

/**
 * Keeps `scroller` at its end while content grows, unless the reader has scrolled away from it.
 * Returns {toEnd, hold}: go there now; stay here although content is about to grow.
 */
export function stickToEnd(scroller, content) {
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
  }, { passive: true });
  const observer = new ResizeObserver(() => atEnd && toEnd());
  observer.observe(content);
  observer.observe(scroller);
  return {
    toEnd: () => {
      atEnd = true;
      toEnd();
    },
    hold: () => {
      atEnd = false;
    },
  };
}
