// The timeline of one customer: their events in order, by message, with the time between the steps.

import { byId, element, stickToEnd } from "../shared/dom.js";
import { detailsOf, isWanted, LOOK_AGAIN_MS } from "./events.js";
import { clock, count, duration, FLOWS, messageName } from "./format.js";
import { throttle } from "./throttle.js";

const MAX_EVENTS = 500;
const STATES = { under_way: "under way", done: "done", held: "waiting", lost: "failed" };

/**
 * Groups events, in order, by message: [{flow, message, type, events, state}]. What belongs to no message (a connection,
 * say) is a group of its own with `state` null. Messages without an id are told apart by their steps: what goes on is the
 * first of them that is not done and has not had that step.
 */
export function byMessage(events) {
  const groups = [];
  const known = new Map();
  const unnamed = [];
  for (const event of events) {
    const isBeginning = event.id.startsWith("received_from_");
    const key = JSON.stringify([event.flow, event.message]);
    const isUnnamed = event.message === null;
    let group = isUnnamed ? unnamed.find((other) => goesOn(other, event)) : known.get(key);
    // Not of one message: a connection, or several messages at once.
    const isOther = isUnnamed && !isBeginning && (!group || "messages" in event.fields);
    if (isOther || (event.flow !== "to_dms" && event.flow !== "to_customer")) {
      groups.push({ flow: event.flow, message: null, type: null, events: [event], state: null });
      continue;
    }
    if (!group || (isUnnamed && isBeginning)) {
      group = { flow: event.flow, message: event.message, type: null, events: [], state: "under_way" };
      if (isUnnamed) unnamed.push(group);
      else known.set(key, group);
      groups.push(group);
    }
    group.events.push(event);
    group.type ??= event.type;
    if (event.outcome !== "none") group.state = event.outcome;
  }
  return groups;
}

function goesOn(group, event) {
  const isOpen = group.state !== "done" && group.state !== "lost";
  return isOpen && group.flow === event.flow && !group.events.some(({ id }) => id === event.id);
}

export class Timeline {
  /** `ask(filter)` gives the latest events that are wanted. */
  constructor({ ask }) {
    this.ask = ask;
    this.customer = null;
    this.events = [];
    this.isComplete = true;
    this.lookAgain = throttle(() => this.look(), LOOK_AGAIN_MS);
    this.scroll = stickToEnd(byId("timeline-scroller"), byId("messages"));
    byId("timeline-close").addEventListener("click", () => this.close());
    byId("timeline").addEventListener("keydown", (event) => event.key === "Escape" && this.close());
  }

  get filter() {
    return { customer: this.customer, exact: true };
  }

  async open(customer) {
    this.openedBy ??= document.activeElement;
    this.customer = customer;
    this.events = [];
    byId("timeline-title").textContent = customer === "" ? "(no name)" : customer;
    byId("messages").replaceChildren();
    byId("timeline-summary").textContent = "";
    byId("timeline").hidden = false;
    document.body.dataset.timeline = "";
    byId("timeline-title").focus();
    this.scroll.toEnd();
    await this.look();
  }

  close() {
    this.customer = null;
    byId("timeline").hidden = true;
    delete document.body.dataset.timeline;
    // The row that was pressed may have gone out of the list.
    (this.openedBy?.isConnected ? this.openedBy : byId("events-scroller")).focus();
    this.openedBy = null;
  }

  /** What has happened since; where events are missing the hook is asked. */
  add(events, missing) {
    if (this.customer === null) return;
    if (missing) {
      this.lookAgain();
      return;
    }
    const latest = this.events.at(-1)?.n ?? 0;
    const wanted = events.filter((event) => event.n > latest && isWanted(event, this.filter));
    if (!wanted.length) return;
    this.events = [...this.events, ...wanted].slice(-MAX_EVENTS);
    this.show();
  }

  async look() {
    if (this.customer === null) return;
    const customer = this.customer;
    const answer = await this.ask(this.filter);
    if (!answer || customer !== this.customer) return;
    this.events = answer.events;
    this.isComplete = answer.complete;
    this.show();
  }

  show() {
    const groups = byMessage(this.events);
    const messages = groups.filter((group) => group.state !== null);
    byId("messages").replaceChildren(...groups.map((group) => (group.state === null ? aside(group.events[0]) : messageItem(group))));
    byId("timeline-nothing").hidden = this.events.length > 0;
    const open = messages.filter((group) => group.state === "held" || group.state === "under_way").length;
    const failed = messages.filter((group) => group.state === "lost").length;
    const words = [`${count(messages.length)} message${messages.length === 1 ? "" : "s"}`];
    if (open) words.push(`${count(open)} not done`);
    if (failed) words.push(`${count(failed)} failed`);
    if (!this.isComplete) words.push("older ones left out");
    byId("timeline-summary").textContent = words.join(", ");
  }
}

function messageItem({ flow, message, type, events, state }) {
  const took = events.at(-1).at - events[0].at;
  const stateText = state === "done" ? `done in ${duration(took)}` : STATES[state];
  return element("li", { class: "message", "data-flow": flow, "data-state": state },
    element("p", { class: "message-head" },
      element("span", { class: "event-flow" }, FLOWS[flow]),
      element("span", { class: "message-name" }, type ?? "message", " ", element("span", { class: "message-id" }, messageName(message))),
      element("span", { class: "message-state" }, stateText)),
    element("ol", { class: "steps" }, ...events.map((event, index) => step(event, events[index - 1]))));
}

function step(event, before) {
  return element("li", { class: "step", "data-level": event.level },
    element("span", { class: "step-time" }, before ? `+${duration(event.at - before.at)}` : clock(event.at)),
    what(event));
}

function aside(event) {
  return element("li", { class: "aside", "data-level": event.level },
    element("span", { class: "step-time" }, clock(event.at)), what(event));
}

function what(event) {
  return element("span", { class: "step-what" }, element("span", { class: "event-text" }, event.text), ...detailsOf({ ...event, type: null }));
}
