// The list of the latest events, newest first, and its filters.

import { byId, element } from "../shared/dom.js";
import { clock, count, details, FLOWS, messageName } from "./format.js";
import { throttle } from "./throttle.js";

const MAX_ROWS = 300;
const LEVELS = ["info", "warning", "error"];
const TYPING_MS = 250;
// Between looks because of missing events. The hook allows a console two questions a second.
export const LOOK_AGAIN_MS = 1500;

/** Is the event one of those that are wanted? As the hook itself decides it. */
export function isWanted(event, { customer = "", exact = false, flow = "", outcome = "", level = "info" }) {
  if (LEVELS.indexOf(event.level) < LEVELS.indexOf(level)) return false;
  if (exact && event.customer !== customer) return false;
  if (!exact && customer && !String(event.customer ?? "").toLowerCase().includes(customer.toLowerCase())) return false;
  return (!flow || event.flow === flow) && (!outcome || event.outcome === outcome);
}

/** A customer's id, to press for their timeline. The one without a name has quotes. */
export function customerButton(customer, open) {
  return element("button", { type: "button", class: "who", title: customer, onclick: () => open(customer) }, customer === "" ? "(no name)" : customer);
}

/** What else there is to say of an event, as elements. */
export function detailsOf(event) {
  return details(event).map(([name, value]) => element("span", { class: "event-detail" }, element("i", {}, name), " ", value));
}

export class Events {
  /** `ask(filter)` gives the latest events that are wanted; `open(customer)` shows their timeline. */
  constructor({ ask, open }) {
    this.ask = ask;
    this.open = open;
    this.filter = { customer: "", flow: "", outcome: "", level: "info" };
    this.isPaused = false;
    this.missed = 0;
    this.latest = 0;
    this.question = 0;
    this.lookAgain = throttle(() => this.look(), LOOK_AGAIN_MS);
    for (const button of byId("flow").children) {
      button.addEventListener("click", () => {
        for (const other of byId("flow").children) other.setAttribute("aria-pressed", String(other === button));
        this.change({ flow: button.dataset.flow });
      });
    }
    byId("outcome").addEventListener("change", (event) => this.change({ outcome: event.target.value }));
    byId("level").addEventListener("change", (event) => this.change({ level: event.target.value }));
    let typing;
    byId("customer").addEventListener("input", (event) => {
      clearTimeout(typing);
      typing = setTimeout(() => this.change({ customer: event.target.value.trim() }), TYPING_MS);
    });
    byId("pause").addEventListener("click", () => this.pause(!this.isPaused));
  }

  get isFiltered() {
    return this.filter.customer !== "" || this.filter.flow !== "" || this.filter.outcome !== "" || this.filter.level !== "info";
  }

  /** All there is, when the console has connected. */
  set(events, latest) {
    this.latest = latest;
    if (this.isFiltered || this.isPaused) this.look();
    else this.show(events);
  }

  /** What has happened since; `missing` events came along that were too many to be told. */
  add(events, missing) {
    const isNew = events.filter((event) => event.n > this.latest);
    this.latest = Math.max(this.latest, ...isNew.map((event) => event.n));
    const wanted = isNew.filter((event) => isWanted(event, this.filter));
    if (this.isPaused) {
      this.missed += wanted.length + missing;
      this.note();
      return;
    }
    if (missing && this.isFiltered) {
      this.lookAgain();
      return;
    }
    this.note(missing);
    if (!wanted.length) return;
    const rows = byId("events");
    rows.prepend(...wanted.reverse().map((event) => this.row(event)));
    while (rows.children.length > MAX_ROWS) rows.lastChild.remove();
    byId("events-nothing").hidden = true;
  }

  change(filter) {
    this.filter = { ...this.filter, ...filter };
    this.look();
  }

  pause(isPaused) {
    this.isPaused = isPaused;
    this.missed = 0;
    byId("pause").setAttribute("aria-pressed", String(isPaused));
    byId("pause").textContent = isPaused ? "Go on" : "Pause";
    this.note();
    if (!isPaused) this.look();
  }

  /** Asks the hook, which remembers more than this page shows. */
  async look() {
    const question = ++this.question;
    const answer = await this.ask(this.filter);
    if (question !== this.question || !answer) return;
    this.latest = Math.max(this.latest, answer.number);
    this.show(answer.events);
  }

  show(events) {
    byId("events").replaceChildren(...events.slice(-MAX_ROWS).reverse().map((event) => this.row(event)));
    byId("events-nothing").hidden = events.length > 0;
    this.note();
  }

  note(missing = 0) {
    let text = "";
    if (this.isPaused) text = this.missed ? `Paused. ${count(this.missed)} more meanwhile.` : "Paused.";
    else if (missing) text = `${count(missing)} events came too fast to be listed here. A filter finds them.`;
    byId("events-note").textContent = text;
  }

  row(event) {
    const hasCustomer = event.customer !== null;
    // The roles hold where the style makes a list of the table.
    return element("tr", { role: "row", "data-level": event.level, "data-flow": event.flow, "data-outcome": event.outcome },
      element("td", { role: "cell", class: "event-time" }, clock(event.at)),
      element("td", { role: "cell", class: "event-flow" }, FLOWS[event.flow]),
      element("td", { role: "cell", class: "event-what" },
        event.level === "info" ? null : element("span", { class: "event-level" }, event.level),
        element("span", { class: "event-text" }, event.text),
        ...detailsOf(event)),
      element("td", { role: "cell", class: "event-customer" }, hasCustomer ? customerButton(event.customer, this.open) : ""),
      element("td", { role: "cell", class: "event-message", title: messageName(event.message) }, messageName(event.message)));
  }
}
