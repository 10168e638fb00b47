/**
 * The client of LCH: outcomes, repeats beyond a reload, no message twice, conversation, tokens, files. Documented in
 * lch-client.d.ts and README.md. Shows nothing: lch-chat.js does.
 */

// The hook knows a message's first outcome for so long: within it, a repeat does no harm.
const REPEAT_MS = 600_000;
const ACK_MS = 60_000;
const TICK_MS = 5_000;
// Without Web Locks: a tab whose record is that old is gone. Browsers slow hidden tabs' timers to one in a minute.
const GONE_MS = 130_000;
const TYPING_MS = 3_000;
const MAX_STORED = 50;
const MAX_SEEN = 500;
const MAX_BUSY = 5;

const uuid = () =>
  globalThis.crypto.randomUUID?.() ?? // not in pages that came by plain HTTP
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

const isOpen = (entry) => entry.status === "pending" || entry.status === "delayed";

function localStorageOrNull() {
  try {
    return globalThis.localStorage ?? null;
  } catch {
    return null; // the browser's owner allows none
  }
}

async function findIo() {
  if (globalThis.io) return globalThis.io;
  try {
    return (await import("socket.io-client")).io;
  } catch {
    const beside = "./socket.io.esm.min.js"; // as LCH serves it; no bundler is to look for it
    return (await import(/* @vite-ignore */ /* webpackIgnore: true */ beside)).io;
  }
}

/** A token's customer, so that nobody sends what another customer left behind. The hook checks the token; this does not. */
function subject(token) {
  try {
    return JSON.parse(atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/"))).sub;
  } catch {
    return undefined;
  }
}

export class LchClient extends EventTarget {
  entries = [];
  state = "closed";
  reason = "";

  #options;
  #url;
  #storage;
  #tab = uuid();
  #who; // whose messages are stored, once it is known
  #session;
  #release; // lets go of the lock of this tab's record
  #socket;
  #timer;
  #retry;
  #attempts = 0;
  #refusals = 0;
  #waiting = new Map(); // message_id → what has no outcome: { entry, emitted, on, busy, resolve }
  #said = new Map(); // message_id → the customer's entry
  #seen = new Map(); // content → DMS's entry
  #cursors = new Map(); // cursor → entry
  #after; // the latest cursor
  #keys = 0;
  #spokeAt;
  #typedAt = 0;

  constructor(options) {
    super();
    this.#url = new URL(options.url, globalThis.location?.href);
    this.#options = options;
    this.#storage = options.storage === undefined ? localStorageOrNull() : options.storage;
    globalThis.addEventListener?.("pagehide", () => this.#timer && this.#save(0));
  }

  async connect() {
    if (this.#timer && this.state !== "refused") return;
    this.#timer ??= setInterval(() => this.#tick(), TICK_MS);
    this.#enter("connecting");
    try {
      const io = this.#options.io ?? (await findIo());
      this.#socket ??= this.#open(io);
      if (this.#timer) this.#socket.connect();
    } catch (error) {
      this.#enter("refused", `socket.io-client cannot be had: ${error.message}`);
    }
  }

  close() {
    clearInterval(this.#timer);
    clearTimeout(this.#retry);
    this.#timer = undefined;
    this.#attempts++;
    this.#socket?.disconnect();
    this.#save(0);
    this.#release?.();
    this.#release = undefined;
    this.#enter("closed");
  }

  send({ text, ...fields }) {
    const { contextData } = this.#options;
    const context_data = typeof contextData === "function" ? contextData() : contextData;
    return this.#say({ type: "text", ...(text && { text: [text] }), ...(context_data && { context_data }), ...fields });
  }

  choose({ text, payload }) {
    return this.send({ text, postback: payload });
  }

  endSession() {
    return this.#say({ type: "customer_end_session" });
  }

  resend(messageId) {
    const entry = this.#said.get(messageId);
    if (!entry || isOpen(entry) || entry.status === "sent" || entry.resentAs) throw new RangeError("no such message to send again");
    const message_id = uuid();
    const payload = { ...entry.payload, message_id };
    if (entry.cursor) {
      // The conversation has it as failed, for every tab to see.
      this.#change(entry, { resentAs: message_id });
      return this.#say(payload);
    }
    this.#said.delete(messageId);
    Object.assign(entry, { payload, at: new Date().toISOString(), error: undefined });
    return this.#wait(entry);
  }

  typing() {
    if (!this.#socket?.connected || Date.now() - this.#typedAt < TYPING_MS) return;
    this.#spokeAt = this.#typedAt = Date.now();
    this.#socket.emit("clientMessage", { ...this.#names(), type: "typing_indicator" }, () => {});
  }

  async upload(file, { onProgress, signal, name = file.name ?? "file" } = {}) {
    signal?.throwIfAborted();
    if (!this.#socket?.connected) throw new Error("not connected");
    const { customer_id } = this.#names();
    const asked = { customer_id, name, type: file.type, size: file.size };
    const answer = await new Promise((resolve, reject) => {
      signal?.addEventListener("abort", () => reject(signal.reason));
      this.#socket.timeout(ACK_MS).emit("fileRequest", asked, (error, answer) => (error ? reject(error) : resolve(answer)));
    });
    if (!answer?.upload?.url || !answer.attachment?.url) throw new Error(answer?.error ?? "this hook takes no files");
    const { url, method = "PUT", headers = {} } = answer.upload;
    await put(new URL(url, this.#url), { method, headers, body: file, signal }, onProgress);
    return answer.attachment;
  }

  // What is said.

  #names() {
    const { customerId, customerName, token } = this.#options;
    return { customer_id: customerId ?? (token ? undefined : ""), customer_name: customerName };
  }

  #say(fields) {
    const payload = { ...this.#names(), message_id: uuid(), ...fields };
    return this.#wait(this.#entry({ at: new Date().toISOString(), from: "customer", payload }));
  }

  /** It is to be sent. */
  #wait(entry, stored) {
    const id = entry.payload.message_id;
    const isNew = !this.entries.includes(entry);
    entry.status = "pending";
    this.#said.set(id, entry);
    this.#place(entry);
    this.#spokeAt = Math.max(this.#spokeAt ?? 0, Date.parse(entry.at));
    this.#typedAt = 0;
    const outcome = new Promise((resolve) => this.#waiting.set(id, { entry, resolve, busy: 0, emitted: false, ...stored }));
    this.#tell(isNew ? "entry" : "status", entry);
    this.#deliver(this.#waiting.get(id));
    return outcome;
  }

  #deliver(waiting) {
    const { entry } = waiting;
    const { message_id } = entry.payload;
    if (this.#waiting.get(message_id) !== waiting) return;
    if (Date.now() - Date.parse(entry.at) > REPEAT_MS) {
      const status = waiting.emitted ? "unknown" : "failed";
      const error = `there was no connection for 10 minutes${waiting.emitted ? ": DMS may have it" : ""}: send it again`;
      this.#settle({ message_id, status, error });
      return;
    }
    const socket = this.#socket;
    const on = socket?.connected && socket.id;
    if (on && waiting.on !== on) {
      waiting.on = on;
      waiting.emitted = true;
      this.#save();
      socket.timeout(ACK_MS).emit("clientMessage", entry.payload, (error, outcome) => {
        if (waiting.on !== on) return; // repeated on another connection
        waiting.on = undefined;
        // An error is no outcome: nothing came in time, or the connection died. The same message once more does no harm.
        if (error) this.#deliver(waiting);
        // The next tick tries again.
        else if (outcome?.status === "rejected" && /too many|stopping/.test(outcome.error) && waiting.busy++ < MAX_BUSY) return;
        else this.#settle({ message_id, ...outcome });
      });
    } else this.#save();
  }

  /** A message's outcome, or that it is delayed: by acknowledgement, `messageStatus`, or the conversation. */
  #settle({ message_id, status, error, ...more }) {
    const entry = this.#said.get(message_id);
    if (!entry || status === "pending" || (status === "delayed" && entry.status !== "pending")) return;
    if (status === "failed" && /may have/.test(error)) status = "unknown";
    if (!["delayed", "sent", "failed", "rejected", "unknown"].includes(status)) {
      [status, error] = ["unknown", "the hook's answer is not understood"];
    }
    if (entry.status !== status) this.#change(entry, { status, error });
    if (status === "delayed") return;
    this.#waiting.get(message_id)?.resolve({ message_id, status, ...(error && { error }), ...more });
    if (this.#waiting.delete(message_id)) this.#save();
  }

  // The list.

  #entry(fields) {
    return { key: String(++this.#keys), ...fields };
  }

  /** Put it where it belongs: by cursor, before what has none and is younger or still under way. */
  #place(entry) {
    const list = this.entries;
    const now = list.indexOf(entry);
    if (now >= 0) list.splice(now, 1);
    const isLater = (other) => !other.cursor && (isOpen(other) || Date.parse(other.at) > Date.parse(entry.at));
    let index = list.length;
    while (entry.cursor && index && isLater(list[index - 1])) index--;
    list.splice(index, 0, entry);
  }

  /** Take an entry of the conversation. Returns it where it is new. */
  #merge(came) {
    if (!isObject(came) || !isObject(came.payload) || this.#cursors.has(came.cursor)) return undefined;
    const { cursor, at, from, payload, status } = came;
    const known = from === "customer" ? this.#said.get(payload.message_id) : this.#seen.get(JSON.stringify(payload));
    const entry = known && !known.cursor ? known : this.#entry({ at, from, payload, ...(status && { status }) });
    entry.cursor = this.#after = cursor;
    this.#cursors.set(cursor, entry);
    this.#place(entry);
    if (entry !== known) {
      if (from === "customer") this.#said.set(payload.message_id, entry);
      return entry;
    }
    this.#tell("status", entry);
    this.#settle({ message_id: payload.message_id, status: status ?? "pending" });
    return undefined;
  }

  #take(payload) {
    const content = JSON.stringify(payload);
    if (payload.message_id !== undefined && this.#seen.has(content)) return;
    const entry = this.#entry({ at: new Date().toISOString(), from: "dms", payload });
    this.#seen.set(content, entry);
    if (this.#seen.size > MAX_SEEN) this.#seen.delete(this.#seen.keys().next().value);
    this.#place(entry);
    this.#tell("entry", entry);
  }

  #change(entry, changes) {
    Object.assign(entry, changes);
    this.#tell("status", entry);
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  // The connection.

  #enter(state, reason = "") {
    if (state === this.state && reason === this.reason) return;
    Object.assign(this, { state, reason });
    this.#tell("connection", { state, reason });
  }

  #open(io) {
    const socket = io(this.#url.origin, {
      path: this.#url.pathname.replace(/\/*$/, "/socket.io"),
      ...this.#options.socketOptions,
      autoConnect: false,
      forceNew: true,
      auth: (use) => {
        const attempt = ++this.#attempts;
        const still = (then) => (value) => attempt === this.#attempts && then(value);
        this.#auth().then(still(use), still((error) => this.#refuse(error.message)));
      },
    });
    socket.on("connect", () => {
      this.#refusals = 0;
      this.#enter("connected");
      this.#tick();
    });
    socket.on("disconnect", (reason) => {
      socket.sendBuffer = []; // what was emitted while the line died: it is repeated
      if (!this.#timer || reason === "io client disconnect") return;
      this.#enter("offline", "the connection was lost");
      if (!socket.active) this.#again();
    });
    socket.on("connect_error", (error) => {
      if (!socket.active) this.#refuse(error.message);
      else this.#enter("offline", wordsOf(error.context?.responseText) ?? "the chat cannot be reached");
    });
    socket.on("messageStatus", (status) => isObject(status) && this.#settle(status));
    socket.on("serverError", (_, detail) => {
      if (detail?.status === "rejected") this.#tell("error", { message: String(detail.error) });
    });
    socket.on("serverMessage", (payload, acknowledge) => {
      acknowledge?.();
      if (!isObject(payload)) return;
      if (payload.type === "typing_indicator") this.#tell("typing", payload);
      else if (payload.type === "wait_time") this.#tell("waittime", payload);
      else this.#take(payload);
    });
    socket.on("conversation", (part, acknowledge) => {
      acknowledge?.();
      const entries = Array.isArray(part?.messages) ? part.messages.map((came) => this.#merge(came)).filter(Boolean) : [];
      this.#tell("history", { entries, complete: Boolean(part?.complete ?? part?.error), ...(part?.error && { error: part.error }) });
    });
    socket.on("conversationMessage", (came, acknowledge) => {
      acknowledge?.();
      const entry = this.#merge(came);
      if (entry) this.#tell("entry", entry);
    });
    return socket;
  }

  async #auth() {
    const { token, customerId, session, connection, conversation = true } = this.#options;
    const jwt = typeof token === "function" ? await token() : token;
    const isNamed = customerId !== undefined && customerId !== "";
    if (!jwt && !isNamed) this.#session ??= session ?? this.#storedSession();
    const who = isNamed ? customerId : jwt ? subject(jwt) : this.#session;
    if (this.#who !== undefined && this.#who !== who) throw new Error("the token is for another customer: make a new client");
    this.#identify(who);
    const seconds = this.#spokeAt && (Date.now() - this.#spokeAt) / 1000;
    return {
      ...(jwt ? { token: jwt } : isNamed ? { customer_id: customerId } : { customer_id: "", session: this.#session }),
      ...(connection && { connection }),
      ...(conversation && { conversation: this.#after ? { after: this.#after } : {} }),
      ...(seconds !== undefined && { spoke_seconds_ago: Math.max(0, seconds) }),
    };
  }

  #refuse(reason) {
    this.#socket.disconnect();
    this.#enter("refused", reason);
    if (typeof this.#options.token === "function") this.#again();
  }

  #again() {
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.#timer && this.#socket.connect(), Math.min(1000 * 2 ** this.#refusals++, 60_000));
  }

  #tick() {
    this.#adopt();
    for (const waiting of this.#waiting.values()) this.#deliver(waiting);
  }

  // What outlives the page: under a key of this tab's own, which a lock holds, the messages without an outcome.

  get #prefix() {
    return `lch ${this.#url.href} ${this.#options.connection ?? ""} `;
  }

  get #key() {
    return `${this.#prefix}messages ${this.#who} ${this.#tab}`;
  }

  #storedSession() {
    const key = `${this.#prefix}session`;
    const session = this.#stored(() => this.#storage.getItem(key)) || uuid();
    this.#stored(() => this.#storage.setItem(key, session));
    return session;
  }

  /** Use the storage, if it works. */
  #stored(use) {
    try {
      return this.#storage ? use() : undefined;
    } catch (error) {
      this.#tell("error", { message: `messages cannot be stored: ${error.message}` });
      return undefined;
    }
  }

  #identify(who) {
    this.#who = who;
    if (who === undefined || this.#release) return;
    this.#release = () => {};
    navigatorLocks()?.request(this.#key, () => new Promise((release) => (this.#release = release)));
  }

  #save(at = Date.now()) {
    if (this.#who === undefined) return;
    const messages = [...this.#waiting.values()].slice(-MAX_STORED);
    const record = { at, messages: messages.map(({ entry, emitted }) => ({ at: entry.at, payload: entry.payload, emitted })) };
    this.#stored(() => {
      if (messages.length) this.#storage.setItem(this.#key, JSON.stringify(record));
      else this.#storage.removeItem(this.#key);
    });
  }

  /** Go on with what pages have left that are gone. */
  #adopt() {
    if (this.#who === undefined) return;
    const start = this.#key.slice(0, -this.#tab.length);
    const keys = this.#stored(() => Array.from(this.#storage, (_, index) => this.#storage.key(index))) ?? [];
    for (const key of keys) {
      if (!key?.startsWith(start) || key === this.#key) continue;
      const locks = navigatorLocks();
      if (locks) locks.request(key, { ifAvailable: true }, (lock) => lock && this.#inherit(key, Infinity));
      else this.#inherit(key, Date.now() - GONE_MS);
    }
  }

  #inherit(key, before) {
    const record = this.#stored(() => JSON.parse(this.#storage.getItem(key)));
    if (!(record?.at < before)) return;
    this.#stored(() => this.#storage.removeItem(key));
    for (const { at, payload, emitted } of record.messages) {
      if (!this.#said.has(payload.message_id)) this.#wait(this.#entry({ at, from: "customer", payload }), { emitted });
    }
  }
}

const navigatorLocks = () => globalThis.navigator?.locks;

function wordsOf(text) {
  try {
    return JSON.parse(text).error;
  } catch {
    return undefined;
  }
}

/** `fetch` tells nothing of an upload's progress; XMLHttpRequest, where there is one, does. */
async function put(url, { method, headers, body, signal }, onProgress) {
  let status, text;
  if (globalThis.XMLHttpRequest) {
    [status, text] = await new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      request.open(method, url);
      for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
      request.upload.onprogress = ({ loaded, total }) => onProgress?.(total ? loaded / total : 0);
      request.onload = () => resolve([request.status, request.responseText]);
      request.onerror = () => reject(new Error("the file could not be sent"));
      signal?.addEventListener("abort", () => (request.abort(), reject(signal.reason)));
      request.send(body);
    });
  } else {
    const answer = await fetch(url, { method, headers, body, signal });
    [status, text] = [answer.status, await answer.text()];
  }
  if (status < 200 || status > 299) throw new Error(wordsOf(text) ?? `the file was not taken: ${status}`);
  onProgress?.(1);
}
