// What a list of entries means for a chat: which menus may be chosen from, what is over, what has been said again. Works on
// the list alone, so that every tab of a customer comes to the same. Knows no screen and no connection.

import { choicesOf } from "./messages.js";

const FAILED = new Set(["failed", "rejected", "unknown"]);
// A choice that may have arrived is not offered again: a second one could open a second conversation.
const NOT_CHOSEN = new Set(["failed", "rejected"]);

/**
 * @param entries of an LchClient, in order
 * @param made message_id → {menu, index} where this page knows which button of which entry (its key) was pressed
 * @returns {
 *   shown: the entries to show: not what has been said again since;
 *   endedBy: "customer" or "agent", or null while it goes on;
 *   menus: key → {open, chosen}: may it be chosen from, and the index of what was;
 * }
 */
export function read(entries, made = new Map()) {
  const menus = new Map();
  const latest = new Map(); // content → the customer's last entry with it
  const answers = new Map(); // the customer's entry → the key of the menu that it answers
  let endedBy = null;
  for (const entry of entries) {
    const { payload } = entry;
    if (entry.from === "customer") {
      latest.set(contentOf(payload), entry);
      if (NOT_CHOSEN.has(entry.status) && payload.type === "customer_end_session") continue;
      if (payload.type === "customer_end_session") {
        endedBy = "customer";
        close(menus);
      } else if (!FAILED.has(entry.status)) endedBy = null;
      if (payload.postback !== undefined) {
        const answered = made.get(payload.message_id) ?? guess(menus, payload.postback);
        if (answered && menus.has(answered.menu)) {
          answers.set(entry, answered.menu);
          const menu = menus.get(answered.menu);
          menu.last = entry;
          menu.chosen = NOT_CHOSEN.has(entry.status) ? null : answered.index;
        }
      }
    } else if (payload.type === "csr_end_session") {
      endedBy = "agent";
      close(menus);
    } else {
      const choices = choicesOf(payload);
      // What comes after the end belongs to what is over.
      if (choices.length) menus.set(entry.key, { choices, over: endedBy !== null, chosen: null, last: null });
    }
  }
  const isSaidAgain = (entry) =>
    entry.from === "customer" && FAILED.has(entry.status) &&
    (latest.get(contentOf(entry.payload)) !== entry || (answers.has(entry) && menus.get(answers.get(entry)).last !== entry));
  return {
    shown: entries.filter((entry) => !isSaidAgain(entry)),
    endedBy,
    menus: new Map([...menus].map(([key, { over, chosen }]) => [key, { open: !over && endedBy === null && chosen === null, chosen }])),
  };
}

function close(menus) {
  for (const menu of menus.values()) menu.over = true;
}

/** Which menu a choice answers that another page made: the latest that offers it and has no answer. */
function guess(menus, postback) {
  for (const [menu, { choices, over, chosen }] of [...menus].reverse()) {
    const index = over || chosen !== null ? -1 : choices.indexOf(postback);
    if (index >= 0) return { menu, index };
  }
  return null;
}

function contentOf({ type, text, postback, attachments }) {
  return JSON.stringify([type, text, postback, attachments]);
}
