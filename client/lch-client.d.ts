/**
 * The client of LCH (Labb Chat Hook): a customer's side of a chat, over Socket.IO. `docs/client-protocol.md` is the protocol;
 * this is all that it asks of a client. Needs socket.io-client 4 and nothing else, in browsers and in Node 20 or newer.
 */

/** A value of DMS or of the page, as JSON has it. Fields that are not listed may come, and travel. */
export interface Fields {
  [name: string]: unknown;
}

export interface Attachment extends Fields {
  url: string;
  content_type?: string;
  file_name?: string;
  size?: number;
  /** Where the hook keeps the file itself: the address that DMS gave. */
  source_url?: string;
}

/** A choice of a menu or of a carousel's item. */
export interface Choice extends Fields {
  text: string;
  payload: string;
  image_url?: string;
  description?: string;
}

export interface CarouselItem extends Fields {
  title?: string;
  sub_title?: string;
  title_image_url?: string;
  items?: Choice[];
}

interface FromDms extends Fields {
  customer_id: string | number;
  message_id?: string | number;
  csr_name?: string;
  /** `"bot"` for the bot; something else, or nothing, for people. */
  author?: string;
}

export interface DmsText extends FromDms {
  type: "text";
  text?: string[] | string;
  attachments?: Attachment[];
}

export interface DmsMenu extends FromDms {
  type: "menu";
  title?: string;
  items?: Choice[];
}

export interface DmsCarousel extends FromDms {
  type: "carousel";
  items?: CarouselItem[];
}

export interface DmsLinkButton extends FromDms {
  type: "link_button";
  title?: string;
  label?: string;
  url?: string;
}

export interface DmsTyping extends FromDms {
  type: "typing_indicator";
}

export interface DmsWaitTime extends FromDms {
  type: "wait_time";
  waitTime: number | string;
}

export interface DmsEnd extends FromDms {
  type: "csr_end_session";
}

/** What DMS says. Its texts come from outside: never put one into a page as HTML; a `url` is to begin with `https:`. */
export type DmsPayload = DmsText | DmsMenu | DmsCarousel | DmsLinkButton | DmsTyping | DmsWaitTime | DmsEnd;

/** What the customer says. */
export interface CustomerPayload extends Fields {
  type: "text" | "customer_end_session" | "typing_indicator";
  customer_id?: string | number;
  customer_name?: string;
  message_id?: string | number;
  text?: string[];
  postback?: string;
  attachments?: { url: string }[];
  context_data?: Fields;
}

/**
 * - `pending`: no outcome yet; `delayed`: likewise, and DMS does not take it for the moment.
 * - `sent`: DMS has it.
 * - `failed`: DMS does not have it; `resend` makes sense.
 * - `rejected`: the hook did not take it; `error` says what is wrong with it.
 * - `unknown`: DMS may have it or not; let the person decide whether to `resend`.
 */
export type Status = "pending" | "delayed" | "sent" | "failed" | "rejected" | "unknown";

interface EntryBase {
  /** The same for as long as this client lives, and no other entry's: a key for lists that are rendered. */
  readonly key: string;
  /** Its place in the conversation, where the hook keeps one. */
  cursor?: string;
  /** ISO 8601: when it was said. */
  at: string;
}

export interface DmsEntry extends EntryBase {
  from: "dms";
  /** Types that DMS may yet invent come too, with any fields: leave out what is not known. */
  payload: DmsPayload;
  status?: undefined;
  error?: undefined;
}

export interface CustomerEntry extends EntryBase {
  from: "customer";
  payload: CustomerPayload;
  status: Status;
  /** In words, where it was not sent. */
  error?: string;
  /** The `message_id` under which this was sent again: offer it no second time. */
  resentAs?: string;
}

/** Something that was said. The client changes the object itself when its status changes. */
export type Entry = CustomerEntry | DmsEntry;

export interface Outcome {
  status: "sent" | "failed" | "rejected" | "unknown";
  message_id?: string | number;
  /** DMS's answer, where there was one. */
  dms_status?: number | null;
  error?: string;
  /** Fields that were not forwarded. */
  ignored?: string[];
}

/**
 * - `connecting`: for the first time, or after `close`.
 * - `connected`
 * - `offline`: no way to the hook, or the hook is restarting; it is tried again without end.
 * - `refused`: the hook does not want this client, or there is no token, or no socket.io-client; `reason` says which. With a
 *   function as `token` it is tried again with a new one, ever more slowly; otherwise `connect()` tries again.
 * - `closed`: by `close()`, or not opened yet.
 */
export type State = "connecting" | "connected" | "offline" | "refused" | "closed";

/** What is used of the Web's `Storage`. */
export interface KeyValues {
  readonly length: number;
  key(index: number): string | null;
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
  removeItem(key: string): void;
}

export interface Options {
  /** The hook's address, `https://hook.example.com`; with a path where a proxy serves it under one. */
  url: string | URL;
  /** `io` of socket.io-client. Not given: `globalThis.io`, the package, or the copy beside this file, whichever there is. */
  io?: (url: string, options: any) => any;
  /**
   * A JWT from your own backend that says who the customer is, or a function that gets one, which is asked at each connect. A
   * client is for one customer: with a token for another one it is refused.
   */
  token?: string | (() => string | Promise<string>);
  /** The customer's id in Pega. With a token it may be left out. Without id and token the customer has no name. */
  customerId?: string | number;
  customerName?: string;
  /** For somebody without a name: a text that nobody can guess, at most 256 characters. By default one is made and stored. */
  session?: string;
  /** Which of the hook's connections, where it has several. */
  connection?: string;
  /** Ask for the whole conversation, and follow it. Default: true; a hook that keeps none is no problem. */
  conversation?: boolean;
  /** Goes to DMS with every text: an object, or a function that makes one. */
  contextData?: Fields | (() => Fields);
  /**
   * Where messages wait that have no outcome yet, so that they outlive a reload; and the session. Nothing else is stored, and
   * messages are removed with their outcome. Default: `localStorage`; null: nothing is stored.
   */
  storage?: KeyValues | null;
  /** Further options of socket.io-client, such as `transports`. */
  socketOptions?: Record<string, unknown>;
}

/** What each event's `detail` is. */
export interface LchClientEvents {
  /** The state has changed. */
  connection: { state: State; reason: string };
  /** There is a new entry. `client.entries` has it at its place, which need not be the end. */
  entry: Entry;
  /** An entry's status, error, cursor or place in `client.entries` has changed. */
  status: Entry;
  /**
   * Part of the conversation came: what was said before, or while this client was away. Its new entries, which are in
   * `client.entries` and have no `entry` event. `complete` is true with the last part. `error`: why there is none.
   */
  history: { entries: Entry[]; complete: boolean; error?: string };
  /** Somebody at DMS is typing. */
  typing: DmsTyping;
  waittime: DmsWaitTime;
  /** Something went wrong that is no entry's fault, in words. The client goes on. */
  error: { message: string };
}

export class LchClient extends EventTarget {
  /** Does nothing yet. @throws {TypeError} where `url` is none. */
  constructor(options: Options);

  /** All that was said, in order. Do not change it. */
  readonly entries: readonly Entry[];
  readonly state: State;
  /** Why, in words; empty where all is well. */
  readonly reason: string;

  /** Connect, and stay connected. Resolves as soon as the way there is tried; never rejects: see `state`. */
  connect(): Promise<void>;
  /** Disconnect. What is pending stays stored, and goes on with `connect()`, or in the next page. */
  close(): void;

  /**
   * Say something; without a connection, as soon as there is one. The entry is there at once. Further fields travel as they are.
   * Resolves with the outcome, however it ends; while neither `close()`d nor the page left, within about 10 minutes.
   */
  send(message: { text?: string | string[]; attachments?: { url: string }[] } & Fields): Promise<Outcome>;
  /** Choose an item of a menu or carousel. */
  choose(item: { text: string; payload: string }): Promise<Outcome>;
  /** The customer is typing: call it at each key stroke. Sends one indicator in 3 s, and only while connected. */
  typing(): void;
  /** The customer ends the chat. */
  endSession(): Promise<Outcome>;
  /** Send something again that failed, was rejected, or is unknown. @throws {RangeError} where there is no such message. */
  resend(messageId: string | number): Promise<Outcome>;

  /**
   * Give the hook a file. Then `send({ text, attachments: [file] })` with what this resolves to.
   * Rejects with an `Error` in words: too large, not allowed, not connected, no files at this hook; with an `AbortError` after
   * `signal`. `onProgress` gets a number from 0 to 1, where the platform can tell.
   */
  upload(file: File | Blob, options?: { onProgress?: (share: number) => void; signal?: AbortSignal; name?: string }): Promise<{ url: string }>;

  addEventListener<Name extends keyof LchClientEvents>(
    type: Name,
    listener: ((event: CustomEvent<LchClientEvents[Name]>) => void) | { handleEvent(event: CustomEvent<LchClientEvents[Name]>): void },
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(type: string, listener: EventListenerOrEventListenerObject | null, options?: boolean | AddEventListenerOptions): void;
}
