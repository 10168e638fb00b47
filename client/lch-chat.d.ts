/**
 * <lch-chat>: the chat for a site. `docs/put-the-chat-on-your-site.md` describes its attributes, and the properties of CSS by
 * which it is coloured. Importing the module defines the element.
 */

import type { Entry, LchClient } from "./lch-client.js";

export class LchChat extends HTMLElement {
  /** Who talks with the hook. Null until the chat is opened; one that is set here is yours to connect and to close. */
  client: LchClient | null;
  /** A token of the customer, or a function that gets one from your backend: asked at each connect. */
  token: string | (() => string | Promise<string>) | undefined;
  /** Goes to DMS with every text. Set it before the chat is opened. */
  contextData?: Record<string, unknown> | (() => Record<string, unknown>);
  /** Words in place of the chat's own, by their names in `chat/texts.js`; `{name}` stands for a value. */
  texts: Record<string, string>;
  /** How many messages have come that nobody has seen. */
  readonly unread: number;
  readonly isOpen: boolean;
  open(): void;
  close(): void;
}

/** None of them bubbles. */
export interface LchChatEvents {
  open: CustomEvent<null>;
  close: CustomEvent<null>;
  /** The number of unread messages has changed. */
  unread: CustomEvent<{ count: number }>;
  /** Something was said. */
  entry: CustomEvent<Entry>;
}

declare global {
  interface HTMLElementTagNameMap {
    "lch-chat": LchChat;
  }
}
