// One customer's conversation as this tab knows it: what was said, and how far each message of ours has come.
// Survives a reload (sessionStorage). Knows nothing of sockets and nothing of the screen.

const KEPT_ITEMS = 200;
const KEPT_IDS = 500;

// LCH recognises a repeat for a day. Past that it could reach the agent twice; an hour is margin.
const REPEATABLE_MS = 23 * 3_600_000;

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
 * Items: {key, kind: "out", at, message, label, chosen, state, reason, triedAt, confirmed, delayed} with state waiting, sending, sent
 *        or failed; chosen {key, index} where it is a choice: the item it is from, and the button there;
 *        {key, kind: "in", at, payload}.
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
    const isId = (id) => typeof id === "string" || typeof id === "number";
    const last = this.items.findLast((item) => item.kind === "in" && isId(item.payload?.customer_id));
    return last ? last.payload.customer_id : "";
  }

  /** Messages of ours that still have to go out, in their order. */
  get waiting() {
    return this.items.filter((item) => item.kind === "out" && item.state === "waiting");
  }

  /** A message of ours. `label` is what the screen says where that is not the text, as with a menu choice. */
  say(message, label = null, chosen = null) {
    return this._add({ kind: "out", message, label, chosen, state: "waiting", reason: null, triedAt: null });
  }

  /** Chooses from a menu or carousel: once, and not after the end. Null where that is over; a failed choice makes way. */
  choose(item, index, message, label) {
    if (!this.choices().isOpen(item)) return null;
    const failed = this.items.filter((other) => other.chosen?.key === item.key);
    failed.forEach((other) => this._remove(other));
    return this.say(message, label, { key: item.key, index });
  }

  /** Which menus may be chosen from, and what was chosen: {isOpen(item), chosenIndex(item)}. */
  choices() {
    const made = new Map();
    for (const { chosen, state } of this.items) if (chosen && state !== "failed") made.set(chosen.key, chosen.index);
    const ended = this.endedBy !== null;
    return { isOpen: ({ key }) => !ended && !made.has(key), chosenIndex: ({ key }) => made.get(key) ?? null };
  }

  /**
   * Says a failed message again, under a new id: LCH answers a repeated id with the first outcome. Null where it has been
   * said, and after the end: a message would begin a new conversation.
   */
  resend(item) {
    if (this.endedBy !== null || item.state !== "failed" || !this.items.includes(item)) return null;
    this._remove(item);
    return this.say({ ...item.message, message_id: newMessageId() }, item.label, item.chosen ?? null);
  }

  /**
   * Which message of ours a serverError is about, or null. A hook that gives outcomes names it; of one that gives none, as
   * the Node program, it is the last message whose outcome is open.
   */
  blamed(detail) {
    const ours = this.items.filter((item) => item.kind === "out");
    if (detail !== null && typeof detail === "object") {
      return ours.findLast((item) => item.message.message_id === detail.message_id && !item.confirmed) ?? null;
    }
    return ours.findLast((item) => item.state === "sending" || (item.state === "sent" && !item.confirmed)) ?? null;
  }

  /** The message of ours with this id, if its outcome is not known yet; else null. */
  open(messageId) {
    const isOpen = (item) => item.state === "sending" || item.state === "waiting" || (item.state === "sent" && !item.confirmed);
    return this.items.findLast((item) => item.kind === "out" && item.message.message_id === messageId && isOpen(item)) ?? null;
  }

  update(item, changes) {
    Object.assign(item, changes);
    this._changed("changed", item);
  }

  /** Takes what LCH delivered. False for a repeat: the same message_id with the same content. */
  receive(payload) {
    const passing = PASSING.has(payload?.type);
    const id = payload?.message_id;
    if (!passing && (typeof id === "string" || typeof id === "number")) {
      // The same id with other content is another message.
      const seenAs = `${JSON.stringify(id)} ${digest(canonical(payload))}`;
      if (this._seenIds.has(seenAs)) return false;
      this._seenIds.add(seenAs);
    }
    if (!passing) this._add({ kind: "in", payload });
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

/** The value's JSON, whatever order its fields came in. */
function canonical(value) {
  const sorted = (_name, each) =>
    each !== null && typeof each === "object" && !Array.isArray(each)
      ? Object.fromEntries(Object.entries(each).sort(([one], [other]) => (one < other ? -1 : 1)))
      : each;
  return JSON.stringify(value, sorted);
}

/** A short stand-in for a text, to be stored: two 32-bit sums (FNV-1a, from two starts). */
function digest(text) {
  let [one, other] = [0x811c9dc5, 0x1b873593];
  for (let index = 0; index < text.length; index += 1) {
    const code = text.charCodeAt(index);
    one = Math.imul(one ^ code, 0x01000193);
    other = Math.imul(other ^ code, 0x85ebca6b);
  }
  return `${(one >>> 0).toString(36)}${(other >>> 0).toString(36)}`;
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
