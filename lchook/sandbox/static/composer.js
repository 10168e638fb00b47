// Where the customer writes: text, and the address of a file to attach. Enter sends; Escape closes the attachment.

import { byId, webAddress } from "../shared/dom.js";

export class Composer {
  /** @param asked {send(text, url), typing()}; url is null where nothing is attached */
  constructor(asked) {
    this._asked = asked;
    this._text = byId("text");
    this._url = byId("attach-url");
    byId("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this._send();
    });
    this._text.addEventListener("keydown", (event) => {
      // While an input method composes a character, Enter belongs to it.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this._send();
    });
    this._text.addEventListener("input", () => {
      this._fit();
      if (this._text.value.trim()) asked.typing();
    });
    byId("attach").addEventListener("click", () => this._showAttachment(byId("attach-row").hidden));
    byId("attach-row").addEventListener("keydown", (event) => {
      if (event.key === "Escape") this._showAttachment(false);
    });
    this._url.addEventListener("input", () => this._url.setCustomValidity(""));
  }

  focus() {
    // On a phone the keyboard would jump up and hide the answer.
    if (window.matchMedia("(hover: hover)").matches) this._text.focus();
  }

  _send() {
    const text = this._text.value.trim();
    const address = this._url.value.trim();
    const url = address ? webAddress(address) : null;
    if (address && url === null) {
      this._url.setCustomValidity("An http or https address, such as https://example.com/photo.png");
      this._url.reportValidity();
      return;
    }
    if (!text && url === null) return;
    this._asked.send(text, url);
    this._text.value = "";
    this._fit();
    if (url !== null) this._showAttachment(false);
  }

  _showAttachment(shown) {
    byId("attach-row").hidden = !shown;
    byId("attach").setAttribute("aria-expanded", String(shown));
    if (!shown) {
      this._url.value = "";
      this._url.setCustomValidity("");
    }
    (shown ? this._url : this._text).focus();
  }

  _fit() {
    this._text.style.height = "auto";
    this._text.style.height = `${this._text.scrollHeight}px`;
  }
}
