// Drives client/lch-client.js by JSON lines: makes clients ("tabs") that share one storage, calls them, tells what they tell.
import { createInterface } from "node:readline";
import { io } from "socket.io-client";
import { LchClient } from "../../../client/lch-client.js";

const tell = (line) => console.log(JSON.stringify(line));

class MemoryStorage {
  #values = new Map();
  get length() {
    return this.#values.size;
  }
  key = (index) => [...this.#values.keys()][index] ?? null;
  getItem = (key) => this.#values.get(key) ?? null;
  setItem = (key, value) => this.#values.set(key, String(value));
  removeItem = (key) => this.#values.delete(key);
}

// What went over the wire, packet by packet, without Socket.IO's own: { to, event, args } and { to, acknowledges, args }.
const frames = [];

function recordingIo(url, options) {
  const socket = io(url, { ...options, reconnectionDelay: 100, reconnectionDelayMax: 300 });
  const asked = { client: new Map(), hook: new Map() };
  const record = (to, other, { type, id, data }) => {
    if (type === 0 && to === "hook") frames.push({ to, event: "connect", args: [structuredClone(data ?? {})] });
    if (type === 2) {
      const [event, ...args] = structuredClone(data);
      frames.push({ to, event, args });
      if (id !== undefined) asked[other].set(id, event);
    } else if (type === 3) frames.push({ to, acknowledges: asked[to].get(id), args: structuredClone(data) });
  };
  const send = socket.packet;
  socket.packet = function (packet) {
    record("hook", "client", JSON.parse(JSON.stringify(packet)));
    return send.call(this, packet);
  };
  socket.io.on("packet", (packet) => record("client", "hook", packet));
  return socket;
}

const storage = new MemoryStorage();
const tabs = new Map();
let tokens = [];

const does = {
  open({ tab, options, events }) {
    const own = { ...options, io: recordingIo, storage: options.storage === null ? null : storage };
    if (options.token === "function") {
      own.token = () => {
        tell({ tab, event: "asked for a token" });
        if (!tokens.length) throw new Error("the login is over");
        return tokens.length > 1 ? tokens.shift() : tokens[0];
      };
    }
    const client = new LchClient(own);
    for (const event of events) client.addEventListener(event, ({ detail }) => tell({ tab, event, detail: structuredClone(detail) }));
    tabs.set(tab, client);
    return client.connect();
  },
  tokens: (line) => (tokens = line.tokens),
  // As a page that is gone: nothing of it runs any more, and nothing was told to anybody.
  crash({ tab }) {
    tabs.get(tab).close();
    tabs.delete(tab);
  },
  stored: () => Object.fromEntries(Array.from(storage, (_, index) => [storage.key(index), storage.getItem(storage.key(index))])),
  store: ({ key, value }) => storage.setItem(key, value),
  entries: ({ tab }) => tabs.get(tab).entries,
  state: ({ tab }) => [tabs.get(tab).state, tabs.get(tab).reason],
  call: ({ tab, method, argument }) => tabs.get(tab)[method](argument),
  frames: () => frames,
  upload: ({ tab, name, type, text }) => tabs.get(tab).upload(new Blob([text], { type }), { name, onProgress: (share) => tell({ tab, event: "progress", detail: share }) }),
};

createInterface({ input: process.stdin })
  .on("line", async (text) => {
    const line = JSON.parse(text);
    try {
      tell({ number: line.number, result: (await does[line.does](line)) ?? null });
    } catch (error) {
      tell({ number: line.number, error: `${error.name}: ${error.message}` });
    }
  })
  .on("close", () => process.exit());
