// The chat page, put together: who chats, the composer, and what belongs to the page as a whole. The rest has modules
// of its own: conversation (state), connection (Socket.IO), view and messages (the log), wire and tools (beside it).

import { Composer } from "./composer.js";
import { Connection } from "./connection.js";
import { Conversation, newMessageId, readStored, writeStored } from "./conversation.js";
import { setUpCustomers } from "./customers.js";
import { byId } from "../shared/dom.js";
import { speaker } from "./messages.js";
import { setUpFaults, setUpSay } from "./tools.js";
import { ConversationView } from "./view.js";
import { Wire } from "./wire.js";

// This file is served below the sandbox's own address.
const API = new URL("../", import.meta.url);
const DEFAULT_CONFIG = { hook: "", customers: [{ customer_id: "", customer_name: "Unauthenticated person" }] };

const wire = new Wire();
const view = new ConversationView({
  choose: (item, { text, payload, index }) => {
    if (!connection) return;
    showNotice("");
    const message = shaped({ type: "text", text: [String(payload)], postback: payload });
    deliver(connection.conversation.choose(item, index, message, text));
    composer.focus();
  },
  resend: (item) => {
    deliver(connection.conversation.resend(item));
    composer.focus();
  },
});
const composer = new Composer({
  send: (text, url) => send({ type: "text", text: [text], ...(url ? { attachments: [{ url }] } : {}) }),
  typing: () => connection?.typing(),
});
let connection = null;

/** Sends a message of the current customer. */
function send(fields) {
  if (!connection) return;
  showNotice("");
  deliver(connection.conversation.say(shaped(fields)));
}

/** A message as LCC shapes it. */
function shaped({ type, ...rest }) {
  return { type, ...connection.conversation.customer, message_id: newMessageId(), ...rest };
}

/** An item of the conversation, or null where there was nothing to say. */
function deliver(item) {
  if (item) connection.deliver(item);
}

/** Chats as this customer from now on, on a connection of its own. */
function chatAs(hook, customer) {
  connection?.close();
  const conversation = new Conversation(customer);
  const isCurrent = () => connection === null || connection.conversation === conversation;
  byId("chat-title").textContent = customer.customer_name || String(customer.customer_id) || "Somebody without a name";
  conversation.onchange = (what, item) => {
    if (!isCurrent()) return;
    view.changed(what, item);
    showEnd(conversation);
  };
  showNotice("");
  wire.customerId = customer.customer_id;
  view.show(conversation);
  showEnd(conversation);
  connection = null;
  connection = new Connection(hook, sessionId(), conversation, wire, {
    state: (state) => isCurrent() && showState(state),
    arrived: (payload) => isCurrent() && arrived(payload),
    serverError: (text, detail) => isCurrent() && showNotice(serverErrorText(text, detail)),
  });
}

function arrived(payload) {
  if (payload?.type === "typing_indicator") view.typing(speaker(payload) || lastSpeaker());
  else if (document.body.dataset.view === "wire") showUnread(Number(byId("unread").textContent) + 1);
}

/** Who spoke last on the other side: a typing_indicator does not say who types. */
function lastSpeaker() {
  return speaker(connection?.conversation.items.findLast((item) => item.kind === "in" && speaker(item.payload))?.payload);
}

function showState({ state, text }) {
  byId("connection").dataset.state = state;
  byId("connection-text").textContent = text;
  byId("reconnect").hidden = state !== "disconnected";
}

function showEnd(conversation) {
  const { endedBy } = conversation;
  if (byId("ended").hidden === (endedBy === null)) return;
  const hadFocus = byId("composer").contains(document.activeElement) || document.activeElement === byId("end");
  byId("ended-text").textContent = endedBy === "customer" ? "You ended this conversation." : "This conversation has ended.";
  byId("ended").hidden = endedBy === null;
  byId("composer").hidden = endedBy !== null;
  byId("end").hidden = endedBy !== null;
  if (endedBy !== null && hadFocus) byId("start-new").focus();
}

function showNotice(text) {
  byId("notice-text").textContent = text;
  byId("notice").hidden = text === "";
}

function serverErrorText(text, detail) {
  const more = typeof detail === "string" ? detail : detail?.error;
  return [text, more].filter((part) => typeof part === "string" && part).join(": ") || "The hook reported an error.";
}

function showUnread(count) {
  byId("unread").textContent = count ? String(count) : "";
  byId("unread").hidden = count === 0;
}

function showView(name) {
  document.body.dataset.view = name;
  for (const button of document.querySelectorAll("[data-view-choice]")) {
    button.setAttribute("aria-pressed", String(button.dataset.viewChoice === name));
  }
  if (name === "chat") showUnread(0);
}

/** A random id of this tab, by which LCH may know a person without a name again. */
function sessionId() {
  let session = readStored("lch.session");
  if (typeof session !== "string") {
    session = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
    writeStored("lch.session", session);
  }
  return session;
}

/** The sandbox's config.json, or null where there is none. */
async function readConfig() {
  try {
    const answer = await fetch(new URL("config.json", API));
    if (answer.ok) return { ...DEFAULT_CONFIG, ...(await answer.json()) };
  } catch {
    // The same as an answer that is none.
  }
  return null;
}

document.addEventListener("keydown", (event) => {
  // A key that is held presses a button once, and not what has taken its place since.
  if (event.repeat && event.key === "Enter" && event.target.closest?.("button")) event.preventDefault();
});
for (const button of document.querySelectorAll("[data-view-choice]")) {
  button.addEventListener("click", () => showView(button.dataset.viewChoice));
}
byId("notice-close").addEventListener("click", () => {
  showNotice("");
  composer.focus();
});
byId("reconnect").addEventListener("click", () => connection.reconnect());
byId("end").addEventListener("click", () => send({ type: "customer_end_session", text: [null] }));
byId("start-new").addEventListener("click", () => {
  connection.conversation.clear();
  composer.focus();
});

if (typeof window.io !== "function") {
  showState({ state: "disconnected", text: "socket.io-client could not be loaded" });
  byId("reconnect").hidden = true;
  showNotice("socket.io-client could not be loaded: neither a copy from npm nor its CDN is there. Run npm install, then reload.");
} else {
  const read = await readConfig();
  const config = read ?? DEFAULT_CONFIG;
  setUpCustomers(config.customers, (customer) => chatAs(config.hook, customer));
  if (!read) showNotice("The sandbox's settings could not be read: the page chats with its own address.");
  setUpSay(API, () => connection.conversation.answeredAs);
  wire.onpost = setUpFaults(API);
  wire.follow(new URL("wire?after=0", API));
}
