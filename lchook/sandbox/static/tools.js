// The panels that make the sandbox do something: what the agent says now, what the customer attaches by its address, and what goes wrong on
// purpose. Without a sandbox behind the page they say so and stay shut.

import { webAddress } from "/client/chat/dom.js";
import { byId, element } from "../shared/dom.js";

const KINDS = {
  string_text: "Text as a string",
  menu: "Menu",
  carousel: "Carousel",
  link_button: "Link button",
  attachments: "Files",
  agent_left: "Agent has left",
  typing_indicator: "Is typing",
  wait_time: "Waiting time",
  csr_end_session: "End of session",
};

const DMS_FAULTS = {
  none: "takes it (no fault)",
  slow: "takes it, but slowly",
  hang: "leaves LCH without an answer",
  refused: "is not there: connection refused",
  reset: "cuts the connection",
  garbage: "answers nonsense",
  redirect: "points elsewhere (redirect)",
  gateway: "takes it, and a gateway codes its answer",
  unknown_type: "does not know the type (400)",
  "A status": {
    400: "does not like the message (400)",
    401: "does not believe the token (401)",
    404: "does not know the address (404)",
    429: "has had enough for now (429)",
    500: "has an error (500)",
    502: "is broken behind its gateway (502)",
    503: "is down for a moment (503)",
    504: "times out behind its gateway (504)",
  },
};

const WEBHOOK_FAULTS = {
  none: "answers once, signed (no fault)",
  "As DMS is": {
    string_text: "writes a text as a string",
    numeric_id: "takes digits for a number, and back",
    rewritten: "repeats everything, written anew",
    reused_id: "uses each message_id again",
    out_of_order: "sends messages out of order",
    agent_leaves: "ends a session in words only",
    dead_links: "sends links that are dead already",
  },
  "As gateways make it": {
    gzip: "gzips its webhooks",
    bom: "begins with a byte order mark",
    charset: "writes UTF-16",
    chunked: "sends in chunks",
    slash: "posts to the address with a slash",
  },
  "What goes wrong": {
    duplicate: "says everything twice",
    bad_signature: "signs with a wrong key",
    fast_clock: "has a clock that is 4 minutes fast",
    slow_clock: "has a clock that is 4 minutes slow",
    silence: "says nothing at all",
    slow: "takes its time",
  },
};

const NO_FAULTS = { dms: "none", delay_seconds: 2, retry_after_seconds: 1, times: null, webhook: "none", link_seconds: 900 };

/** "The agent says…". `customerId()` tells to whom. */
export function setUpSay(api, customerId) {
  const status = byId("say-status");
  const say = async (kind, text) => {
    status.textContent = "…";
    const answer = await ask(new URL("say", api), "POST", { customer_id: customerId(), kind, ...(text ? { text } : {}) });
    if (answer.error) status.textContent = answer.error;
    else status.textContent = `LCH answered the webhook with ${answer.body.status ?? "nothing"}.`;
  };
  byId("say-kinds").append(
    ...Object.entries(KINDS).map(([kind, label]) => element("button", { type: "button", class: "button", onclick: () => say(kind) }, label)));
  byId("say-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const field = byId("say-text");
    say("text", field.value.trim());
    field.value = "";
  });
}

/** "Attach a file…": one that is on the web already, by its address, as some sites' own clients do it. */
export function setUpAttach(attach) {
  const field = byId("attach-url");
  field.addEventListener("input", () => field.setCustomValidity(""));
  byId("attach-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const url = webAddress(field.value.trim());
    if (url === null) {
      field.setCustomValidity("An http or https address, such as https://example.com/photo.png");
      field.reportValidity();
      return;
    }
    attach(url);
    field.value = "";
  });
}

/** The faults panel. Returns a function to call when DMS got a post, since a fault may go away by itself. */
export function setUpFaults(api) {
  const address = new URL("faults", api);
  const form = byId("faults-form");
  const fields = form.elements;
  fields.dms.append(...options(DMS_FAULTS));
  fields.webhook.append(...options(WEBHOOK_FAULTS));
  let inForce = NO_FAULTS;

  const showNeeded = () => {
    const needed = {
      delay: ["slow", "hang"].includes(fields.dms.value) || fields.webhook.value === "slow",
      retry: ["429", "503"].includes(fields.dms.value),
      // A post that is refused never arrives, so nobody can count it.
      times: !["none", "refused"].includes(fields.dms.value),
    };
    for (const field of form.querySelectorAll("[data-needed-for]")) field.hidden = !needed[field.dataset.neededFor];
  };
  const showBadge = () => {
    const named = [inForce.dms !== "none" && `DMS ${inWords(DMS_FAULTS, inForce.dms)}`,
      inForce.webhook !== "none" && `DMS ${inWords(WEBHOOK_FAULTS, inForce.webhook)}`,
      inForce.link_seconds !== NO_FAULTS.link_seconds && `links die after ${inForce.link_seconds} s`].filter(Boolean);
    const left = inForce.dms !== "none" && inForce.times ? `, ${inForce.times} more` : "";
    byId("faults-badge").textContent = named.length ? named.join("; ") + left : "none";
    byId("faults").classList.toggle("in-force", named.length > 0);
  };
  const fill = () => {
    for (const name of Object.keys(NO_FAULTS)) fields[name].value = inForce[name] ?? "";
    showNeeded();
  };
  const take = (answer, done) => {
    byId("faults-status").textContent = answer.error ?? done;
    if (answer.error) return;
    // A sandbox that answers a change with less than the whole state keeps the rest as it was asked for.
    inForce = { ...inForce, ...answer.body };
    showBadge();
  };
  const put = async (faults, done) => {
    const answer = await ask(address, "PUT", faults);
    if (!answer.error) inForce = faults;
    take(answer, done);
    if (!answer.error) fill();
  };
  const get = async () => take(await ask(address, "GET"), "");

  form.addEventListener("change", showNeeded);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    put({
      dms: fields.dms.value,
      webhook: fields.webhook.value,
      delay_seconds: number(fields.delay_seconds) ?? NO_FAULTS.delay_seconds,
      retry_after_seconds: number(fields.retry_after_seconds),
      link_seconds: number(fields.link_seconds) ?? NO_FAULTS.link_seconds,
      times: byId("fault-times").closest("[data-needed-for]").hidden ? null : number(fields.times),
    }, "Applied.");
  });
  byId("faults-none").addEventListener("click", () => put(NO_FAULTS, "Everything works again."));
  get().then(fill);
  return () => {
    if (inForce.dms !== "none" && inForce.times) get();
  };
}

/** {value: text}; where the text is such an object itself, a group of that name. */
function options(words) {
  return Object.entries(words).map(([value, text]) =>
    typeof text === "string" ? element("option", { value }, text) : element("optgroup", { label: value }, ...options(text)));
}

function inWords(words, value) {
  const all = Object.entries(words).flatMap(([name, text]) => (typeof text === "string" ? [[name, text]] : Object.entries(text)));
  return Object.fromEntries(all)[value] ?? value;
}

function number(field) {
  return field.value === "" ? null : Number(field.value);
}

/** {body} as answered, or {error} in words. Never throws. */
async function ask(address, method, body) {
  try {
    const answer = await fetch(address, {
      method,
      headers: body ? { "Content-Type": "application/json" } : {},
      body: body && JSON.stringify(body),
    });
    const answered = await answer.json().catch(() => null);
    if (answer.ok && answered) return { body: answered };
    return { error: answered?.error ?? `The sandbox cannot do that here (${answer.status}).` };
  } catch {
    return { error: "The sandbox does not answer." };
  }
}
