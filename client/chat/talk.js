// One customer's talk, as this page has it: what the client knows, what the tab remembers where the hook keeps no conversation,
// and what is shown for a while only. Chooses and sends again. Knows no screen.

import { joined } from "./memory.js";
import { speaker } from "./messages.js";
import { read } from "./story.js";

export class Talk {
  constructor(client, memory) {
    this._client = client;
    this._memory = memory;
    this._remembered = memory.entries;
    this._isKept = false;
    this._made = new Map();
    this._passing = [];
    this._startedAfter = null;
  }

  /** All that is known to have been said, in order. */
  get entries() {
    return joined(this._remembered, this._client?.entries ?? []);
  }

  get theirs() {
    return this.entries.filter(({ from }) => from === "dms");
  }

  /** {shown, menus, endedBy} as story.js reads them, with what passes, and with a conversation that was begun anew. */
  get story() {
    const { entries } = this;
    const { shown, menus, endedBy } = read(entries, this._made);
    const isOver = endedBy !== null && entries.at(-1).key !== this._startedAfter;
    return { shown: [...shown, ...this._passing], menus, endedBy: isOver ? endedBy : null };
  }

  /** A typing indicator does not say who types: who spoke last, then. */
  get lastSpeaker() {
    return speaker(this.entries.findLast(({ payload }) => speaker(payload))?.payload);
  }

  /** Something was said, or has changed. */
  changed(entry = null) {
    if (entry?.from === "dms") this._passing = [];
    if (entry?.from === "customer") this._memory.read ??= "";
    if (!this._isKept) this._memory.entries = this.entries;
  }

  /** The hook keeps the conversation, and this is some of it. */
  kept() {
    this._isKept = true;
    this._remembered = this._memory.entries = [];
    // What another device has read already is no news here.
    this._memory.read ??= this.theirs.at(-1)?.at ?? "";
  }

  /** Shown until somebody answers. */
  passing(payload) {
    this._passing = [{ key: `passing ${Date.now()}`, from: "dms", at: new Date().toISOString(), payload }];
  }

  /** The customer wants to go on after the end. */
  startAnew() {
    this._startedAfter = this.entries.at(-1)?.key;
  }

  /** From a menu or carousel: once, and not after the end. Returns whether it could be. */
  choose(entry, { text, payload, index }) {
    if (!this.story.menus.get(entry.key)?.open) return false;
    const note = ({ detail }) => this._made.set(detail.payload.message_id, { menu: entry.key, index });
    // The client says so before it returns.
    this._client.addEventListener("entry", note, { once: true });
    this._client.choose({ text, payload });
    return true;
  }

  resend(entry) {
    const { message_id, ...payload } = entry.payload;
    const made = this._made.get(message_id);
    const note = ({ detail }) => made && this._made.set(detail.resentAs ?? detail.payload.message_id, made);
    this._client.addEventListener("status", note, { once: true });
    if (this._client.entries.includes(entry)) this._client.resend(message_id);
    else this._client.send(payload); // said on a page before
  }
}
