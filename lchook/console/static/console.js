// The console: a Socket.IO client of the hook's namespace /console. It gets `state` once and `news` from then on.

import { byId } from "../shared/dom.js";
import { Events } from "./events.js";
import { Figures, showWaiting } from "./figures.js";
import { Plots } from "./plots.js";
import { Timeline } from "./timeline.js";

const STORED = "lch.console.token";
const ANSWER_MS = 5000;
const AGAIN_MS = 1000;

const figures = new Figures(byId("figures"));
const plots = new Plots(byId("plots"));
const timeline = new Timeline({ ask });
const events = new Events({ ask, open: (customer) => timeline.open(customer) });
let socket = null;

/** Opens a connection with this token, in place of any other. */
function connect(token) {
  socket?.disconnect();
  showState("connecting", "Connecting…");
  socket = window.io("/console", { auth: { token }, forceNew: true });
  const own = socket;
  // What comes of a connection that was replaced no longer counts.
  const on = (name, listener) => own.on(name, (...args) => own === socket && listener(...args));
  on("connect", () => {
    store(token);
    showDashboard(true);
    showState("connected", "Live");
  });
  on("disconnect", () => own.active && showState("reconnecting", "Connection lost, trying again…"));
  on("connect_error", (error) => {
    if (own.active) {
      showState("reconnecting", "No connection, trying again…");
      return;
    }
    lock(error.message);
  });
  on("state", (state) => {
    byId("instance").textContent = state.about.instance;
    byId("text-shown").textContent = state.about.text ? "texts are shown" : "texts are masked";
    byId("text-shown").classList.toggle("is-warning", state.about.text);
    plots.set(state.samples);
    show(state);
    events.set(state.events, state.number);
    timeline.look();
  });
  on("news", (news) => {
    if (news.samples) plots.add(news.samples);
    show(news);
    if (news.events) {
      events.add(news.events, news.missing);
      timeline.add(news.events, news.missing);
    }
  });
}

function show({ now, waiting }) {
  if (now) figures.now(now);
  if (waiting) {
    figures.waiting(waiting);
    showWaiting(waiting, (customer) => timeline.open(customer));
  }
}

/** The latest events that are wanted, from the hook: {events, complete, number}, or null where it does not answer. */
async function ask(filter) {
  for (;;) {
    const asked = socket;
    try {
      const answer = await asked.timeout(ANSWER_MS).emitWithAck("events", filter);
      if (!answer.error) return answer;
    } catch {
      return null;
    }
    // Too many questions at once.
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    if (asked !== socket) return null;
  }
}

/** Forgets the token and shows nothing any more. */
function lock(reason = "") {
  const old = socket;
  socket = null;
  old?.disconnect();
  store(null);
  if (timeline.customer !== null) timeline.close();
  showDashboard(false);
  showState("disconnected", "Not connected");
  byId("login-error").textContent = reason;
  byId("token").focus();
}

function showDashboard(isOpen) {
  byId("dashboard").hidden = !isOpen;
  byId("login").hidden = isOpen;
  byId("lock").hidden = !isOpen;
  byId("about").hidden = !isOpen;
  if (isOpen) byId("token").value = "";
}

function showState(state, text) {
  byId("connection").dataset.state = state;
  byId("connection-text").textContent = text;
}

/** Keeps the token for this tab, until it is closed or locked. */
function store(token) {
  try {
    if (token === null) sessionStorage.removeItem(STORED);
    else sessionStorage.setItem(STORED, token);
  } catch {
    // Then a reload asks for it again.
  }
}

function stored() {
  try {
    return sessionStorage.getItem(STORED);
  } catch {
    return null;
  }
}

/** The token in the address (#token=…), which is taken out of it: addresses are seen, copied and remembered. */
function tokenInAddress() {
  const token = new URLSearchParams(window.location.hash.slice(1)).get("token");
  if (token !== null) history.replaceState(null, "", window.location.pathname);
  return token;
}

function start() {
  const token = tokenInAddress() ?? stored();
  if (token) connect(token);
  else lock();
}

byId("login").addEventListener("submit", (event) => {
  event.preventDefault();
  byId("login-error").textContent = "";
  connect(byId("token").value.trim());
});
byId("lock").addEventListener("click", () => lock());
window.addEventListener("hashchange", () => {
  const token = tokenInAddress();
  if (token) connect(token);
});

if (typeof window.io === "function") start();
else {
  showState("disconnected", "socket.io-client could not be loaded");
  byId("connection").role = "alert";
}
