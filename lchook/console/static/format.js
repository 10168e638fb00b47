// Numbers and times as operators read them: short, and of the same width where they change.

const whole = new Intl.NumberFormat("en");
const oneDecimal = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });

/** 12345 → "12,345". */
export function count(number) {
  return whole.format(number);
}

/** A rate or a time: one decimal below ten. Nothing is a dash. */
export function amount(number) {
  if (number === null || number === undefined) return "–";
  return number < 10 ? oneDecimal.format(number) : whole.format(Math.round(number));
}

/** Milliseconds since 1970 → "14:03:09.120", in the reader's time zone. */
export function clock(at, { milliseconds = true } = {}) {
  const date = new Date(at);
  const two = (number) => String(number).padStart(2, "0");
  const time = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  return milliseconds ? `${time}.${String(date.getMilliseconds()).padStart(3, "0")}` : time;
}

/** Milliseconds → "0.4 ms", "47 ms", "3.2 s", "4 min 10 s", "2 h 5 min", "3 d 4 h". */
export function duration(milliseconds) {
  const ms = Math.max(0, milliseconds);
  if (ms < 999.5) return `${ms < 10 ? oneDecimal.format(ms) : Math.round(ms)} ms`;
  if (ms < 59_950) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 48 * 60) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return `${Math.floor(minutes / 1440)} d ${Math.floor((minutes % 1440) / 60)} h`;
}

/** A message_id as text; one that is a number and one that is its text are told apart. */
export function messageName(id) {
  if (id === null || id === undefined) return "";
  return String(id);
}

export const FLOWS = { to_dms: "→ DMS", to_customer: "← customer", connections: "connection", other: "hook" };

/** The fields of an event that have no place of their own, as "name value" pairs. */
export function details(event) {
  const pairs = Object.entries(event.fields).filter(([, value]) => value !== null && value !== "");
  if (event.type) pairs.unshift(["type", event.type]);
  // Which socket it was matters where nothing else says who.
  const named = event.customer === null ? pairs : pairs.filter(([name]) => name !== "socket");
  return named.map(([name, value]) => [name.replaceAll("_", " "), name === "socket" ? String(value).slice(0, 8) : String(value)]);
}
