// A customer's side of a chat through LCH. Documented in lch-client.d.ts and README.md. Shows nothing.

// So long the hook knows a message's outcome, and a repeat does no harm.
const REPEAT_MS = 600_000;
const ACK_MS = 60_000;
const TICK_MS = 5_000;
// Without Web Locks: a tab whose record is that old is gone. Hidden tabs have timers that are a minute late.
const GONE_MS = 130_000;
const TYPING_MS = 3_000;
const MAX_STORED = 50;
const MAX_SEEN = 500;
const MAX_TRIES = 5;
const SHORT = 9_999;
const BUSY = /too many|slow down|connect again/;

// Pages that came by plain HTTP have no randomUUID.
const uuid = () => crypto.randomUUID?.() ?? crypto.getRandomValues(new Uint32Array(4)).join("-");

const isObject = (value) => Object(value) === value && !Array.isArray(value);

const isOpen = ({ status }) => status === "pending" || status === "delayed";

const now = () => new Date().toISOString();

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
  #who; // whose messages these are, once it is known
  #session;
  #release; // lets go of the lock of this tab's record
  #socket;
  #timer;
  #retry;
  #attempts = 0;
  #refusals = 0;
  #waiting = new Map(); // message_id → what has no outcome: { entry, emitted, on, tries, resolve }
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
    if (typeof this.#options.token !== "function") this.#identify(this.#options.token);
    this.#tick(); // what the last page left is there without a connection, too
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
    return this.#say({ type: "text", ...(text && { text: [text].flat() }), ...(context_data && { context_data }), ...fields });
  }

  choose({ text, payload }) {
    return this.send({ text, postback: payload });
  }

  endSession() {
    return this.#say({ type: "customer_end_session" });
  }

  resend(messageId) {
    const entry = this.#said.get(messageId);
    if (!entry || isOpen(entry) || entry.status === "sent" || entry.resentAs) throw new RangeError("there is no such message");
    const message_id = uuid();
    const payload = { ...entry.payload, message_id };
    if (entry.cursor) {
      // The conversation has it as failed, for every tab to see.
      this.#change(entry, { resentAs: message_id });
      return this.#say(payload);
    }
    this.#said.delete(messageId);
    Object.assign(entry, { payload, at: now(), error: undefined });
    return this.#wait(entry);
  }

  typing() {
    if (!this.#socket?.connected || Date.now() - this.#typedAt < TYPING_MS) return;
    this.#spokeAt = this.#typedAt = Date.now();
    this.#socket.emit("clientMessage", { ...this.#names(), type: "typing_indicator" });
  }

  async upload(file, { onProgress, signal, name = file.name ?? "file" } = {}) {
    signal?.throwIfAborted();
    if (!this.#socket?.connected) throw new Error("not connected");
    const { customer_id } = this.#names();
    const request = { customer_id, name, type: file.type, size: file.size };
    const answer = await new Promise((resolve, reject) => {
      signal?.addEventListener("abort", () => reject(signal.reason));
      this.#socket.timeout(ACK_MS).emit("fileRequest", request, (error, answer) => (error ? reject(error) : resolve(answer)));
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
    return this.#wait(this.#entry({ at: now(), from: "customer", payload }));
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
    const outcome = new Promise((resolve) => this.#waiting.set(id, { entry, resolve, tries: 0, emitted: false, ...stored }));
    this.#tell(isNew ? "entry" : "status", entry);
    this.#deliver(this.#waiting.get(id));
    return outcome;
  }

  #deliver(waiting) {
    const { entry } = waiting;
    const { message_id } = entry.payload;
    if (this.#waiting.get(message_id) !== waiting) return;
    const socket = this.#socket;
    const on = socket?.connected && socket.id;
    if (on && waiting.on === on) return this.#save();
    const isPoison = waiting.tries > MAX_TRIES && JSON.stringify(entry.payload).length > SHORT;
    if (isPoison || Date.now() - Date.parse(entry.at) > REPEAT_MS) {
      const [status, error] = isPoison
        ? ["rejected", "each time that it was sent the connection broke: it may be too long"]
        : waiting.emitted
          ? ["unknown", "no outcome for 10 minutes: DMS may have it"]
          : ["failed", "no connection for 10 minutes: send it again"];
      return this.#settle({ message_id, status, error });
    }
    if (!on) return this.#save();
    waiting.on = on;
    waiting.emitted = true;
    this.#save();
    socket.timeout(ACK_MS).emit("clientMessage", entry.payload, (error, outcome) => {
      if (waiting.on !== on) return; // repeated on another connection
      waiting.on = undefined;
      if (error) {
        // Nothing came in time, or the connection died: the same once more.
        if (!socket.connected) waiting.tries++;
        this.#deliver(waiting);
        return;
      }
      const isBusy = outcome?.status === "rejected" && BUSY.test(outcome.error);
      if (isBusy && waiting.tries++ < MAX_TRIES) return; // until the next tick
      this.#settle({ message_id, ...outcome });
    });
  }

  /** A message's outcome, or that it is delayed. */
  #settle({ message_id, cursor, status, error, ...more }) {
    const entry = this.#cursors.get(cursor) ?? this.#said.get(message_id);
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
    const place = list.indexOf(entry);
    if (place >= 0) list.splice(place, 1);
    const isLater = ({ cursor, status, at }) => (cursor ? cursor > entry.cursor : isOpen({ status }) || at > entry.at);
    let index = list.length;
    while (entry.cursor && index && isLater(list[index - 1])) index--;
    list.splice(index, 0, entry);
  }

  /** Take an entry of the conversation. Returns it where it is new. */
  #merge(came) {
    if (!isObject(came?.payload) || typeof came.cursor !== "string") return undefined;
    const { cursor, at, from, payload, status = "pending" } = came;
    const { message_id } = payload;
    if (this.#cursors.has(cursor)) return this.#settle({ message_id, cursor, status });
    const known = from === "customer" ? this.#said.get(message_id) : this.#seen.get(JSON.stringify(payload));
    const entry = known && !known.cursor ? known : this.#entry({ at, from, payload, ...(from === "customer" && { status }) });
    entry.cursor = cursor;
    if (!(this.#after > cursor)) this.#after = cursor;
    if (from === "dms") entry.at = at; // a message's own says when it is too late to repeat it
    this.#cursors.set(cursor, entry);
    this.#place(entry);
    if (entry !== known) {
      if (from === "customer") this.#said.set(message_id, entry);
      return entry;
    }
    this.#tell("status", entry);
    return this.#settle({ message_id, status });
  }

  #take(payload) {
    const content = JSON.stringify(payload);
    if (payload.message_id !== undefined && this.#seen.has(content)) return;
    const entry = this.#entry({ at: now(), from: "dms", payload });
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
      else this.#enter("offline", parsed(error.context?.responseText)?.error ?? "the chat cannot be reached");
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
      const { messages, complete, error } = part ?? {};
      const entries = Array.isArray(messages) ? messages.map((came) => this.#merge(came)).filter(Boolean) : [];
      this.#tell("history", { entries, complete: Boolean(complete ?? error), ...(error && { error }) });
    });
    socket.on("conversationMessage", (came, acknowledge) => {
      acknowledge?.();
      const entry = this.#merge(came);
      if (entry) this.#tell("entry", entry);
    });
    return socket;
  }

  async #auth() {
    const { token, customerId, connection, conversation = true } = this.#options;
    const jwt = typeof token === "function" ? await token() : token;
    this.#identify(jwt);
    const seconds = this.#spokeAt && (Date.now() - this.#spokeAt) / 1000;
    return {
      ...(jwt ? { token: jwt } : this.#session ? { customer_id: "", session: this.#session } : { customer_id: customerId }),
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

  // What outlives the page: the messages without an outcome, in a record of this tab's own, which a lock holds.

  #key(...names) {
    return ["lch", this.#url, this.#options.connection ?? "", ...names].map(encodeURIComponent).join(" ");
  }

  get #record() {
    return this.#key("messages", this.#who, this.#tab);
  }

  #storedSession() {
    const key = this.#key("session");
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

  /** Whose messages these are. @throws where they were somebody else's before. */
  #identify(jwt) {
    const { customerId = "", session } = this.#options;
    if (!jwt && customerId === "") this.#session ??= session ?? this.#storedSession();
    const who = this.#session ?? (customerId === "" ? subject(jwt) : customerId);
    if (this.#who !== undefined && this.#who !== who) throw new Error("the token is for another customer: make a new client");
    this.#who = who;
    if (who === undefined || this.#release) return;
    this.#release = () => {};
    // Granted after `close`, it is of no use.
    lock(this.#record, {}, () => this.#timer && new Promise((release) => (this.#release = release)));
  }

  #save(at = Date.now()) {
    if (this.#who === undefined) return;
    const kept = [...this.#waiting.values()].slice(-MAX_STORED).map(({ entry: { at, payload }, emitted }) => ({ at, payload, emitted }));
    this.#stored(() => {
      if (kept.length) this.#storage.setItem(this.#record, JSON.stringify({ at, messages: kept }));
      else this.#storage.removeItem(this.#record);
    });
  }

  /** Go on with what pages have left that are gone. */
  #adopt() {
    if (this.#who === undefined) return;
    const start = this.#key("messages", this.#who, "");
    const keys = this.#stored(() => Array.from(this.#storage, (_, index) => this.#storage.key(index))) ?? [];
    for (const key of keys) {
      if (!key?.startsWith(start) || key === this.#record) continue;
      if (lock(key, { ifAvailable: true }, (held) => held && this.#inherit(key, Infinity))) continue;
      this.#inherit(key, Date.now() - GONE_MS);
    }
  }

  #inherit(key, before) {
    this.#stored(() => {
      const { at = 0, messages = [] } = parsed(this.#storage.getItem(key)) ?? {};
      if (at >= before) return;
      this.#storage.removeItem(key);
      for (const { at, payload, emitted } of messages) {
        if (!this.#said.has(payload.message_id)) this.#wait(this.#entry({ at, from: "customer", payload }), { emitted });
      }
    });
  }
}

/** Nothing where there are no locks. */
const lock = (...request) => globalThis.navigator?.locks?.request(...request).catch(() => {});

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** By XMLHttpRequest where there is one: `fetch` tells no progress. */
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
  if (status < 200 || status > 299) throw new Error(parsed(text)?.error ?? `the file was not taken: ${status}`);
  onProgress?.(1);
}
