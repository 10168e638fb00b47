// The files that the next message takes along: what they are, how far they have come, and what went wrong.

import { element, icon } from "./dom.js";
import { fileSize } from "./messages.js";

const MAX_FILES = 10;
const THUMB_PIXELS = 80;
const PAGE = "M7 3h7l4 4v14H7zM14 3v4h4";
const CROSS = "M6 6l12 12M18 6L6 18";

export class FileList {
  /** @param asked {upload(file, {signal, onprogress}), announce(text), changed()} */
  constructor(say, asked) {
    this._say = say;
    this._asked = asked;
    this._items = [];
    this.node = element("ul", { class: "files", hidden: true });
  }

  get pending() {
    return this._items.some(({ state }) => state === "uploading");
  }

  get failed() {
    return this._items.some(({ state }) => state === "failed");
  }

  /** The attachments of what has been uploaded, in the order in which the files were added. */
  get ready() {
    return this._items.filter(({ state }) => state === "ready").map(({ attachment }) => attachment);
  }

  add(files) {
    const free = MAX_FILES - this._items.length;
    if (files.length > free) this._asked.announce(this._say("tooMany", { count: MAX_FILES }));
    for (const file of files.slice(0, Math.max(0, free))) this._add(file);
  }

  clear() {
    for (const item of [...this._items]) this._remove(item);
  }

  _add(file) {
    const name = file.name || this._say("attachment");
    const state = element("p", { class: "file-state" });
    const progress = element("progress", { max: "1", value: "0", "aria-label": name });
    const thumb = element("span", { class: "thumb" }, icon(PAGE));
    const item = { state: "uploading", attachment: null, stop: new AbortController() };
    item.node = element("li", { class: "file-chip", "data-state": "uploading" },
      thumb,
      element("div", {}, element("p", { class: "file-name", dir: "auto" }, name), state, progress),
      element("button", { type: "button", class: "round", "aria-label": this._say("remove", { name }), title: this._say("remove", { name }),
        onclick: () => this._remove(item, true) }, icon(CROSS)));
    const show = (now, text) => {
      item.state = item.node.dataset.state = now;
      state.textContent = text;
      progress.hidden = now !== "uploading";
    };
    const facts = (words) => [fileSize(file.size), words].filter(Boolean).join(" · ");
    const onprogress = (fraction) => {
      progress.value = fraction;
      if (item.state === "uploading") state.textContent = facts(this._say("uploading", { percent: Math.floor(fraction * 100) }));
    };
    this._items.push(item);
    this.node.append(item.node);
    this.node.hidden = false;
    onprogress(0);
    preview(file).then((picture) => picture && thumb.replaceWith(picture));
    this._upload(file, item, onprogress).then((error) => {
      if (!this._items.includes(item)) return;
      const words = error === null ? this._say("uploaded") : this._say("uploadFailed", { reason: error });
      show(error === null ? "ready" : "failed", error === null ? facts(words) : words);
      this._asked.announce(`${name}: ${words}`);
      this._asked.changed();
    });
  }

  /** Null where it is there, else what went wrong, in words. */
  async _upload(file, item, onprogress) {
    try {
      item.attachment = await this._asked.upload(file, { signal: item.stop.signal, onprogress });
      return null;
    } catch (error) {
      return error?.message || String(error);
    }
  }

  _remove(item, focus = false) {
    item.stop.abort();
    this._items = this._items.filter((other) => other !== item);
    const next = item.node.nextElementSibling ?? item.node.previousElementSibling;
    item.node.remove();
    this.node.hidden = this._items.length === 0;
    if (focus) (next?.querySelector("button") ?? this.node.parentNode.querySelector("textarea")).focus();
    this._asked.changed();
  }
}

/** A small picture of the file, or null. Drawn, since a strict policy lets no <img> show what is not on a server. */
async function preview(file) {
  if (!/^image\//.test(file.type) || typeof createImageBitmap !== "function") return null;
  try {
    const image = await createImageBitmap(file, { resizeHeight: THUMB_PIXELS, resizeQuality: "medium" });
    const canvas = element("canvas", { class: "thumb", width: String(image.width), height: String(image.height), "aria-hidden": "true" });
    canvas.getContext("2d").drawImage(image, 0, 0);
    image.close();
    return canvas;
  } catch {
    return null;
  }
}
