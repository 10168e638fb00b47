// The chat page, put together: who chats, the chat itself (the element of client/lch-chat.js), and what belongs to the page as
// a whole. What stands beside the chat has modules of its own: wire and tools.

import { LchClient } from "/client/lch-client.js";
import { setUpCustomers } from "./customers.js";
import { byId } from "../shared/dom.js";
import { setUpAttach, setUpFaults, setUpSay } from "./tools.js";
import { Wire } from "./wire.js";

// This file is served below the sandbox's own address.
const API = new URL("../", import.meta.url);
const DEFAULT_CONFIG = { hook: "", customers: [{ customer_id: "", customer_name: "Unauthenticated person" }] };

const wire = new Wire();
const chat = byId("chat");
// Who looks at a sandbox wants to know why.
chat.texts = { failed: "Not sent: {reason}" };
let client = null;
let customer = null;

/** Chats as this customer from now on, on a connection of its own. */
function chatAs(hook, who) {
  client?.close();
  customer = who;
  const { customer_id, customer_name } = who;
  wire.customerId = customer_id;
  showNotice("");
  chat.setAttribute("heading", customer_name || String(customer_id) || "Somebody without a name");
  chat.setAttribute("customer-id", customer_id);
  client = new LchClient({
    url: hook || window.location.origin,
    io: wire.watched(window.io),
    customerId: customer_id,
    customerName: customer_name,
  });
  client.addEventListener("entry", ({ detail }) => {
    if (detail.from === "dms" && document.body.dataset.view === "wire") showUnread(Number(byId("unread").textContent) + 1);
    else if (detail.from === "customer") showNotice("");
  });
  client.addEventListener("error", ({ detail }) => showNotice(detail.message));
  chat.client = client;
  client.connect();
}

/** The id under which LCH answers the customer: for a person without a name it is one that LCH chose. */
function answeredAs() {
  if (customer.customer_id !== "") return customer.customer_id;
  const isId = (id) => typeof id === "string" || typeof id === "number";
  return client.entries.findLast(({ from, payload }) => from === "dms" && isId(payload.customer_id))?.payload.customer_id ?? "";
}

function showNotice(text) {
  byId("notice-text").textContent = text;
  byId("notice").hidden = text === "";
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

for (const button of document.querySelectorAll("[data-view-choice]")) {
  button.addEventListener("click", () => showView(button.dataset.viewChoice));
}
byId("notice-close").addEventListener("click", () => {
  showNotice("");
  chat.focus();
});

if (typeof window.io !== "function") {
  showNotice("socket.io-client could not be loaded: neither a copy from npm nor its CDN is there. Run npm install, then reload.");
} else {
  const read = await readConfig();
  const config = read ?? DEFAULT_CONFIG;
  setUpCustomers(config.customers, (who) => chatAs(config.hook, who));
  // Only now: with no client of ours yet, the element would connect on its own, to this page's address.
  await import("/client/lch-chat.js");
  if (!read) showNotice("The sandbox's settings could not be read: the page chats with its own address.");
  setUpSay(API, answeredAs);
  setUpAttach((url) => client.send({ attachments: [{ url }] }));
  wire.onpost = setUpFaults(API);
  wire.follow(new URL("wire?after=0", API));
}
