// The rules of client/lch-client.js, one by one: the socket is played, and the clock turned.
import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";
import { LchClient } from "../../../client/lch-client.js";

class Socket {
  handlers = {};
  sent = []; // { event, data, answer }
  connected = false;
  active = false;
  id = 0;
  on(event, handler) {
    this.handlers[event] = handler;
  }
  timeout() {
    return { emit: (event, data, answer) => this.sent.push({ event, data: structuredClone(data), answer }) };
  }
  emit(event, data, answer) {
    this.sent.push({ event, data: structuredClone(data), answer });
  }
  connect() {
    this.active = true;
    this.options.auth((auth) => (this.auth = auth));
  }
  disconnect() {
    this.active = this.connected = false;
  }
  // What the test plays.
  comes(event, ...args) {
    this.handlers[event](...args);
  }
  joins() {
    this.connected = true;
    this.id++;
    this.comes("connect");
  }
  dies() {
    this.connected = false;
    this.comes("disconnect", "transport close");
    for (const { answer } of this.sent) answer?.(new Error("socket has been disconnected"));
  }
}

class MemoryStorage extends Map {
  get length() {
    return this.size;
  }
  key = (index) => [...this.keys()][index] ?? null;
  getItem = (key) => this.get(key) ?? null;
  setItem = (key, value) => this.set(key, value);
  removeItem = (key) => this.delete(key);
}

// One storage is shared by those who are told to; locks as in a browser, where a test has them.
class Locks {
  held = new Map();
  request(name, options, use = options) {
    if (this.held.has(name)) return Promise.resolve(use === options ? undefined : use(null));
    const done = Promise.resolve(use({ name })).finally(() => this.held.delete(name));
    this.held.set(name, done);
    return done;
  }
}

const settled = async () => {
  for (let turn = 0; turn < 20; turn++) await Promise.resolve();
};
let clients;

function open(options = {}) {
  const socket = new Socket();
  const io = (url, given) => {
    socket.url = url;
    socket.options = given;
    return socket;
  };
  const client = new LchClient({ url: "https://hook.example/under/", io, customerId: "ada", storage: null, ...options });
  const told = [];
  for (const event of ["connection", "entry", "status", "history", "typing", "waittime", "error"]) {
    client.addEventListener(event, ({ detail }) => told.push([event, structuredClone(detail)]));
  }
  clients.push(client);
  return { client, socket, told, of: (event) => told.filter(([name]) => name === event).map(([, detail]) => detail) };
}

async function joined(options) {
  const opened = open(options);
  await opened.client.connect();
  await settled();
  opened.socket.joins();
  return opened;
}

const texts = (client) => client.entries.map(({ payload, status }) => [payload.text?.[0], status].filter(Boolean).join(" "));
const fromDms = (cursor, text, fields) => ({
  cursor,
  at: `2026-01-01T00:00:0${cursor}Z`,
  from: "dms",
  payload: { type: "text", customer_id: "ada", message_id: `of DMS ${cursor}`, text: [text], ...fields },
});
const fromCustomer = (cursor, payload, status = "sent") => ({ cursor, at: `2026-01-01T00:00:0${cursor}Z`, from: "customer", payload, status });

beforeEach(() => {
  clients = [];
  mock.timers.enable({ apis: ["setInterval", "setTimeout", "Date"], now: Date.parse("2026-01-01T00:00:05Z") });
});
afterEach(() => {
  clients.forEach((client) => client.close());
  mock.timers.reset();
  delete globalThis.navigator?.locks;
});

test("it connects where the hook is, under a path too, and says who it is", async () => {
  const { client, socket } = open();
  assert.equal(client.state, "closed");
  await client.connect();
  await settled();
  assert.equal(socket.url, "https://hook.example");
  assert.equal(socket.options.path, "/under/socket.io");
  assert.deepEqual(socket.auth, { customer_id: "ada", conversation: {} });
});

test("the conversation is one list in the order of cursors, each entry once, and goes on where it was", async () => {
  const { client, socket, of } = await joined();
  const acknowledged = [];
  const parts = [
    { messages: [fromDms("1", "One"), fromCustomer("2", { type: "text", message_id: 7, text: ["Two"] })], complete: false },
    { messages: [fromDms("3", "Three")], complete: true },
  ];
  for (const part of parts) socket.comes("conversation", part, () => acknowledged.push("part"));
  socket.comes("conversationMessage", fromDms("3", "Three"), () => acknowledged.push("entry"));
  socket.comes("conversationMessage", fromDms("4", "Four"), () => acknowledged.push("entry"));

  assert.deepEqual(texts(client), ["One", "Two sent", "Three", "Four"]);
  assert.deepEqual(acknowledged, ["part", "part", "entry", "entry"]);
  assert.deepEqual(of("history").map(({ entries, complete }) => [entries.length, complete]), [[2, false], [1, true]]);
  assert.deepEqual(of("entry").map(({ cursor }) => cursor), ["4"]);
  socket.dies();
  socket.connect();
  await settled();
  assert.deepEqual(socket.auth.conversation, { after: "4" });
});

test("what this page said is not shown twice when the conversation brings it, and takes its place there", async () => {
  const { client, socket, of } = await joined();
  client.send({ text: "Mine" });
  const mine = socket.sent.at(-1).data;
  socket.comes("conversationMessage", fromDms("1", "Said before it came there"));
  assert.deepEqual(texts(client), ["Said before it came there", "Mine pending"]);
  socket.comes("conversationMessage", fromCustomer("2", mine, "pending"));
  socket.comes("conversationMessage", fromDms("3", "Said after"));
  assert.deepEqual(texts(client), ["Said before it came there", "Mine pending", "Said after"]);
  socket.comes("messageStatus", { message_id: mine.message_id, status: "delayed" });
  assert.deepEqual(texts(client)[1], "Mine delayed");
  socket.comes("messageStatus", { message_id: mine.message_id, status: "sent", dms_status: 200 });
  assert.deepEqual(texts(client)[1], "Mine sent");
  assert.equal(of("entry").length, 3);
  assert.equal(new Set(client.entries.map(({ key }) => key)).size, 3);
});

test("the status of what another tab said changes too", async () => {
  const { client, socket } = await joined();
  socket.comes("conversationMessage", fromCustomer("1", { type: "text", message_id: "theirs", text: ["Theirs"] }, "pending"));
  socket.comes("messageStatus", { message_id: "theirs", status: "failed", error: "DMS answered 400" });
  assert.deepEqual(texts(client), ["Theirs failed"]);
});

test("what another program says twice under one id is two entries", async () => {
  const { client, socket } = await joined();
  for (const [cursor, text] of [["1", "a"], ["2", "b"]]) {
    socket.comes("conversationMessage", fromCustomer(cursor, { type: "text", message_id: 1, text: [text] }));
  }
  assert.deepEqual(texts(client), ["a sent", "b sent"]);
});

test("a failed message of the conversation stays as it is, and is sent again as another, once", async () => {
  const { client, socket } = await joined();
  socket.comes("conversationMessage", fromCustomer("1", { type: "text", message_id: "old", text: ["Again"] }, "failed"));
  client.resend("old");
  const again = socket.sent.at(-1).data;
  assert.notEqual(again.message_id, "old");
  assert.deepEqual(texts(client), ["Again failed", "Again pending"]);
  assert.equal(client.entries[0].resentAs, again.message_id);
  assert.throws(() => client.resend("old"), RangeError);
});

test("a hook that lets nobody read says why, and messages come as they did", async () => {
  const { client, socket, of } = await joined();
  socket.comes("conversation", { error: "only with a token" });
  socket.comes("serverMessage", fromDms("1", "Hi").payload, () => {});
  assert.deepEqual(of("history"), [{ entries: [], complete: true, error: "only with a token" }]);
  assert.deepEqual(texts(client), ["Hi"]);
});

test("a repeat is acknowledged and shown once; the same id with other words is another message", async () => {
  const { client, socket } = await joined();
  let acknowledged = 0;
  const { payload } = fromDms("1", "Hi");
  for (const said of [payload, payload, { ...payload, text: ["Ho"] }]) socket.comes("serverMessage", said, () => acknowledged++);
  socket.comes("conversationMessage", { ...fromDms("1", "Hi"), payload });
  assert.deepEqual(texts(client), ["Hi", "Ho"]);
  assert.equal(acknowledged, 3);
});

test("nonsense from outside changes nothing", async () => {
  const { client, socket } = await joined();
  for (const nonsense of [undefined, null, 7, "text", [], {}, { messages: 7 }, { messages: [null, {}, { payload: 3 }, { payload: {} }] }]) {
    for (const event of ["serverMessage", "conversation", "conversationMessage", "messageStatus"]) {
      if (event !== "serverMessage" || !nonsense || Array.isArray(nonsense)) socket.comes(event, nonsense);
    }
    socket.comes("serverError", nonsense, nonsense);
    socket.comes("messageStatus", { message_id: "of nobody", status: nonsense });
  }
  assert.deepEqual(client.entries, []);
  const outcome = client.send({ text: "Hello" });
  socket.sent.at(-1).answer(null, "what is this?");
  assert.equal((await outcome).status, "unknown");
});

test("a message whose outcome did not come is repeated as it was, in order, and its late answers count once", async () => {
  const { client, socket } = await joined();
  const outcomes = [client.send({ text: "One" }), client.send({ text: "Two" })];
  const first = [...socket.sent];
  socket.dies();
  client.send({ text: "Three, without a connection" });
  assert.equal(socket.sent.length, 2);
  socket.connect();
  socket.joins();
  assert.deepEqual(socket.sent.slice(2, 4).map(({ data }) => data), first.map(({ data }) => data));
  assert.equal(socket.sent.length, 5);
  first[0].answer(null, { status: "failed", error: "an answer on the old connection" });
  socket.sent[2].answer(null, { status: "sent", dms_status: 200 });
  socket.sent[3].answer(null, { status: "failed", error: "DMS did not answer in time; it may have the message" });
  assert.deepEqual((await Promise.all(outcomes)).map(({ status }) => status), ["sent", "unknown"]);
  assert.deepEqual(texts(client).slice(0, 2), ["One sent", "Two unknown"]);
});

test("an acknowledgement that does not come in time is asked for again on the same connection", async () => {
  const { client, socket } = await joined();
  client.send({ text: "One" });
  socket.sent[0].answer(new Error("operation has timed out"));
  assert.equal(socket.sent.length, 2);
  assert.deepEqual(socket.sent[1].data, socket.sent[0].data);
});

test("a hook that is busy is asked again a little later, a few times", async () => {
  const { client, socket } = await joined();
  const outcome = client.send({ text: "One" });
  for (let times = 0; times < 6; times++) {
    assert.equal(socket.sent.length, times + 1);
    socket.sent.at(-1).answer(null, { status: "rejected", error: "too many messages: at most 5 a second, more in bursts" });
    mock.timers.tick(5000);
  }
  assert.equal((await outcome).status, "rejected");
  assert.deepEqual(texts(client), ["One rejected"]);
});

test("after the ten minutes in which a repeat does no harm it is left to the person", async () => {
  const storage = new MemoryStorage();
  const { client, socket } = await joined({ storage });
  client.send({ text: "On its way" });
  socket.dies();
  const never = client.send({ text: "Never sent" });
  mock.timers.tick(601_000);
  assert.deepEqual(texts(client), ["On its way unknown", "Never sent failed"]);
  assert.match((await never).error, /send it again/);
  assert.equal(storage.size, 0);
  socket.connect();
  socket.joins();
  assert.equal(socket.sent.length, 1);
  client.resend((await never).message_id);
  assert.deepEqual(texts(client), ["On its way unknown", "Never sent pending"]);
});

test("a message that waits at the hook is not given up while the connection lives", async () => {
  const { client, socket } = await joined();
  const outcome = client.send({ text: "Slowly" });
  socket.comes("messageStatus", { ...socket.sent[0].data, status: "delayed" });
  mock.timers.tick(1_200_000);
  assert.deepEqual(texts(client), ["Slowly delayed"]);
  socket.sent[0].answer(null, { status: "sent" });
  assert.equal((await outcome).status, "sent");
});

test("a long message that breaks the connection each time is given up, and the others go on", async () => {
  const { client, socket } = await joined();
  const outcome = client.send({ text: "x".repeat(20_000) });
  client.send({ text: "Short" });
  for (let times = 0; times < 7; times++) {
    socket.dies();
    socket.connect();
    socket.joins();
  }
  assert.match((await outcome).error, /too long/);
  assert.deepEqual(texts(client).at(-1), "Short pending");
});

test("what the last page left is shown without a connection, and sent as soon as there is one", async () => {
  const storage = new MemoryStorage();
  const first = open({ storage });
  await first.client.connect();
  first.client.send({ text: "Written offline" });
  first.client.close();
  const second = open({ storage });
  await second.client.connect();
  assert.deepEqual(texts(second.client), ["Written offline pending"]);
  await settled();
  second.socket.joins();
  assert.equal(second.socket.sent.length, 1);
});

test("without locks, a tab's messages are left to it as long as it lives", async () => {
  const storage = new MemoryStorage();
  const first = await joined({ storage });
  first.socket.dies();
  first.client.send({ text: "Mine" });
  const second = await joined({ storage });
  mock.timers.tick(300_000);
  assert.deepEqual(texts(second.client), []);
  first.client.close();
  mock.timers.tick(5_000);
  assert.deepEqual(texts(second.client), ["Mine pending"]);
  assert.deepEqual(second.socket.sent.map(({ data }) => data.text), [["Mine"]]);
  second.socket.sent[0].answer(null, { status: "sent" });
  assert.equal(storage.size, 0);
});

test("with locks, a tab's messages are taken over as soon as it is gone, whatever it left", async () => {
  const locks = new Locks();
  Object.defineProperty(globalThis, "navigator", { value: { locks }, configurable: true });
  const storage = new MemoryStorage();
  const first = await joined({ storage });
  first.socket.dies();
  first.client.send({ text: "Mine" });
  const second = await joined({ storage });
  mock.timers.tick(600_000 - 5_000 - 1);
  await settled();
  assert.deepEqual(texts(second.client), []);
  const [key] = storage.keys();
  const left = storage.get(key);
  first.client.close();
  storage.set(key, left);
  await settled();
  mock.timers.tick(5_000);
  await settled();
  assert.deepEqual(texts(second.client), ["Mine pending"]);
});

test("nobody sends what another customer left behind, nor is kept up by a storage that fails", async () => {
  const storage = new MemoryStorage();
  const first = await joined({ storage });
  first.client.send({ text: "Of Ada" });
  first.client.close();
  const other = await joined({ storage, customerId: "ada 2" });
  mock.timers.tick(300_000);
  assert.deepEqual(texts(other.client), []);
  other.client.send({ text: "Of Ada 2" });
  other.client.close();
  const rest = await joined({ storage });
  assert.deepEqual(texts(rest.client), ["Of Ada pending"]);
  rest.client.close();

  const token = (sub) => `x.${btoa(JSON.stringify({ sub }))}.x`;
  const one = await joined({ storage, customerId: undefined, token: token("bob") });
  one.client.send({ text: "Of Bob" });
  assert.equal(one.socket.sent[0].data.customer_id, undefined);
  one.client.close();
  const another = await joined({ storage, customerId: undefined, token: token("eve") });
  assert.deepEqual(texts(another.client), []);

  for (const [key] of storage) storage.set(key, "{rubbish");
  const again = await joined({ storage });
  mock.timers.tick(300_000);
  assert.equal(again.client.state, "connected");
  const full = new MemoryStorage();
  full.setItem = () => {
    throw new Error("the quota is exceeded");
  };
  const poor = await joined({ storage: full });
  poor.client.send({ text: "Hello" });
  assert.equal(poor.socket.sent.length, 1);
  assert.match(poor.of("error")[0].message, /quota/);
});

test("a refusal ends the tries, unless a function may bring a better token", async () => {
  const refused = async (options) => {
    const opened = open(options);
    await opened.client.connect();
    await settled();
    opened.socket.active = false;
    opened.socket.comes("connect_error", new Error("the token has expired"));
    opened.socket.auth = undefined;
    mock.timers.tick(1_000);
    await settled();
    return opened;
  };
  const fixed = await refused({ token: "t" });
  assert.deepEqual([fixed.client.state, fixed.client.reason], ["refused", "the token has expired"]);
  assert.equal(fixed.socket.auth, undefined);
  await fixed.client.connect();
  await settled();
  assert.equal(fixed.socket.auth.token, "t");
  let asked = 0;
  const fresh = await refused({ token: async () => `t${++asked}` });
  assert.equal(fresh.socket.auth.token, "t2");
});

test("a token function that fails, and one that is late, are no end", async () => {
  let give;
  const { client, socket } = open({ token: () => new Promise((resolve, reject) => (give = { resolve, reject })) });
  await client.connect();
  const late = give;
  socket.connect();
  late.resolve("late");
  await settled();
  assert.equal(socket.auth, undefined);
  give.reject(new Error("the login is over"));
  await settled();
  assert.deepEqual([client.state, client.reason], ["refused", "the login is over"]);
  mock.timers.tick(1_000);
  give.resolve("good");
  await settled();
  assert.equal(socket.auth.token, "good");
});

test("it says how long ago the customer spoke, and which connection is meant", async () => {
  const { client, socket } = await joined({ connection: "brand", conversation: false });
  client.send({ text: "Hello" });
  mock.timers.tick(30_000);
  socket.dies();
  socket.connect();
  await settled();
  assert.deepEqual(socket.auth, { customer_id: "ada", connection: "brand", spoke_seconds_ago: 30 });
});

test("what was said before can be said anew as it was", async () => {
  const { client, socket } = await joined({ customerName: "Ada" });
  client.send({ text: "Hello", postback: "hello" });
  const { message_id, ...payload } = socket.sent[0].data;
  client.send(payload);
  const again = socket.sent[1].data;
  assert.notEqual(again.message_id, message_id);
  assert.deepEqual({ ...again, message_id }, { ...payload, message_id });
});

test("typing is told once in three seconds, and only while connected", async () => {
  const { client, socket } = await joined();
  for (const seconds of [0, 1, 2, 3]) {
    client.typing();
    mock.timers.tick(1_000);
    assert.equal(socket.sent.length, seconds < 3 ? 1 : 2);
  }
  socket.dies();
  mock.timers.tick(9_000);
  client.typing();
  assert.equal(socket.sent.length, 2);
});

test("a file is put where the hook says, and what goes wrong is said in words", async () => {
  mock.timers.reset();
  const { client, socket } = await joined();
  const asked = client.upload(new Blob(["bytes"], { type: "text/plain" }), { name: "a.txt" });
  assert.deepEqual(socket.sent[0].data, { customer_id: "ada", name: "a.txt", type: "text/plain", size: 5 });
  socket.sent[0].answer(null, { error: "only pictures" });
  await assert.rejects(asked, { message: "only pictures" });

  const put = mock.method(globalThis, "fetch", async () => new Response('{"error": "too large"}', { status: 413 }));
  const upload = () => {
    const done = client.upload(new Blob(["bytes"]));
    const target = { url: "/files/x", method: "PUT", headers: { "X-Proof": "1" } };
    socket.sent.at(-1).answer(null, { upload: target, attachment: { url: "https://hook.example/files/x" } });
    return done;
  };
  await assert.rejects(upload(), { message: "too large" });
  put.mock.mockImplementation(async () => new Response(null, { status: 204 }));
  assert.deepEqual(await upload(), { url: "https://hook.example/files/x" });
  assert.equal(String(put.mock.calls[1].arguments[0]), "https://hook.example/files/x");
  assert.equal(put.mock.calls[1].arguments[1].headers["X-Proof"], "1");
  const stop = new AbortController();
  const stopped = client.upload(new Blob(["bytes"]), { signal: stop.signal });
  stop.abort();
  await assert.rejects(stopped, { name: "AbortError" });
  socket.dies();
  await assert.rejects(client.upload(new Blob([])), { message: "not connected" });
  put.mock.restore();
});
