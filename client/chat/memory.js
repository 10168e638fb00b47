// What a chat remembers in the browser: is it open, what has been read, and, where the hook keeps no conversation, what was
// said in this tab. Works without storage; it only forgets then.

const MAX_ENTRIES = 200;

export class Memory {
  /**
   * @param name of the hook and the customer; others' memories never mix with it
   * @param isPrivate whether that names the customer: else nothing that was said may be kept, since another one may come next
   */
  constructor(name, isPrivate) {
    this._name = name;
    this._isPrivate = isPrivate;
  }

  /** Was it open on the page before? Null where that is not known. */
  get open() {
    return read("sessionStorage", `lch-chat open ${this._name}`);
  }

  set open(open) {
    write("sessionStorage", `lch-chat open ${this._name}`, open);
  }

  /** When what was read last was said (ISO 8601), "" for nothing; null where this customer has never chatted here. */
  get read() {
    return read("localStorage", this.readKey);
  }

  set read(at) {
    write("localStorage", this.readKey, at);
  }

  /** The key that other tabs change, too. */
  get readKey() {
    return `lch-chat read ${this._name}`;
  }

  get entries() {
    const entries = read("sessionStorage", `lch-chat said ${this._name}`);
    if (!this._isPrivate || !Array.isArray(entries)) return [];
    // Keys of their own: the client counts from 1 on every page.
    return entries.filter((entry) => entry?.payload && entry.at).map((entry, index) => ({ ...entry, key: `before ${index}` }));
  }

  set entries(entries) {
    if (!this._isPrivate) return;
    // What has no outcome yet the client keeps itself.
    const done = entries.filter(({ status }) => status !== "pending" && status !== "delayed");
    write("sessionStorage", `lch-chat said ${this._name}`, done.length ? done.slice(-MAX_ENTRIES) : null);
  }
}

/**
 * What was said on the pages before and what this page's client knows, each once. The client knows better: of what had no
 * outcome, and what DMS sends again.
 */
export function joined(remembered, entries) {
  if (!remembered.length) return entries;
  const same = ({ from, payload }) => (from === "customer" ? `customer ${payload.message_id}` : JSON.stringify(payload));
  const known = new Set(entries.filter(({ payload }) => payload.message_id !== undefined).map(same));
  return [...remembered.filter((entry) => !known.has(same(entry))), ...entries];
}

// The storages are named, since reading `window.localStorage` throws where the browser's owner allows none.
function read(storage, key) {
  try {
    return JSON.parse(window[storage].getItem(key));
  } catch {
    return null;
  }
}

function write(storage, key, value) {
  try {
    if (value === null) window[storage].removeItem(key);
    else window[storage].setItem(key, JSON.stringify(value));
  } catch {
    // Full, or switched off.
  }
}
