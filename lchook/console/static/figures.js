// How things stand now: a row of figures, and for whom messages wait.

import { byId, element } from "../shared/dom.js";
import { customerButton } from "./events.js";
import { count, duration } from "./format.js";

const FIGURES = [
  ["connections", "Connections"],
  ["customers", "Customers here"],
  ["under_way", "Under way to DMS"],
  ["outbox", "In the outbox, all instances"],
  ["outbox_oldest", "Oldest in the outbox"],
  ["on_the_way", "Sent, not acknowledged"],
  ["messages", "Waiting, all instances"],
  ["oldest", "Oldest waiting"],
];

export class Figures {
  constructor(place) {
    this.values = Object.fromEntries(FIGURES.map(([name]) => [name, element("dd", { "data-figure": name }, "–")]));
    place.replaceChildren(...FIGURES.map(([name, label]) => element("div", { class: "figure" }, element("dt", {}, label), this.values[name])));
  }

  now(now) {
    for (const [name, number] of Object.entries(now)) if (this.values[name]) this.values[name].textContent = count(number);
  }

  waiting(waiting) {
    const isKnown = waiting.messages !== undefined;
    this.values.messages.textContent = isKnown ? count(waiting.messages) : "–";
    this.values.outbox.textContent = isKnown ? count(waiting.outbox) : "–";
    this.values.outbox_oldest.textContent = waiting.outbox ? duration(waiting.outbox_oldest_seconds * 1000) : "–";
    this.values.oldest.textContent = waiting.messages ? duration(waiting.oldest_seconds * 1000) : "–";
  }
}

/** Shows for whom messages wait, those who wait longest first. `open(customer)` shows their timeline. */
export function showWaiting(waiting, open) {
  const list = waiting.list ?? [];
  const focused = document.activeElement?.closest("#waiting-rows tr")?.dataset.customer;
  byId("waiting-rows").replaceChildren(...list.map(([customer, messages, seconds, isHere, onTheWay]) =>
    element("tr", { "data-customer": customer },
      element("td", { class: "waiting-customer" }, customerButton(customer, open), element("span", { class: "waiting-where" }, where(isHere, onTheWay))),
      element("td", { class: "number" }, count(messages)),
      element("td", { class: "number" }, duration(seconds * 1000)))));
  if (focused !== undefined) {
    [...byId("waiting-rows").children].find((row) => row.dataset.customer === focused)?.querySelector("button").focus();
  }
  byId("waiting-table").hidden = list.length === 0;
  byId("waiting-nothing").hidden = list.length > 0;
  byId("waiting-nothing").textContent = waiting.error ? `Not known: ${waiting.error}.` : "Nothing waits.";
  const others = (waiting.customers ?? 0) - list.length;
  byId("waiting-summary").textContent = others > 0 ? `${count(list.length)} of ${count(waiting.customers)} customers` : "";
}

function where(isHere, onTheWay) {
  if (onTheWay) return `here, ${count(onTheWay)} sent and not acknowledged`;
  return isHere ? "here" : "not here";
}
