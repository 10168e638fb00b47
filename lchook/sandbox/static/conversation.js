// One customer's conversation as this tab knows it: what was said, and how far each message of ours has come.
// Survives a reload (sessionStorage). Knows nothing of sockets and nothing of the screen.

const KEPT_ITEMS = 200;
const KEPT_IDS = 500;

// LCH recognises a repeated message_id for 10 minutes. Past that a repeat could reach the agent twice; a minute is margin.
const REPEATABLE_MS = 9 * 60_000;

// Worth nothing later: shown when they come, never stored.
const PASSING = new Set(["typing_indicator"]);

export const NO_ANSWER = "no answer: it may have arrived or not";

let lastMessageId = 0;

/** What LCC uses, Date.now(), but never the same twice. */
export function newMessageId() {
  lastMessageId = Math.max(Date.now(), lastMessageId + 1);
  return lastMessageId;
}

/**
 * Items: {key, kind: "out", at, message, label, state, reason, triedAt} with state waiting, sending, sent or failed;
 *        {key, kind: "in", at, payload, chosen}.
 * `onchange(what, item)` is told "added", "changed", "removed" or "cleared".
 */
export class Conversation {
  constructor(customer) {
    this.customer = customer;
    this.onchange = () => {};
    this._place = `lch.conversation.${customer.customer_id}`;
    const stored = readStored(this._place) ?? {};
    this.items = Array.isArray(stored.items) ? stored.items : [];
    this._seenIds = new Set(Array.isArray(stored.seenIds) ? stored.seenIds : []);
    this._lastKey = this.items.reduce((most, item) => Math.max(most, item.key), 0);
    for (const item of this.items) {
      if (item.kind === "out") lastMessageId = Math.max(lastMessageId, Number(item.message.message_id) || 0);
    }
    this.interrupted();
  }

  /** Who ended it, "customer" or "agent", or null while it goes on. */
  get endedBy() {
    for (const item of this.items) {
      if (item.kind === "in" && item.payload?.type === "csr_end_session") return "agent";
      if (item.kind === "out" && item.message.type === "customer_end_session" && item.state !== "failed") return "customer";
    }
    return null;
  }

  /** The id under which LCH answers us: for a person without a name it is one that LCH chose. */
  get answeredAs() {
    if (this.customer.customer_id !== "") return this.customer.customer_id;
    const last = this.items.findLast((item) => item.kind === "in" && typeof item.payload?.customer_id === "string");
    return last ? last.payload.customer_id : "";
  }

  /** Messages of ours that still have to go out, in their order. */
  get waiting() {
    return this.items.filter((item) => item.kind === "out" && item.state === "waiting");
  }

  /** A message of ours. `label` is what the screen says where that is not the text, as with a menu choice. */
  say(message, label = null) {
    return this._add({ kind: "out", message, label, state: "waiting", reason: null, triedAt: null });
  }

  /** Says a failed message again, under a new id: LCH answers a repeated id with the first outcome. */
  sayAgain(item) {
    this._remove(item);
    return this.say({ ...item.message, message_id: newMessageId() }, item.label);
  }

  update(item, changes) {
    Object.assign(item, changes);
    this._changed("changed", item);
  }

  /** Takes what LCH delivered. False where this message_id has been here before. */
  receive(payload) {
    const id = payload?.message_id;
    if (typeof id === "string" || typeof id === "number") {
      const seenAs = JSON.stringify(id);
      if (this._seenIds.has(seenAs)) return false;
      this._seenIds.add(seenAs);
    }
    if (!PASSING.has(payload?.type)) this._add({ kind: "in", payload, chosen: null });
    return true;
  }

  /** The connection is gone: what had no answer waits for the next one, unless a repeat would no longer be recognised. */
  interrupted() {
    for (const item of this.items) {
      if (item.kind !== "out" || (item.state !== "sending" && item.state !== "waiting")) continue;
      const tooLate = item.triedAt !== null && Date.now() - item.triedAt > REPEATABLE_MS;
      this.update(item, tooLate ? { state: "failed", reason: NO_ANSWER } : { state: "waiting" });
    }
  }

  /** A new conversation. What DMS may still repeat of the old one stays known. */
  clear() {
    this.items = [];
    this._changed("cleared", null);
  }

  _add(fields) {
    this._lastKey += 1;
    const item = { key: this._lastKey, at: Date.now(), ...fields };
    this.items.push(item);
    while (this.items.length > KEPT_ITEMS) this._remove(this.items[0]);
    this._changed("added", item);
    return item;
  }

  _remove(item) {
    this.items = this.items.filter((other) => other !== item);
    this._changed("removed", item);
  }

  _changed(what, item) {
    writeStored(this._place, { items: this.items, seenIds: [...this._seenIds].slice(-KEPT_IDS) });
    this.onchange(what, item);
  }
}

/** A stored value, or null where there is none or storage is switched off. */
export function readStored(name) {
  try {
    return JSON.parse(sessionStorage.getItem(name));
  } catch {
    return null;
  }
}

export function writeStored(name, value) {
  try {
    sessionStorage.setItem(name, JSON.stringify(value));
  } catch {
    // Storage is full or switched off: the page works, it only forgets at a reload.
  }
}
