// The second brand's page: logs in with the sandbox's identity provider. The chat is the element of client/lch-chat.js, which
// asks for a fresh token for each connection.

import { LchClient } from "/client/lch-client.js";
import "/client/lch-chat.js";

const byId = (id) => document.getElementById(id);
const API = new URL("../", import.meta.url);
let client = null;

async function post(path, body = {}) {
  const headers = { "Content-Type": "application/json" };
  const answer = await fetch(new URL(path, API), { method: "POST", headers, body: JSON.stringify(body) });
  const said = await answer.json();
  if (!answer.ok) throw new Error(said.error);
  return said;
}

function show(state) {
  byId("state").textContent = state;
}

function logOut() {
  client?.close();
  client = null;
  byId("chat").replaceChildren();
  byId("log-out").disabled = true;
  show("Not logged in.");
}

byId("log-in").addEventListener("submit", (event) => {
  event.preventDefault();
  logOut();
  const who = { customer_id: byId("customer-id").value, customer_name: byId("customer-name").value };
  // No customer_id and no name: the token says both.
  client = new LchClient({
    url: window.location.origin,
    connection: document.body.dataset.connection,
    token: async () => (await post("log-in", who)).token,
  });
  client.addEventListener("connection", ({ detail: { state, reason } }) => {
    if (state === "connected") show(`Logged in as ${who.customer_name} (${who.customer_id}); the hook believes the identity provider.`);
    else if (reason) show(`Not connected: ${reason}`);
  });
  const chat = document.createElement("lch-chat");
  chat.setAttribute("inline", "");
  chat.client = client;
  byId("chat").replaceChildren(chat);
  byId("log-out").disabled = false;
  client.connect();
});

byId("log-out").addEventListener("click", logOut);

byId("rotate").addEventListener("click", async () => {
  const { key } = await post("rotate");
  show(`From now on ${key} signs. Log in again: the hook notices by itself.`);
});
