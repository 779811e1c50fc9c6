// One message as it is listed: where it came from, what it says of the history, its body.

import { drawBody } from "./body.js";
import { copy } from "./clipboard.js";
import { gettext } from "./language.js";
import { button, element, milliseconds, time } from "./page.js";

const COLOURS = 8;
const POSITION = /^.+-(\d+)$/;

/** Return the number of a colour for a topic, the same one at each visit. */
export function colourOf(destination) {
  let hash = 0;
  for (const character of destination) hash = (hash * 31 + character.codePointAt(0)) >>> 0;
  return hash % COLOURS;
}

export function drawMessage(item) {
  const { frame: { headers }, date, latency } = item;
  const body = drawBody(item);
  const drawn = element("li", {},
    element("div", { className: "line" },
      element("code", { className: "destination" }, headers.destination ?? gettext("no destination")),
      ...marksOf(headers),
      element("span", { className: "latency" }, latency === null ? "" : milliseconds(latency)),
      time(date)),
    body,
    element("div", { className: "line tools" }, headersOf(headers), ...acksOf(item),
      button(gettext("Copy"), (it) => copy(it, item.text, body), {
        className: "small", ariaLabel: gettext("Copy the body"),
      })));
  drawn.dataset.colour = colourOf(headers.destination ?? "");
  drawn.dataset.subscription = headers.subscription ?? "";
  return drawn;
}

/** Show how long it took, as soon as that is known. */
export function showLatency(item, latency) {
  item.latency = latency;
  const shown = item.element?.querySelector(".latency");
  if (shown) shown.textContent = milliseconds(latency);
}

/** What the headers say of the history: the position, and whether anything is missing before. */
function marksOf({ "message-id": id, recovered, reason, dropped, refused }) {
  const offset = POSITION.exec(id ?? "")?.[1];
  const marks = [];
  if (offset && !refused) marks.push(mark("position", `#${offset}`, gettext("position %(id)s", { id })));
  if (recovered === "true") marks.push(mark("good", gettext("recovered"), gettext("nothing is missing before it")));
  if (recovered === "false") {
    marks.push(mark("bad", gettext("lost: %(reason)s", { reason }), gettext("messages before it are missing")));
  }
  if (dropped) {
    marks.push(mark("bad", gettext("%(dropped)s dropped", { dropped }), gettext("this page read too slowly")));
  }
  if (refused) marks.push(mark("bad", refused, gettext("the gateway refused what this page asked for")));
  return marks;
}

export const mark = (mood, text, title) => element("span", { className: `mark ${mood}`, title }, text);

function headersOf(headers) {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  return element("details", {}, element("summary", {}, gettext("Headers")), element("pre", {}, lines.join("\n")));
}

/** The buttons that acknowledge a message, where its subscription wants that. */
function acksOf({ frame }) {
  if (!frame.headers.ack) return [];
  const buttons = element("span", { className: "acks" });
  for (const name of ["ACK", "NACK"]) {
    buttons.append(button(name, () => acknowledge(frame, name, buttons), { className: "small" }));
  }
  return [buttons];
}

function acknowledge(frame, name, buttons) {
  frame[name.toLowerCase()]();
  const { subscription } = frame.headers;
  let older = frame.cumulative ? buttons.closest("li") : null;
  while ((older = older?.nextElementSibling)) {
    if (older.dataset.subscription === subscription) older.querySelector(".acks")?.remove();
  }
  buttons.replaceWith(mark("good", name === "ACK" ? gettext("acknowledged") : gettext("refused by NACK"), ""));
}
