// Charts: lines of the last minutes, as SVG, which needs neither styles nor scripts within the page.

import { shown } from "./shown.js";

const SVG = "http://www.w3.org/2000/svg";
const MOST_SECONDS = 180;
const LEAST_SECONDS = 30;
const WIDTH = 300;
const HEIGHT = 42;

function shape(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

/** One line; values that are not known leave a gap. */
export class Chart {
  #points = []; // of [seconds, value]
  #area = shape("path", { class: "area" });
  #line = shape("path", { class: "line" });
  #span = document.createElement("span");
  #most = document.createElement("span");

  constructor(figure) {
    this.kind = figure.dataset.kind;
    this.path = figure.dataset.path;
    this.label = figure.querySelector("figcaption").textContent;
    const view = { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" };
    this.svg = shape("svg", view);
    this.svg.append(this.#area, this.#line);
    const axis = document.createElement("p");
    axis.append(this.#span, this.#most);
    figure.querySelector(".plot").append(this.svg, axis);
  }

  add(seconds, value) {
    this.#points.push([seconds, value ?? null]);
    while (this.#points[0][0] < seconds - MOST_SECONDS) this.#points.shift();
    this.#draw(seconds);
  }

  #draw(now) {
    const values = this.#points.map(([, value]) => value).filter((value) => value !== null);
    const most = Math.max(...values, 0);
    const span = Math.max(LEAST_SECONDS, now - this.#points[0][0]);
    const place = ([seconds, value]) => [
      WIDTH * (1 - (now - seconds) / span),
      HEIGHT * (1 - (most ? value / most : 0) * 0.95),
    ];
    const runs = this.#runs().map((run) => run.map(place));
    const line = (run) => `M${run.map((point) => point.map((each) => each.toFixed(1)).join(" ")).join("L")}`;
    const end = (run) => `L${run.at(-1)[0].toFixed(1)} ${HEIGHT}L${run[0][0].toFixed(1)} ${HEIGHT}Z`;
    this.#line.setAttribute("d", runs.map(line).join(""));
    this.#area.setAttribute("d", runs.map((run) => line(run) + end(run)).join(""));
    this.#tell(span, values.length ? `at most ${shown(most, this.kind)}` : "");
  }

  #tell(span, most) {
    const during = `last ${span < 90 ? `${Math.round(span)} s` : `${Math.round(span / 60)} min`}`;
    this.#span.textContent = during;
    this.#most.textContent = most;
    this.svg.setAttribute("aria-label", `${this.label}, ${during}: ${most || "not known"}`);
  }

  /** Return the points in pieces, cut where a value is not known or nothing came for a while. */
  #runs() {
    const runs = [];
    let before = -Infinity;
    for (const point of this.#points) {
      if (point[1] === null) continue;
      if (point[0] - before > 7) runs.push([]);
      runs.at(-1).push(point);
      before = point[0];
    }
    return runs;
  }
}
