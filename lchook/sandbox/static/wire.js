// What went over the wire, beside the chat: every Socket.IO event as this page saw it, and, from the sandbox's feed,
// every post to DMS and every webhook. Bounded, newest last, sorted by time (the feed comes a moment behind).

import { asJson, byId, element, stickToEnd } from "../shared/dom.js";

const MAX_ROWS = 300;
// More than the sandbox remembers, and so more than it ever repeats.
const MAX_SEEN = 5_000;
const FEED_RETRY_MS = 2_000;

const ARROWS = { to_dms: "→", to_customer: "←", connection: "·" };

export class Wire {
  constructor() {
    this._log = byId("wire-log");
    this._rows = byId("wire-rows");
    this._seen = new Set();
    // Whose chat this is: rows name others only.
    this.customerId = "";
    this.onpost = () => {};
    this._end = stickToEnd(this._log, this._rows);
    this._rows.addEventListener("keydown", (event) => this._move(event));
    this._rows.addEventListener("focusin", ({ target }) => target.matches("summary") && this._makeTabStop(target));
    byId("wire-clear").addEventListener("click", () => this._rows.replaceChildren());
    const choices = document.querySelectorAll("[data-filter-choice]");
    for (const button of choices) {
      button.addEventListener("click", () => {
        this._log.dataset.filter = button.dataset.filterChoice;
        // The stop for Tab must be one that is shown.
        const shown = [...this._rows.querySelectorAll("summary")].findLast((summary) => summary.offsetParent !== null);
        if (shown) this._makeTabStop(shown);
        for (const other of choices) other.setAttribute("aria-pressed", String(other === button));
      });
    }
  }

  /** `io` of socket.io-client, with all that goes over its sockets shown. */
  watched(io) {
    return (...args) => {
      const socket = io(...args);
      this._watch(socket);
      return socket;
    };
  }

  _watch(socket) {
    const emit = socket.emit.bind(socket);
    socket.emit = (name, ...args) => {
      const acknowledge = typeof args.at(-1) === "function" ? args.pop() : null;
      const canFail = socket.flags.timeout !== undefined;
      const row = this._event("to_dms", name, args);
      const answered = (...answer) => {
        row.answered(canFail && answer[0] ? { error: answer[0].message } : { acknowledgement: answer.slice(canFail ? 1 : 0) });
        acknowledge(...answer);
      };
      return emit(name, ...args, ...(acknowledge ? [answered] : []));
    };
    socket.onAny((name, ...args) => {
      const asks = typeof args.at(-1) === "function" && args.pop();
      this._event("to_customer", name, args).received(asks ? "acknowledged" : "received");
    });
    socket.on("connect", () => {
      const { engine } = socket.io;
      this._connection(`connected, ${engine.transport.name}`, { id: socket.id });
      engine.once("upgrade", (transport) => this._connection(`upgraded to ${transport.name}`, { id: socket.id }));
    });
    socket.on("disconnect", (reason) => {
      this._connection(`disconnected: ${reason}`, { reason }, reason === "io client disconnect" ? "fine" : "failed");
    });
    socket.on("connect_error", (error) => {
      this._connection(`connect_error: ${error.message}`, { message: error.message, data: error.data ?? null }, "failed");
    });
  }

  /** A Socket.IO event. Returns {answered(outcome), received(text)} for what becomes of it. */
  _event(direction, name, args) {
    const started = performance.now();
    const facts = { event: name, arguments: args };
    const subject = args[0]?.payload ?? args[0];
    const row = this._row({ kind: "event", at: Date.now(), direction, name, type: subject?.type ?? subject?.status, customer_id: subject?.customer_id, facts });
    return {
      answered: (outcome) => {
        Object.assign(facts, outcome);
        const status = outcome.acknowledgement?.[0]?.status;
        const bad = "error" in outcome || status === "failed" || status === "rejected";
        const ignored = outcome.acknowledgement?.[0]?.ignored;
        const said = "error" in outcome ? "no ack" : status ? `ack ${status}` : "ack";
        const text = Array.isArray(ignored) && ignored.length ? `${said}, ignored: ${ignored.join(", ")}` : said;
        row.result(text, performance.now() - started, bad);
      },
      received: (text) => row.result(text, null, false),
    };
  }

  /** Something about the connection itself. */
  _connection(text, facts, outcome = "fine") {
    const row = this._row({ kind: "event", at: Date.now(), direction: "connection", name: text, facts });
    row.result("", null, outcome === "failed");
  }

  /** Follows the sandbox's feed, for as long as the page is open. */
  follow(address) {
    const feed = new EventSource(address);
    feed.onopen = () => this._notice("");
    feed.onmessage = (message) => this._post(JSON.parse(message.data));
    feed.onerror = () => {
      // Not EventSource's own retry: it would go on from a number that a restarted server has not reached again.
      feed.close();
      this._notice("Events only: posts and webhooks cannot be shown at the moment, the sandbox's feed does not answer.");
      setTimeout(() => this.follow(address), FEED_RETRY_MS);
    };
  }

  _post(entry) {
    const known = `${entry.seq}@${entry.at}`;
    if (this._seen.has(known)) return;
    this._seen.add(known);
    if (this._seen.size > MAX_SEEN) this._seen.delete(this._seen.values().next().value);
    const { direction, method, url, request, response, error, status } = entry;
    const kind = direction === "to_dms" ? "post" : "webhook";
    const facts = { [`${method} ${url}`]: { request, status, response, error } };
    const row = this._row({ kind, at: entry.at, direction, name: kind, type: entry.type, customer_id: entry.customer_id, facts });
    row.result(status === null ? "no answer" : String(status), entry.duration_ms, status === null || status >= 300);
    this.onpost(entry);
  }

  _row({ kind, at, direction, name, type, customer_id, facts }) {
    const result = element("span", { class: "wire-result" });
    const duration = element("span", { class: "wire-duration" });
    const json = element("pre", { class: "wire-json", tabindex: "0" });
    const row = element("details", { class: "wire-row", "data-kind": kind, "data-direction": direction, "data-at": String(at) },
      element("summary", { tabindex: "-1" },
        element("span", { class: "wire-time" }, preciseTime(at)),
        element("span", { class: "wire-direction" },
          element("span", { "aria-hidden": "true" }, `${ARROWS[direction]} `), direction),
        element("span", { class: "wire-what" }, element("span", { class: "wire-name" }, name), type && ` ${type}`),
        element("span", { class: "wire-customer" }, customer_id && String(customer_id) !== String(this.customerId) ? String(customer_id) : ""),
        result, duration),
      json);
    const write = () => row.open && (json.textContent = asJson(facts));
    row.firstElementChild.addEventListener("click", () => this._end.hold());
    row.addEventListener("toggle", () => {
      write();
      if (row.open && row.offsetHeight < this._log.clientHeight) row.scrollIntoView({ block: "nearest" });
      else if (row.open) row.scrollIntoView({ block: "start" });
    });
    this._insert(row, at);
    if (!this._rows.contains(document.activeElement)) this._makeTabStop(this._rows.lastElementChild.firstElementChild);
    return {
      result: (text, milliseconds, bad) => {
        result.textContent = bad && text ? `✗ ${text}` : text;
        duration.textContent = milliseconds === null ? "" : readableDuration(milliseconds);
        row.classList.toggle("wire-bad", bad);
        write();
      },
    };
  }

  _insert(row, at) {
    let after = this._rows.lastElementChild;
    while (after && Number(after.dataset.at) > at) after = after.previousElementSibling;
    if (after) after.after(row);
    else this._rows.prepend(row);
    while (this._rows.childElementCount > MAX_ROWS) this._rows.firstElementChild.remove();
  }

  /** Of hundreds of rows only one is a stop for Tab; arrow keys go on from there. */
  _makeTabStop(summary) {
    this._rows.querySelector('summary[tabindex="0"]')?.setAttribute("tabindex", "-1");
    summary.setAttribute("tabindex", "0");
  }

  _move(event) {
    if (!event.target.matches("summary")) return;
    const shown = [...this._rows.querySelectorAll("summary")].filter((summary) => summary.offsetParent !== null);
    const here = shown.indexOf(event.target);
    const there = { ArrowUp: here - 1, ArrowDown: here + 1, Home: 0, End: shown.length - 1 }[event.key];
    if (!shown[there]) return;
    event.preventDefault();
    shown[there].focus();
  }

  _notice(text) {
    const notice = byId("wire-notice");
    if (notice.textContent !== text) notice.textContent = text;
    notice.hidden = text === "";
  }
}

function preciseTime(milliseconds) {
  const time = new Date(milliseconds);
  const digits = (number, width) => String(Math.floor(number)).padStart(width, "0");
  return `${digits(time.getHours(), 2)}:${digits(time.getMinutes(), 2)}:${digits(time.getSeconds(), 2)}.${digits(time.getMilliseconds(), 3)}`;
}

function readableDuration(milliseconds) {
  if (milliseconds < 10) return `${milliseconds.toFixed(1)} ms`;
  return milliseconds < 1000 ? `${Math.round(milliseconds)} ms` : `${(milliseconds / 1000).toFixed(2)} s`;
}
