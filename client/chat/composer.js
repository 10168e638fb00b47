// Where the customer writes: text and files. Enter sends. Knows how a file is shown while it is on its way, and not how it
// gets there.

import { FileList } from "./files.js";
import { element, icon } from "./dom.js";

const CLIP = "M20.5 11.5l-8.4 8.4a5.2 5.2 0 0 1-7.4-7.4l8.8-8.8a3.5 3.5 0 0 1 5 5l-8.5 8.4a1.8 1.8 0 0 1-2.5-2.5l7.7-7.7";
const CAMERA = "M4 8h3l2-3h6l2 3h3a1 1 0 0 1 1 1v9a1 1 0 0 1-1 1H4a1 1 0 0 1-1-1V9a1 1 0 0 1 1-1zM12 10a3.2 3.2 0 1 0 0 6.4 3.2 3.2 0 0 0 0-6.4z";
const UP = "M12 19V5m0 0l-6 6m6-6l6 6";

export class Composer {
  /** @param asked {send(text, attachments), typing(), upload(file, {signal, onprogress}), announce(text)} */
  constructor(say, asked) {
    this._asked = asked;
    this._waits = false;
    this._files = new FileList(say, { ...asked, changed: () => this._filesChanged() });
    const pick = (options) => element("input", { type: "file", class: "visually-hidden", tabindex: "-1", "aria-hidden": "true", ...options,
      onchange: ({ target }) => {
        this.attach(target.files);
        target.value = "";
        this._text.focus();
      } });
    this._picker = pick({ multiple: true, "data-picker": "files" });
    const camera = pick({ accept: "image/*", capture: "environment", "data-picker": "photo" });
    this._attach = [
      element("button", { type: "button", class: "round attach", "aria-label": say("attach"), title: say("attach"), onclick: () => this._picker.click() }, icon(CLIP)),
      element("button", { type: "button", class: "round photo", "aria-label": say("photo"), title: say("photo"), onclick: () => camera.click() }, icon(CAMERA)),
      this._picker, camera,
    ];
    this._text = element("textarea", { id: "text", rows: "1", placeholder: say("placeholder"), "aria-label": say("message"),
      "aria-describedby": "hint", enterkeyhint: "send", dir: "auto", part: "input",
      onkeydown: (event) => this._pressed(event),
      oninput: () => {
        this._fit();
        if (this._text.value.trim()) asked.typing();
      },
      onpaste: (event) => {
        if (!this.takesFiles || !event.clipboardData?.files.length) return;
        event.preventDefault();
        this.attach(event.clipboardData.files);
      } });
    this.node = element("form", { class: "composer", autocomplete: "off", part: "composer",
      onsubmit: (event) => {
        event.preventDefault();
        this._send();
      } },
    this._files.node,
    element("div", { class: "row" }, ...this._attach, this._text,
      element("span", { id: "hint", class: "visually-hidden" }, say("hint")),
      element("button", { type: "submit", class: "round round-main send", "aria-label": say("send"), title: say("send") }, icon(UP))));
    this.takesFiles = false;
  }

  get takesFiles() {
    return this._takesFiles;
  }

  set takesFiles(takes) {
    this._takesFiles = takes;
    for (const node of this._attach) node.hidden = !takes;
  }

  /** Files that were chosen, dropped or pasted. */
  attach(files) {
    if (this.takesFiles) this._files.add([...files]);
  }

  focus() {
    this._text.focus();
  }

  clear() {
    this._waits = false;
    this._text.value = "";
    this._fit();
    this._files.clear();
  }

  _pressed(event) {
    // While an input method composes a character, Enter belongs to it.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    if (!event.repeat) this._send();
  }

  /** Sends what is written; files that are still on their way are waited for. */
  _send() {
    this._waits = false;
    const text = this._text.value.trim();
    if (this._files.pending) {
      this._waits = true;
      return;
    }
    const attachments = this._files.ready;
    if (!text && !attachments.length) return;
    this.clear();
    this._asked.send(text, attachments);
  }

  _filesChanged() {
    if (this._waits && !this._files.pending) {
      this._waits = false;
      if (!this._files.failed) this._send();
    }
  }

  _fit() {
    this._text.style.height = "auto";
    this._text.style.height = `${this._text.scrollHeight}px`;
  }
}
