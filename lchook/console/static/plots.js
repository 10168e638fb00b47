// Small plots of the last minutes, in SVG. All share one cursor: where the pointer or the arrow keys are in one of them,
// all show their figures of that moment.

import { element } from "../shared/dom.js";
import { amount, clock, count } from "./format.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 300;
const HEIGHT = 56;
const MINUTE_MS = 60_000;
const MAX_MINUTES = 10;
const MAX_ROWS = 300;
// After a longer silence between two rows, a line would claim what nobody saw.
const GAP_MS = 10_000;

const PLOTS = [
  { title: "Clients", least: 4, series: [["connections", "Connections", "line-soft"], ["customers", "Customers", "line-accent"]], format: count },
  {
    title: "Messages a second",
    least: 1,
    series: [["to_dms", "To DMS", "line-dms"], ["to_customer", "From DMS", "line-customer"], ["delivered", "Delivered", "line-delivered"]],
    format: amount,
  },
  { title: "Failures a second", least: 1, series: [["failures", "Failures", "bars-bad"]], format: amount },
  { title: "DMS answers in ms", least: 10, series: [["dms_p50", "p50", "line-ink"], ["dms_p99", "p99", "line-warn"]], format: amount },
];
// The columns of a row, as the feed sends them.
const COLUMNS = ["at", "connections", "customers", "to_dms", "to_customer", "delivered", "failures", "dms_p50", "dms_p99"];

export class Plots {
  constructor(place) {
    this.rows = [];
    this.cursor = null;
    this.plots = PLOTS.map((options) => new Plot(options, this));
    place.replaceChildren(...this.plots.map((plot) => plot.figure));
  }

  set(samples) {
    this.rows = [];
    this.cursor = null;
    this.add(samples);
  }

  add(samples) {
    const latest = this.rows.at(-1)?.at ?? 0;
    const rows = samples.map((values) => Object.fromEntries(COLUMNS.map((name, index) => [name, values[index]])));
    this.rows = [...this.rows, ...rows.filter((row) => row.at > latest)].slice(-MAX_ROWS);
    for (const plot of this.plots) plot.draw(this.rows);
    this.point(this.cursor);
  }

  /** Shows the figures at that time, or the latest ones. */
  point(at) {
    const nearest = at === null ? -1 : this.nearest(at);
    this.cursor = nearest < 0 ? null : this.rows[nearest].at;
    for (const plot of this.plots) plot.show(this.rows.at(nearest), this.rows, this.cursor !== null);
  }

  /** One row to the left or right. */
  step(by) {
    if (!this.rows.length) return;
    const from = this.cursor === null ? this.rows.length - 1 : this.nearest(this.cursor);
    this.point(this.rows[Math.min(this.rows.length - 1, Math.max(0, from + by))].at);
  }

  nearest(at) {
    let nearest = -1;
    for (const [index, row] of this.rows.entries()) {
      if (nearest < 0 || Math.abs(row.at - at) < Math.abs(this.rows[nearest].at - at)) nearest = index;
    }
    return nearest;
  }
}

class Plot {
  constructor({ title, least, series, format }, plots) {
    this.series = series;
    this.least = least;
    this.format = format;
    this.title = title;
    this.paths = series.map(([, , look]) => svg("path", { class: look }));
    this.line = svg("line", { class: "cursor", y1: 0, y2: HEIGHT, visibility: "hidden" });
    this.drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", tabindex: "0" },
      svg("line", { class: "grid", x1: 0, x2: WIDTH, y1: 0.5, y2: 0.5 }),
      svg("line", { class: "grid", x1: 0, x2: WIDTH, y1: HEIGHT - 0.5, y2: HEIGHT - 0.5 }),
      ...this.paths, this.line);
    this.values = series.map(() => element("b", {}, "–"));
    this.top = element("span", { class: "plot-top" });
    this.time = element("span", {}, "now");
    this.from = element("span");
    this.figure = element("figure", { class: "plot" },
      element("figcaption", { class: "plot-head" },
        element("span", { class: "plot-title" }, title),
        element("span", { class: "plot-keys" },
          ...series.map(([, label, look], index) => element("span", { class: `key ${look}` }, series.length > 1 ? label : "", " ", this.values[index])))),
      element("div", { class: "plot-area" }, this.drawing, this.top),
      element("p", { class: "plot-axis", "aria-hidden": "true" }, this.from, this.time));
    this.drawing.addEventListener("pointermove", (event) => {
      const box = this.drawing.getBoundingClientRect();
      plots.point(this.start + ((event.clientX - box.left) / box.width) * this.window);
    });
    this.drawing.addEventListener("pointerleave", () => plots.point(null));
    this.drawing.addEventListener("blur", () => plots.point(null));
    this.drawing.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1, PageUp: -30, PageDown: 30 }[event.key];
      if (by) plots.step(by);
      else if (event.key === "Escape") plots.point(null);
      else return;
      event.preventDefault();
    });
  }

  draw(rows) {
    const end = rows.at(-1)?.at ?? Date.now();
    // A hook that has just started has little to show: that little gets the room.
    const minutes = Math.min(MAX_MINUTES, Math.max(1, Math.ceil((end - (rows[0]?.at ?? end)) / MINUTE_MS)));
    this.window = minutes * MINUTE_MS;
    this.start = end - this.window;
    this.from.textContent = `${minutes} min ago`;
    const shown = rows.filter((row) => row.at >= this.start);
    const most = Math.max(0, ...this.series.flatMap(([name]) => shown.map((row) => row[name] ?? 0)));
    const scale = niceTop(Math.max(this.least, most));
    const x = (row) => round(((row.at - this.start) / this.window) * WIDTH);
    const y = (value) => round(HEIGHT - 1 - (value / scale) * (HEIGHT - 3));
    this.top.textContent = this.format(scale);
    this.x = x;
    for (const [index, [name, , look]] of this.series.entries()) {
      this.paths[index].setAttribute("d", look.startsWith("bars") ? bars(shown, name, x, y) : curve(shown, name, x, y));
    }
    const words = this.series.map(([name, label]) => {
      const known = shown.map((row) => row[name]).filter((value) => value !== null);
      return `${label} ${known.length ? `${this.format(known.at(-1))} now, ${this.format(Math.max(...known))} at most` : "none"}`;
    });
    this.drawing.setAttribute("aria-label", `${this.title}, the last ${minutes} min: ${words.join("; ")}. Arrow keys go through them.`);
  }

  /** The figures of one row beside the title. Where the latest is meant, one that is unknown now is the last known. */
  show(row, rows, isPointed) {
    for (const [index, [name]] of this.series.entries()) {
      const value = isPointed ? row[name] : rows.findLast((known) => known[name] !== null)?.[name];
      this.values[index].textContent = value === undefined || value === null ? "–" : this.format(value);
    }
    this.time.textContent = isPointed ? clock(row.at, { milliseconds: false }) : "now";
    this.line.setAttribute("visibility", isPointed ? "visible" : "hidden");
    if (isPointed) {
      this.line.setAttribute("x1", this.x(row));
      this.line.setAttribute("x2", this.x(row));
    }
  }
}

function curve(rows, name, x, y) {
  let path = "";
  let before = null;
  for (const row of rows) {
    if (row[name] === null) {
      before = null;
      continue;
    }
    // A point of its own is a line of no length, which round ends make a dot.
    path += before && row.at - before.at < GAP_MS ? `L${x(row)} ${y(row[name])}` : `M${x(row)} ${y(row[name])}h0.01`;
    before = row;
  }
  return path;
}

function bars(rows, name, x, y) {
  return rows.filter((row) => row[name]).map((row) => `M${x(row)} ${HEIGHT}V${y(row[name])}`).join("");
}

/** The next of 1, 2, 5, 10, 20, 50, … */
function niceTop(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [1, 2, 5, 10].find((step) => step * power >= value * 0.999);
}

function round(number) {
  return Math.round(number * 10) / 10;
}

function svg(tag, attributes, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}
