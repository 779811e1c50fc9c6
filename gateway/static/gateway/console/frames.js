// The log of frames: each frame as it is on the wire, sent or received, the newest on top.

import "../vendor/stompjs/stomp.umd.min.js";
import { isSecret } from "./headers.js";
import { gettext } from "./language.js";
import { Log } from "./log.js";
import { byId, element, onClick, spaced, time } from "./page.js";
import { beat } from "./pulse.js";

const { Parser } = globalThis.StompJs;

const MAX_FRAMES = 500;
const DIRECTIONS = { sent: gettext("sent"), received: gettext("received") };

const log = new Log(byId("frames"), MAX_FRAMES, draw, showCounts);

/** Log all frames that go through a WebSocket, in both directions. */
export function logFrames(socket) {
  const received = parserOf("received");
  const sent = parserOf("sent");
  const send = socket.send.bind(socket);
  socket.addEventListener("message", (event) => received.parseChunk(event.data));
  socket.send = (data) => {
    sent.parseChunk(data);
    send(data);
  };
}

const parserOf = (direction) => new Parser(
  (frame) => log.add({ ...frame, direction, date: new Date() }),
  () => beat(direction),
);

function draw(frame) {
  const raw = element("pre", {}, wireText(frame));
  const item = element("li", { className: frame.direction },
    element("details", {}, summaryOf(frame), raw));
  item.dataset.command = frame.command;
  return item;
}

function wireText({ command, headers, binaryBody }) {
  const lines = headers.map(([name, value]) => `${name}:${isSecret(name) ? "•••" : value}`);
  const body = new TextDecoder().decode(binaryBody);
  return [command, ...lines, "", body].join("\n").trimEnd();
}

function summaryOf({ direction, command, headers, date }) {
  const { destination, message, "receipt-id": receipt, id, session } = Object.fromEntries(headers);
  const about = destination ?? message ?? receipt ?? id ?? session ?? "";
  const arrow = direction === "sent" ? "→" : "←";
  return element("summary", { className: "line" },
    element("span", { className: "direction", title: DIRECTIONS[direction], role: "img", ariaLabel: DIRECTIONS[direction] }, arrow),
    element("b", {}, command),
    element("span", { className: "about" }, about),
    time(date),
  );
}

function showCounts() {
  const { total, kept, held, paused } = log;
  byId("frames-count").textContent = total > kept.length + held.length
    ? gettext("%(kept)s kept of %(total)s", { kept: kept.length, total: spaced(total) })
    : spaced(total);
  byId("frames-pause").textContent = paused
    ? gettext("Resume (%(count)s new)", { count: held.length })
    : gettext("Pause");
}

onClick("frames-pause", () => log.togglePause());
onClick("frames-clear", () => log.clear());
