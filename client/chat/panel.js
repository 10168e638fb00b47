// The chat's parts in their places: what opens it, its head, the conversation, what the customer writes with. Knows what is
// shown when, and nothing of the connection.

import { Composer } from "./composer.js";
import { element, icon } from "./dom.js";
import { Log } from "./log.js";

const BUBBLE = "M20 11.5a7.5 7.5 0 0 1-7.5 7.5c-1.2 0-2.4-.3-3.4-.8L4 20l1.6-4.4A7.5 7.5 0 1 1 20 11.5zM9 11.5h.01M12.5 11.5h.01M16 11.5h.01";
const DOWN = "M6 9l6 6 6-6";
const CROSS = "M6 6l12 12M18 6L6 18";
const STATES = { connecting: "connecting", connected: "connected", offline: "reconnecting", refused: "disconnected", closed: "disconnected" };

export class Panel {
  /**
   * @param asked {toggle(), close(), reconnect(), end(), startNew(), choose(entry, choice), resend(entry), send(text,
   *        attachments), typing(), upload(file, options)}
   */
  constructor(root, { say, heading, isInline }, asked) {
    this._say = say;
    this._asked = asked;
    this._inline = isInline;
    const button = (classes, text, onclick, more = {}) => element("button", { type: "button", class: classes, onclick, ...more }, text);

    this._badge = element("span", { class: "badge", hidden: true, "aria-hidden": "true" });
    this.launcher = element("button", { type: "button", class: "launcher", "aria-expanded": "false", "aria-controls": "panel", part: "launcher", onclick: asked.toggle },
      element("span", { class: "icon-open" }, icon(BUBBLE)), element("span", { class: "icon-close" }, icon(DOWN)));

    this._connectionText = element("span");
    this._connection = element("p", { class: "connection", role: "status" }, element("span", { class: "dot", "aria-hidden": "true" }), this._connectionText);
    this._reconnect = button("head-button reconnect", say("connectAgain"), asked.reconnect, { hidden: true });
    this._end = button("head-button end", say("end"), () => this._ask(true));
    this._confirm = button("button button-main", say("end"), () => {
      this._ask(false);
      asked.end();
    });
    this._question = element("div", { class: "strip question", role: "group", "aria-labelledby": "question", hidden: true,
      onkeydown: (event) => {
        if (event.key !== "Escape") return;
        event.stopPropagation();
        this._ask(false, this._end);
      } },
    element("p", { id: "question" }, say("endQuestion")),
    element("div", {}, button("button", say("endNot"), () => this._ask(false, this._end)), this._confirm));

    this.log = new Log(say, asked);
    this._announcer = element("p", { class: "visually-hidden announcer", role: "status" });
    this._endedText = element("p", { dir: "auto" });
    this._startNew = button("button button-main", say("startNew"), asked.startNew);
    this._ended = element("div", { class: "ended", hidden: true }, this._endedText, this._startNew);
    this.composer = new Composer(say, { ...asked, announce: (text) => this.announce(text) });
    this._drop = element("div", { class: "drop", hidden: true, "aria-hidden": "true" }, say("drop"));
    this.node = element("section", { class: "panel", id: "panel", role: isInline ? "region" : "dialog", "aria-labelledby": "title", lang: say.language, part: "panel", hidden: true },
      element("header", { class: "head", part: "header" },
        element("span", { class: "mark" }, element("slot", { name: "mark" }, icon(BUBBLE))),
        element("div", { class: "who" }, element("h2", { class: "title", id: "title" }, heading), this._connection),
        this._reconnect, this._end,
        !isInline && element("button", { type: "button", class: "head-button close", "aria-label": say("close"), title: say("close"), onclick: asked.close }, icon(CROSS))),
      this._question, this.log.node, this._announcer, this._ended, this.composer.node, this._drop);
    this._listen();
    // The count is beside the button, whose name has it in words.
    root.replaceChildren(...(isInline ? [] : [this.launcher, this._badge]), this.node);
    this.showUnread(0);
  }

  /** On a small screen it takes all of it, as styles.js has it. */
  get wouldCover() {
    return !this._inline && window.matchMedia("(max-width: 480px)").matches;
  }

  get isOpen() {
    return !this.node.hidden;
  }

  set isOpen(open) {
    this.node.hidden = !open;
    this.launcher.setAttribute("aria-expanded", String(open));
    this._coversPage = open && this.wouldCover;
    if (this._coversPage) this.node.setAttribute("aria-modal", "true");
    else this.node.removeAttribute("aria-modal");
    this._nameLauncher();
    if (open) this.log.toEnd();
  }

  /** Where the customer is to go on. On a phone the keyboard would jump up and hide the answer. */
  focus() {
    if (!this._ended.hidden) this._startNew.focus();
    else if (window.matchMedia("(hover: hover)").matches) this.composer.focus();
    else this.log.focus();
  }

  showUnread(count) {
    this._unread = count;
    this._badge.hidden = count === 0;
    this._badge.textContent = count > 99 ? "99+" : String(count);
    this._nameLauncher();
  }

  /** @param state of the client */
  showState(state, reason) {
    const shown = STATES[state];
    this._connection.dataset.state = shown;
    this._connection.title = reason;
    if (this._connectionText.textContent !== this._say(shown)) this._connectionText.textContent = this._say(shown);
    this._reconnect.hidden = shown !== "disconnected";
  }

  /** @param endedBy "customer" or "agent", or null while the conversation goes on */
  showEnd(endedBy) {
    const isOver = endedBy !== null;
    if (this._ended.hidden !== isOver) return;
    const hadFocus = this._hasFocus(this.composer.node) || this._hasFocus(this._question) || this._hasFocus(this._end);
    this._endedText.textContent = this._say(endedBy === "customer" ? "endedByYou" : "ended");
    this._ended.hidden = !isOver;
    this.composer.node.hidden = isOver;
    this._end.hidden = isOver;
    this._question.hidden = true;
    if (isOver && hadFocus) this._startNew.focus();
  }

  /** Says it to screen readers only. */
  announce(text) {
    this._announcer.textContent = text;
  }

  _nameLauncher() {
    const name = this._say(this.isOpen ? "close" : "open");
    this.launcher.setAttribute("aria-label", this._unread && !this.isOpen ? `${name} (${this._say("unread", { count: this._unread })})` : name);
  }

  _ask(shown, focus = this._confirm) {
    this._question.hidden = !shown;
    if (shown || focus !== this._confirm) focus.focus();
  }

  _hasFocus(node) {
    return node.contains(node.getRootNode().activeElement);
  }

  _listen() {
    this.node.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !this._inline && !event.isComposing) {
        event.stopPropagation();
        this._asked.close();
      }
      // A key that is held presses a button once, and not what has taken its place since.
      if (event.repeat && event.key === "Enter" && event.target.closest("button")) event.preventDefault();
      if (event.key === "Tab" && this._coversPage) this._keepInside(event);
    });
    const hasFiles = (event) => this.composer.takesFiles && !this.composer.node.hidden && event.dataTransfer?.types.includes("Files");
    this.node.addEventListener("dragover", (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      this._drop.hidden = false;
    });
    this.node.addEventListener("dragleave", (event) => {
      if (!this.node.contains(event.relatedTarget)) this._drop.hidden = true;
    });
    this.node.addEventListener("drop", (event) => {
      this._drop.hidden = true;
      if (!hasFiles(event)) return;
      event.preventDefault();
      this.composer.attach(event.dataTransfer.files);
    });
  }

  /** Where it covers the whole page, Tab goes round in it. */
  _keepInside(event) {
    const stops = [...this.node.querySelectorAll("button, textarea, a[href], summary, [tabindex='0']")].filter((node) => !node.disabled && node.checkVisibility?.() !== false);
    const active = this.node.getRootNode().activeElement;
    const [from, to] = event.shiftKey ? [stops[0], stops.at(-1)] : [stops.at(-1), stops[0]];
    if (active !== from) return;
    event.preventDefault();
    to.focus();
  }
}
