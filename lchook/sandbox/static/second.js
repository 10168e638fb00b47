// The second brand's page: logs in with the sandbox's identity provider, and brings a fresh token with each connection.

/* global io */

const byId = (id) => document.getElementById(id);
const API = new URL("../", import.meta.url);
let socket = null;

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

function add(who, text) {
  const line = document.createElement("li");
  line.className = who;
  line.textContent = text;
  byId("log").append(line);
  line.scrollIntoView({ block: "nearest" });
  return line;
}

function canSpeak(can) {
  byId("text").disabled = byId("send").disabled = !can;
}

function inWords({ type, text, title, items, label, csr_name: name }) {
  const said = [text].flat().filter(Boolean).join("\n") || title || label || "";
  const choices = type === "menu" ? items.map((item) => `  ${item.text}`).join("\n") : "";
  return [`${name ?? "Pega"} (${type}): ${said}`, choices].filter(Boolean).join("\n");
}

function logOut() {
  socket?.disconnect();
  socket = null;
  canSpeak(false);
  byId("log-out").disabled = true;
  show("Not logged in.");
}

byId("log-in").addEventListener("submit", (event) => {
  event.preventDefault();
  logOut();
  byId("log").replaceChildren();
  const who = { customer_id: byId("customer-id").value, customer_name: byId("customer-name").value };
  const { connection } = document.body.dataset;
  socket = io(window.location.origin, {
    forceNew: true,
    // Asked for each connection: a token is short-lived.
    auth: (use) => {
      post("log-in", who).then(({ token }) => use({ connection, token }), (error) => show(`No token: ${error.message}`));
    },
  });
  byId("log-out").disabled = false;
  socket.on("connect", () => {
    canSpeak(true);
    show(`Logged in as ${who.customer_name} (${who.customer_id}); the hook believes the identity provider.`);
  });
  socket.on("connect_error", (error) => {
    canSpeak(false);
    show(`Refused: ${error.message}`);
  });
  socket.on("disconnect", () => canSpeak(false));
  socket.on("serverMessage", (payload, acknowledge) => {
    acknowledge?.();
    if (payload.type !== "typing_indicator") add("dms", inWords(payload));
  });
});

byId("log-out").addEventListener("click", logOut);

byId("rotate").addEventListener("click", async () => {
  const { key } = await post("rotate");
  show(`From now on ${key} signs. Log in again: the hook notices by itself.`);
});

byId("say").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = byId("text").value;
  byId("text").value = "";
  const line = add("customer", text);
  // No customer_id and no name: the token says both.
  socket.emit("clientMessage", { type: "text", text: [text], message_id: crypto.randomUUID?.() ?? Date.now() }, (outcome) => {
    if (outcome?.status !== "sent") line.textContent += ` (${outcome?.status}: ${outcome?.error})`;
  });
});
