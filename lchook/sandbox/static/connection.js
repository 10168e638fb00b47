// The Socket.IO connection of one customer: sends what waits, in order, until LCH has said what became of it, and
// acknowledges what comes. Knows nothing of the screen.

import { NO_ANSWER, newMessageId } from "./conversation.js";

/* global io */

// LCH tries for up to 30 s before it says that DMS cannot be reached, and others' messages may be ahead in the queue.
// A message waits for DMS for 5 minutes (OUTBOX_TTL), and a post takes its time.
const ANSWER_WITHIN_MS = 330_000;
const TYPING_EVERY_MS = 3_000;

export class Connection {
  /**
   * @param hook "" for the page's own address
   * @param told {state({state, text}), arrived(payload), serverError(text, detail)}
   */
  constructor(hook, session, conversation, wire, told) {
    this.conversation = conversation;
    this._wire = wire;
    this._told = told;
    this._attempts = new Map();
    this._typedAt = 0;
    const { customer_id } = conversation.customer;
    // forceNew: a connection of its own, so that closing it closes it, whoever comes next.
    this.socket = io(hook || window.location.origin, { auth: { customer_id: String(customer_id), session }, forceNew: true });
    this._listen();
    told.state({ state: "connecting", text: "Connecting…" });
  }

  close() {
    this.socket.disconnect();
  }

  reconnect() {
    this._told.state({ state: "connecting", text: "Connecting…" });
    this.socket.connect();
  }

  /** Sends an item of the conversation, now or as soon as there is a connection. */
  deliver(item) {
    if (!this.socket.connected) return;
    this.conversation.update(item, { state: "sending", reason: null, triedAt: item.triedAt ?? Date.now() });
    const attempt = Symbol("attempt");
    this._attempts.set(item.key, attempt);
    this._emit(this.socket, item.message, (error, outcome) => {
      // A connection that died has already put the item back; its late answer says nothing about the next attempt.
      if (this._attempts.get(item.key) !== attempt) return;
      this._attempts.delete(item.key);
      this.conversation.update(item, error ? { state: "failed", reason: NO_ANSWER } : readOutcome(outcome));
    });
  }

  /** Says that the customer is typing: at most every few seconds, and never later. */
  typing() {
    if (!this.socket.connected || Date.now() - this._typedAt < TYPING_EVERY_MS) return;
    this._typedAt = Date.now();
    const message = { type: "typing_indicator", ...this.conversation.customer, message_id: newMessageId() };
    this._emit(this.socket.volatile, message, () => {});
  }

  _emit(socket, message, answered) {
    const row = this._wire.event("to_dms", "clientMessage", message.type, [message]);
    socket.timeout(ANSWER_WITHIN_MS).emit("clientMessage", message, (error, ...answer) => {
      row.answered(error ? { error: error.message } : { acknowledgement: answer });
      answered(error, answer[0]);
    });
  }

  _listen() {
    const { socket } = this;
    socket.on("connect", () => {
      const { engine } = socket.io;
      const connected = (transport) => this._told.state({ state: "connected", text: `Connected · ${transport}` });
      connected(engine.transport.name);
      this._wire.connection(`connected, ${engine.transport.name}`, { id: socket.id });
      engine.once("upgrade", (transport) => {
        connected(transport.name);
        this._wire.connection(`upgraded to ${transport.name}`, { id: socket.id });
      });
      for (const item of this.conversation.waiting) this.deliver(item);
    });

    socket.on("disconnect", (reason) => {
      // socket.io-client 4.8 buffers what is emitted on a dying connection and would send it beside our own repeat.
      socket.sendBuffer = [];
      this._attempts.clear();
      this.conversation.interrupted();
      const meant = reason === "io client disconnect";
      this._wire.connection(`disconnected: ${reason}`, { reason }, meant ? "fine" : "failed");
      this._lost(reason, "Disconnected");
    });

    socket.on("connect_error", (error) => {
      this._wire.connection(`connect_error: ${error.message}`, { message: error.message, data: error.data ?? null }, "failed");
      this._lost(error.message, "Refused");
    });

    socket.on("serverMessage", (...args) => {
      const acknowledge = typeof args.at(-1) === "function" ? args.pop() : null;
      acknowledge?.();
      const [payload] = args;
      const isNew = this.conversation.receive(payload);
      const row = this._wire.event("to_customer", "serverMessage", payload?.type, args, payload?.customer_id);
      row.received(isNew ? (acknowledge ? "acknowledged" : "received") : "repeat, not shown");
      if (isNew) this._told.arrived(payload);
    });

    socket.on("messageStatus", (status) => {
      this._wire.event("to_customer", "messageStatus", status?.status, [status]).received("received");
      const item = this.conversation.open(status?.message_id);
      if (!item) return;
      if (status.status === "delayed") {
        this.conversation.update(item, { delayed: true });
      } else {
        this._attempts.delete(item.key);
        this.conversation.update(item, readOutcome(status));
      }
    });

    socket.on("serverError", (text, detail) => {
      const row = this._wire.event("to_customer", "serverError", null, detail === undefined ? [text] : [text, detail]);
      row.received("received");
      const item = this.conversation.blamed(detail ?? null);
      if (item) {
        // What an acknowledgement without an outcome says later is no better news.
        this._attempts.delete(item.key);
        this.conversation.update(item, failure(detail && typeof detail === "object" ? detail : { error: detail ?? text }));
      }
      this._told.serverError(text, detail);
    });
  }

  /** `socket.active` tells whether socket.io-client tries again by itself: not where the server closed or refused. */
  _lost(reason, word) {
    if (this.socket.active) this._told.state({ state: "reconnecting", text: `Reconnecting… (${reason})` });
    else this._told.state({ state: "disconnected", text: `${word}: ${reason}` });
  }
}

/** What an acknowledgement says. A hook that acknowledges without an outcome, as the Node program's, has at least taken it. */
function readOutcome(outcome) {
  if (outcome?.status === "failed" || outcome?.status === "rejected") return failure(outcome);
  return { state: "sent", reason: null, confirmed: outcome?.status === "sent" };
}

function failure(outcome) {
  const status = outcome.dms_status ? `DMS answered ${outcome.dms_status}` : "";
  const error = typeof outcome.error === "string" ? outcome.error : "";
  const reason = error.includes(String(outcome.dms_status)) || !status ? error : [error, status].filter(Boolean).join("; ");
  return { state: "failed", reason: reason || `the hook says "${outcome.status ?? "error"}" and no more` };
}
