/**
 * <lch-chat>: the chat for a site, in one script tag. docs/put-the-chat-on-your-site.md says how; its parts are in chat/.
 * The transport is lch-client.js's. This binds the two together, and owns what the site's page sees: attributes, properties,
 * methods and events.
 */

import { LchClient } from "./lch-client.js";
import { Memory } from "./chat/memory.js";
import { speaker } from "./chat/messages.js";
import { Panel } from "./chat/panel.js";
import { styleSheet } from "./chat/styles.js";
import { Talk } from "./chat/talk.js";
import { speaking } from "./chat/texts.js";
import { Unread } from "./chat/unread.js";

// This file is <hook>/client/lch-chat.js, maybe with a folder between.
const OWN_HOOK = new URL(import.meta.url).href.replace(/\/client\/.*$/, "");
// What comes so soon after the connection has been said before: it is shown, and not read out.
const HISTORY_MS = 1_000;
const FAILURES = { failed: "failed", rejected: "failed", unknown: "unclear" };

export class LchChat extends HTMLElement {
  static observedAttributes = ["hook", "customer-id", "customer-name", "token", "connection", "lang", "heading", "inline", "files"];

  constructor() {
    super();
    this.attachShadow({ mode: "open" }).adoptedStyleSheets = [styleSheet()];
    this._own = null; // the client that this made; another one's is its maker's to close
    this._client = null;
    this._texts = {};
    this._stop = new AbortController();
  }

  /** The LchClient. One that is set here takes the place of the attributes that say who and where; it is for you to close. */
  get client() {
    return this._client;
  }

  set client(client) {
    this._closeOwn();
    this._client = client;
    this._isGiven = client !== null;
    this._rebuild();
  }

  /** A token, or a function that gets one from your backend. */
  get token() {
    return this._token ?? this.getAttribute("token") ?? undefined;
  }

  set token(token) {
    this._token = token;
    this._startAnew();
  }

  /** Words in place of the chat's own, by their names in chat/texts.js. */
  get texts() {
    return this._texts;
  }

  set texts(texts) {
    this._texts = { ...texts };
    this._rebuild();
  }

  /** How many messages have come that nobody has seen. */
  get unread() {
    return this._unread?.count ?? 0;
  }

  get isOpen() {
    return this._panel?.isOpen ?? false;
  }

  open() {
    if (this._show(true)) this._panel.focus();
  }

  close() {
    if (this.hasAttribute("inline")) return;
    const hadFocus = this.shadowRoot.activeElement !== null;
    if (this._show(false) && hadFocus) this._panel.launcher.focus();
  }

  focus() {
    if (this.isOpen) this._panel.focus();
    else this._panel?.launcher.focus();
  }

  connectedCallback() {
    // Properties that were set before this was loaded.
    for (const name of ["texts", "token", "contextData", "client"]) {
      if (!Object.hasOwn(this, name)) continue;
      const value = this[name];
      delete this[name];
      this[name] = value;
    }
    this._rebuild();
  }

  disconnectedCallback() {
    // Moving it to another place of the page is no reason to hang up.
    queueMicrotask(() => {
      if (this.isConnected) return;
      this._stop.abort();
      this._closeOwn();
      this._panel = null;
    });
  }

  attributeChangedCallback(name, before, now) {
    if (!this._panel || before === now) return;
    if (["lang", "heading", "inline", "files"].includes(name)) this._rebuild();
    else this._startAnew();
  }

  get _hook() {
    return this.getAttribute("hook") || OWN_HOOK;
  }

  _closeOwn() {
    this._own?.close();
    if (this._client === this._own) this._client = null;
    this._own = null;
  }

  _startAnew() {
    if (this._isGiven) return;
    this._closeOwn();
    this._rebuild();
  }

  /** Makes all of it anew, once for all that changes in this turn. */
  _rebuild() {
    if (this._isDue) return;
    this._isDue = true;
    queueMicrotask(() => {
      this._isDue = false;
      if (this.isConnected) this._build();
    });
  }

  _build() {
    this._stop.abort();
    this._stop = new AbortController();
    const customer = this.getAttribute("customer-id") ?? "";
    this._memory = new Memory(`${this._hook} ${this.getAttribute("connection") ?? ""} ${customer}`, customer !== "" || !this.token);
    this._talk = new Talk(this._client, this._memory);
    const inLanguage = this.lang || this.closest("[lang]")?.lang || document.documentElement.lang || navigator.language;
    const say = (this._say = speaking(inLanguage, this._texts));
    this._panel = new Panel(this.shadowRoot, {
      say, heading: this.getAttribute("heading") || say("title"), isInline: this.hasAttribute("inline"),
    }, {
      toggle: () => (this.isOpen ? this.close() : this.open()),
      close: () => this.close(),
      reconnect: () => this._client?.connect(),
      end: () => this._client?.endSession(),
      startNew: () => {
        this._talk.startAnew();
        this._drawNow();
        this._panel.focus();
      },
      choose: (entry, choice) => this._talk.choose(entry, choice) && this._panel.focus(),
      resend: (entry) => {
        this._talk.resend(entry);
        this._panel.focus();
      },
      send: (text, attachments) => this._client?.send({ text, ...(attachments.length && { attachments }) }),
      typing: () => this._client?.typing(),
      upload: (file, { signal, onprogress }) => this._upload(file, { signal, onProgress: onprogress }),
    });
    this._unread = new Unread(this._memory, {
      theirs: () => this._talk.theirs,
      isOpen: () => this.isOpen,
      changed: (count) => {
        this._panel.showUnread(count);
        this.dispatchEvent(new CustomEvent("unread", { detail: { count } }));
      },
      signal: this._stop.signal,
    });
    this._panel.composer.takesFiles = this.hasAttribute("files") && this.getAttribute("files") !== "off";
    // Unasked, it does not cover the whole of a small page.
    const opensItself = this.hasAttribute("open") && !this._panel.wouldCover;
    const shown = this.hasAttribute("inline") || (this._asked ?? this._memory.open ?? opensItself);
    this._asked = null;
    this._panel.isOpen = shown;
    // Who never opened it costs the hook no connection.
    if (this._client || shown || this.hasAttribute("eager") || this._memory.read !== null) this._begin();
    else this._draw();
  }

  /** A client, if there is none, and its events to the screen. */
  _begin() {
    const given = (name) => this.getAttribute(name) || undefined;
    this._client ??= this._own = new LchClient({
      url: this._hook,
      token: this.token,
      customerId: given("customer-id"),
      customerName: given("customer-name"),
      connection: given("connection"),
      contextData: this.contextData,
    });
    this._talk = new Talk(this._client, this._memory);
    const { _client: client, _panel: panel } = this;
    const on = (name, handle) => client.addEventListener(name, ({ detail }) => handle(detail), { signal: this._stop.signal });
    on("connection", ({ state, reason }) => {
      panel.showState(state, reason);
      if (state === "connected") setTimeout(() => panel.log.live(), HISTORY_MS);
      this._draw();
    });
    on("entry", (entry) => {
      if (entry.from === "dms") panel.log.notTyping();
      this._changed(entry);
      this.dispatchEvent(new CustomEvent("entry", { detail: entry }));
    });
    on("status", (entry) => {
      if (FAILURES[entry.status]) panel.announce(this._say(FAILURES[entry.status], { reason: entry.error ?? "" }));
      this._changed();
    });
    on("history", ({ complete, error }) => {
      if (!error) this._talk.kept();
      this._changed();
      if (complete) queueMicrotask(() => panel.log.live());
    });
    on("typing", (payload) => panel.log.typing(speaker(payload) || this._talk.lastSpeaker));
    on("waittime", (payload) => {
      this._talk.passing(payload);
      this._draw();
    });
    panel.showState(client.state, client.reason);
    if (client.state === "connected") panel.log.live();
    this._changed();
    if (this._own) client.connect();
  }

  _changed(entry) {
    this._talk.changed(entry);
    this._draw();
  }

  /** Once for all that changes in this turn. */
  _draw() {
    if (this._isDrawing) return;
    this._isDrawing = true;
    queueMicrotask(() => {
      this._isDrawing = false;
      if (this._panel) this._drawNow();
    });
  }

  _drawNow() {
    const { story } = this._talk;
    this._panel.log.show({ ...story, isConnected: this._client?.state === "connected" });
    this._panel.showEnd(story.endedBy);
    this._unread.update();
  }

  async _upload(file, options) {
    try {
      return await this._client.upload(file, options);
    } catch (error) {
      if (/takes no files/.test(error.message)) this._panel.composer.takesFiles = false;
      throw error;
    }
  }

  /** Returns whether that changed anything. */
  _show(open) {
    if (!this._panel) this._asked = open;
    if (!this._panel || this._panel.isOpen === open) return false;
    this._panel.isOpen = open;
    this._memory.open = open;
    if (open && !this._client) this._begin();
    this._unread.update();
    this.dispatchEvent(new CustomEvent(open ? "open" : "close"));
    return true;
  }
}

if (!customElements.get("lch-chat")) customElements.define("lch-chat", LchChat);
