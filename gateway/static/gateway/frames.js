// The log of frames: each frame as it is on the wire, sent or received, the newest on top.

import "./vendor/stompjs/stomp.umd.min.js";
import { byId, element, prependTo, time } from "./page.js";

const { Parser } = globalThis.StompJs;

const MAX_FRAMES = 500;
const SECRET_HEADERS = new Set(["passcode", "authorization"]);

const held = element("ol"); // what came while the log is paused
const counts = { frames: 0, received: 0, sent: 0 };
let paused = false;

/** Log all frames that go through a WebSocket, in both directions. */
export function logFrames(socket) {
  const received = frameParser("received");
  const sent = frameParser("sent");
  const send = socket.send.bind(socket);
  socket.addEventListener("message", (event) => received.parseChunk(event.data));
  socket.send = (data) => {
    sent.parseChunk(data);
    send(data);
  };
}

export function togglePause() {
  paused = !paused;
  byId("frames-pause").textContent = paused ? "Resume" : "Pause";
  for (const item of [...held.children].reverse()) prependTo(byId("frames"), item, MAX_FRAMES);
}

export function clearFrames() {
  held.replaceChildren();
  byId("frames").replaceChildren();
  byId("frames-count").textContent = counts.frames = 0;
}

const frameParser = (direction) => new Parser(
  (frame) => showFrame(direction, frame),
  () => (byId(`heartbeats-${direction}`).textContent = ++counts[direction]),
);

function showFrame(direction, frame) {
  const raw = element("pre", {}, wireText(frame));
  const item = element("li", { className: direction },
    element("details", {}, summaryOf(direction, frame), raw));
  item.dataset.command = frame.command;
  prependTo(paused ? held : byId("frames"), item, MAX_FRAMES);
  byId("frames-count").textContent = ++counts.frames;
  if (paused) byId("frames-pause").textContent = `Resume (${held.childElementCount} new)`;
}

function wireText({ command, headers, binaryBody }) {
  const lines = headers.map(([name, value]) => `${name}:${SECRET_HEADERS.has(name) ? "•••" : value}`);
  const body = new TextDecoder().decode(binaryBody);
  return [command, ...lines, "", body].join("\n").trimEnd();
}

function summaryOf(direction, { command, headers }) {
  const { destination, message, "receipt-id": receipt, id, session } = Object.fromEntries(headers);
  const about = destination ?? message ?? receipt ?? id ?? session ?? "";
  const arrow = direction === "sent" ? "→" : "←";
  return element("summary", { className: "line" },
    element("span", { className: "direction", title: direction, role: "img", ariaLabel: direction }, arrow),
    element("b", {}, command),
    element("span", { className: "about" }, about),
    time(),
  );
}
