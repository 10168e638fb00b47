// Shows a conversation: a node an entry, brought up to date when the entry changes. Decides nothing.

import { element, stickToEnd } from "./dom.js";
import { ANNOUNCEMENTS, paragraph, renderAttachments, renderPayload, speaker, words } from "./messages.js";

const TYPING_SHOWN_MS = 6_000;
// Who speaks on after a while is named again, with the time.
const SAME_BREATH_MS = 300_000;
const SIGNS = { pending: "◌", delayed: "◌", sent: "✓", failed: "!" };

export class Log {
  /** @param asked {choose(entry, {text, payload, index}), resend(entry)}: what the customer does inside the log */
  constructor(say, asked) {
    this._say = say;
    this._asked = asked;
    this._nodes = new Map();
    this._times = new Intl.DateTimeFormat(say.language, { hour: "2-digit", minute: "2-digit" });
    this._days = new Intl.DateTimeFormat(say.language, { weekday: "long", day: "numeric", month: "long" });
    this._items = element("div", { class: "items" });
    this._typing = element("p", { class: "typing", role: "status" });
    this._welcome = element("div", { class: "welcome" }, element("slot", {}, element("p", { class: "welcome-text" }, say("welcome"))));
    const content = element("div", {}, this._items, this._typing);
    const scroller = element("div", { class: "log", role: "log", "aria-live": "off", "aria-relevant": "additions", "aria-label": say("log"), tabindex: "0", part: "log" },
      this._welcome, content);
    this._toEnd = element("button", { type: "button", class: "button to-end", hidden: true, onclick: () => {
      this._end.toEnd();
      scroller.focus();
    } }, say("newMessages"), " ↓");
    this._scroller = scroller;
    this.node = element("div", { class: "body" }, scroller, this._toEnd);
    this._end = stickToEnd(scroller, content, (atEnd) => atEnd && (this._toEnd.hidden = true));
  }

  /**
   * @param shown the entries to show
   * @param menus,endedBy as story.js reads them
   * @param isConnected whether what is pending can go out
   */
  show({ shown, menus, endedBy, isConnected }) {
    const wanted = [];
    let before = null;
    for (const entry of shown) {
      const day = new Date(entry.at).toDateString();
      if (day !== (before ? new Date(before.at).toDateString() : new Date().toDateString())) {
        const key = `day ${day}`;
        wanted.push([key, this._nodes.get(key) ?? this._day(entry.at)]);
      }
      const node = this._nodes.get(entry.key) ?? this._draw(entry);
      this._update(node, entry, { before, menu: menus.get(entry.key), isOver: endedBy !== null, isConnected });
      wanted.push([entry.key, node]);
      before = entry;
    }
    this._arrange(wanted);
    this._welcome.hidden = shown.length > 0;
  }

  /** Goes to the newest message. */
  toEnd() {
    this._end.toEnd();
  }

  /** From now on what comes is new: it is read out, and moves. */
  live() {
    // Not in this turn: what has just been put in would be read out too.
    setTimeout(() => this._scroller.setAttribute("aria-live", "polite"));
  }

  /** Somebody is typing: said for a few seconds, or until a message comes. */
  typing(name) {
    clearTimeout(this._typingTimer);
    this._typing.replaceChildren(
      element("span", { class: "dots", "aria-hidden": "true" }, element("i"), element("i"), element("i")),
      element("span", {}, this._say("typing", { name: name || this._say("them") })));
    this._typingTimer = setTimeout(() => this.notTyping(), TYPING_SHOWN_MS);
  }

  notTyping() {
    clearTimeout(this._typingTimer);
    this._typing.replaceChildren();
  }

  focus() {
    this._scroller.focus();
  }

  _arrange(wanted) {
    let at = this._items.firstChild;
    const kept = new Map(wanted);
    for (const [key, node] of this._nodes) {
      if (kept.has(key)) continue;
      if (node === at) at = at.nextSibling;
      node.remove();
    }
    let arrived = null;
    for (const [key, node] of wanted) {
      if (!this._nodes.has(key)) arrived = node;
      if (node === at) at = at.nextSibling;
      else this._items.insertBefore(node, at);
    }
    this._nodes = kept;
    if (arrived?.classList.contains("ours")) this._end.toEnd();
    else if (arrived && !this._end.atEnd()) this._toEnd.hidden = false;
  }

  _day(at) {
    const today = new Date();
    const yesterday = new Date(today.getFullYear(), today.getMonth(), today.getDate() - 1);
    const day = new Date(at);
    const same = (other) => day.toDateString() === other.toDateString();
    return element("p", { class: "day" }, same(today) ? this._say("today") : same(yesterday) ? this._say("yesterday") : this._days.format(day));
  }

  _draw(entry) {
    const isLive = this._scroller.getAttribute("aria-live") === "polite" || entry.status === "pending";
    const node = entry.from === "customer" ? this._drawOurs(entry) : this._drawTheirs(entry);
    if (isLive) node.classList.add("arrived");
    return node;
  }

  _drawOurs({ payload }) {
    const ends = payload.type === "customer_end_session";
    const texts = (Array.isArray(payload.text) ? payload.text : [payload.text]).map(words).filter(Boolean);
    const body = ends ? [element("p", { dir: "auto" }, this._say("endedByYou"))] : [...texts.map(paragraph), ...renderAttachments(payload.attachments, this._say)];
    if (!body.length) body.push(...renderPayload(payload, this._say, () => {}));
    return element("div", { class: ends ? "announcement" : "message ours" },
      !ends && element("span", { class: "visually-hidden" }, `${this._say("you")}: `),
      element("div", { class: ends ? "" : "bubble" }, ...body),
      element("p", { class: "delivery" }));
  }

  _drawTheirs(entry) {
    const { payload } = entry;
    const nodes = renderPayload(payload, this._say, (choice) => this._asked.choose(entry, choice));
    if (ANNOUNCEMENTS.has(payload.type)) return element("div", { class: "announcement", "data-type": payload.type }, ...nodes);
    const name = speaker(payload);
    const author = words(payload.author);
    const wide = payload.type === "carousel";
    return element("div", { class: `message theirs${wide ? " wide" : ""}`, "data-type": words(payload.type) },
      element("p", { class: "speaker" }, name || this._say("them"),
        author && author !== name && element("span", { class: "role" }, ` · ${author}`),
        element("time", { datetime: entry.at }, ` ${this._time(entry)}`)),
      element("div", { class: wide ? "" : "bubble" }, ...nodes));
  }

  _time({ at }) {
    const time = new Date(at);
    return Number.isNaN(time.getTime()) ? "" : this._times.format(time);
  }

  _update(node, entry, { before, menu, isOver, isConnected }) {
    if (entry.from === "customer") {
      this._showDelivery(node, entry, isConnected);
      const again = node.querySelector(".delivery button");
      if (again) again.disabled = isOver;
      return;
    }
    node.classList.toggle("follows", followsOn(before, entry));
    if (!menu) return;
    node.querySelectorAll("button.choice").forEach((button, index) => {
      button.disabled = !menu.open;
      button.classList.toggle("chosen", index === menu.chosen);
      if (index === menu.chosen) button.setAttribute("aria-pressed", "true");
      else button.removeAttribute("aria-pressed");
    });
  }

  /** Only how far it has come can change, and only that is replaced: screen readers would read the message again. */
  _showDelivery(node, entry, isConnected) {
    const { status, error } = entry;
    const failed = !["pending", "delayed", "sent"].includes(status);
    const state = failed ? "failed" : status;
    const text = {
      pending: () => this._say(isConnected ? "sending" : "waiting"),
      delayed: () => this._say("delayed"),
      sent: () => this._say("sent", { time: this._time(entry) }),
      failed: () => this._say(status === "unknown" ? "unclear" : "failed", { reason: error ?? "" }),
    }[state]();
    const said = `${state} ${text}`;
    if (node.dataset.said === said) return;
    Object.assign(node.dataset, { state, said });
    node.querySelector(".delivery").replaceChildren(...[
      element("span", { class: "delivery-sign", "aria-hidden": "true" }, SIGNS[state]),
      element("span", {}, text),
      failed && element("button", { type: "button", class: "button button-small", onclick: () => this._asked.resend(entry) }, this._say("sendAgain")),
    ].filter(Boolean));
  }
}

/** Does the same one speak on? */
function followsOn(before, entry) {
  return (
    before?.from === "dms" && !ANNOUNCEMENTS.has(before.payload.type) && !ANNOUNCEMENTS.has(entry.payload.type) &&
    speaker(before.payload) === speaker(entry.payload) && Date.parse(entry.at) - Date.parse(before.at) < SAME_BREATH_MS
  );
}
