// Shows a conversation in the log: a node an item, brought up to date when the item changes. Decides nothing.

import { byId, clockTime, element, stickToEnd } from "../shared/dom.js";
import { ANNOUNCEMENTS, renderPayload, speaker, words } from "./messages.js";

const TYPING_SHOWN_MS = 6_000;

export class ConversationView {
  /** @param asked {choose(item, {text, payload, index}), resend(item)} what the customer does inside the log */
  constructor(asked) {
    this._asked = asked;
    this._items = byId("log-items");
    this._typing = byId("typing");
    this._typingTimer = null;
    this._nodes = new Map();
    this._toEnd = stickToEnd(byId("log"), this._items).toEnd;
  }

  /** Shows this conversation from now on. */
  show(conversation) {
    this._conversation = conversation;
    this._redraw();
  }

  /** To be called with what the conversation's `onchange` is told. */
  changed(what, item) {
    if (what === "cleared") this._redraw();
    else if (what === "removed") this._remove(item);
    else if (what === "added") this._append(item);
    else this._update(item);
    this._showChoices();
    byId("empty").hidden = this._conversation.items.length > 0;
    if (what === "changed" && item.state === "failed") byId("announcer").textContent = `Message not sent: ${item.reason}`;
  }

  /** Somebody is typing: said for a few seconds, or until a message comes. */
  typing(name) {
    clearTimeout(this._typingTimer);
    this._typing.replaceChildren(
      element("span", { class: "dots", "aria-hidden": "true" }, element("i"), element("i"), element("i")),
      `${name || "Somebody"} is typing…`);
    this._typing.classList.add("typing-now");
    this._typingTimer = setTimeout(() => this.notTyping(), TYPING_SHOWN_MS);
  }

  notTyping() {
    clearTimeout(this._typingTimer);
    this._typing.classList.remove("typing-now");
    this._typing.replaceChildren();
  }

  _redraw() {
    this.notTyping();
    this._nodes.clear();
    this._items.replaceChildren();
    for (const item of this._conversation.items) this._append(item);
    this._showChoices();
    byId("empty").hidden = this._conversation.items.length > 0;
    this._toEnd();
  }

  _append(item) {
    this._items.append(this._draw(item));
    if (item.kind === "in") this.notTyping();
    else this._toEnd();
  }

  /** Only how far it has come can change, and only that is replaced: screen readers would read the message again. */
  _update(item) {
    const node = this._nodes.get(item.key);
    if (!node || item.kind !== "out") return;
    node.dataset.state = item.state;
    node.querySelector(".delivery").replaceWith(this._delivery(item));
  }

  /** A menu is answered once, and nothing is said after the end: the buttons of the log say so. */
  _showChoices() {
    const choices = this._conversation.choices();
    const ended = this._conversation.endedBy !== null;
    for (const button of this._items.querySelectorAll(".delivery button")) button.disabled = ended;
    for (const item of this._conversation.items) {
      if (item.kind !== "in") continue;
      const buttons = this._nodes.get(item.key)?.querySelectorAll("button.choice") ?? [];
      const chosen = choices.chosenIndex(item);
      buttons.forEach((button, index) => {
        button.disabled = !choices.isOpen(item);
        button.classList.toggle("chosen", index === chosen);
        if (index === chosen) button.setAttribute("aria-pressed", "true");
        else button.removeAttribute("aria-pressed");
      });
    }
  }

  _remove(item) {
    this._nodes.get(item.key)?.remove();
    this._nodes.delete(item.key);
  }

  _draw(item) {
    const node = item.kind === "out" ? this._drawOurs(item) : this._drawTheirs(item);
    this._nodes.set(item.key, node);
    return node;
  }

  _drawOurs(item) {
    const { message, state } = item;
    const ends = message.type === "customer_end_session";
    const texts = ends ? ["You ended the conversation."] : item.label !== null ? [item.label] : message.text;
    const body = texts.filter(Boolean).map((text) => element("p", { class: "text" }, text));
    for (const { url } of message.attachments ?? []) body.push(element("p", { class: "file" }, `Attached: ${url}`));
    return element("div", { class: ends ? "announcement" : "message ours", "data-state": state },
      !ends && element("span", { class: "visually-hidden" }, "You: "),
      element("div", { class: ends ? "" : "bubble" }, ...body),
      this._delivery(item));
  }

  _delivery(item) {
    const said = {
      waiting: ["◌", "Waiting for the connection"],
      sending: ["◌", item.delayed ? "Delayed: it goes out when DMS takes it" : "Sending…"],
      sent: ["✓", `Sent ${clockTime(item.at)}`],
      failed: ["!", `Not sent: ${item.reason}`],
    }[item.state];
    return element("p", { class: "delivery", "aria-live": "off" },
      element("span", { class: "delivery-sign", "aria-hidden": "true" }, said[0]),
      element("span", {}, said[1]),
      item.state === "failed" &&
        element("button", { type: "button", class: "button button-small", onclick: () => this._asked.resend(item) }, "Send again"));
  }

  _drawTheirs(item) {
    const { payload } = item;
    const nodes = renderPayload(payload, (choice) => this._asked.choose(item, choice));
    if (ANNOUNCEMENTS.has(payload?.type)) return element("div", { class: "announcement", "data-type": payload.type }, ...nodes);
    const name = speaker(payload);
    const author = words(payload?.author);
    const wide = payload?.type === "carousel";
    const follows = name === this._speakerBefore(item);
    return element("div", { class: `message theirs${wide ? " wide" : ""}${follows ? " follows" : ""}`, "data-type": String(payload?.type) },
      element("p", { class: follows ? "visually-hidden" : "speaker" }, name || "Assistant",
        !follows && author && author !== name && element("span", { class: "role" }, ` · ${author}`),
        !follows && element("time", {}, ` ${clockTime(item.at)}`)),
      element("div", { class: wide ? "" : "bubble" }, ...nodes));
  }

  /** Who spoke just before this item, or null where it was us or nobody. */
  _speakerBefore(item) {
    const before = this._conversation.items[this._conversation.items.indexOf(item) - 1];
    return before?.kind === "in" && !ANNOUNCEMENTS.has(before.payload?.type) ? speaker(before.payload) : null;
  }
}
