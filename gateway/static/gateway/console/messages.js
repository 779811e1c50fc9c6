// The list of messages: what came for this session, the newest on top; filtered, paused, exported.

import { session } from "./connection.js";
import { gettext } from "./language.js";
import { messageArrived } from "./latency.js";
import { Log } from "./log.js";
import { drawMessage, showLatency } from "./message.js";
import { byId, element, onClick, spaced } from "./page.js";
import { rememberField } from "./settings.js";

const MAX_MESSAGES = 200;

const log = new Log(byId("messages"), MAX_MESSAGES, drawMessage, showCounts);

session.addEventListener("message", ({ detail: frame }) => {
  const body = readBody(frame.binaryBody);
  const item = { date: new Date(), frame, ...body, latency: null };
  messageArrived(frame.headers, body.text, (latency) => showLatency(item, latency));
  log.add(item);
});
session.addEventListener("closed", () => {
  for (const { element: drawn } of log.kept) drawn?.querySelector(".acks")?.remove();
});

/** Return a body as text; what is not UTF-8 is base64, as in the gateway's API. */
function readBody(bytes) {
  try {
    return { text: new TextDecoder("utf-8", { fatal: true }).decode(bytes), encoding: null };
  } catch {
    const characters = Array.from(bytes, (byte) => String.fromCharCode(byte));
    return { text: btoa(characters.join("")), encoding: "base64" };
  }
}

function filter() {
  const wanted = byId("messages-filter").value.trim().toLowerCase();
  log.filter(({ frame, text }) =>
    `${frame.headers.destination}\n${text}`.toLowerCase().includes(wanted));
}

/** Download what is listed, each body as it came: a text, never read and written again. */
function exportListed() {
  const content = log.listed.map(({ date, frame, text, encoding, latency }) => ({
    time: date.toISOString(),
    destination: frame.headers.destination,
    headers: frame.headers,
    body: text,
    ...(encoding && { encoding }),
    ...(latency !== null && { latency_ms: Math.round(latency * 10) / 10 }),
  }));
  const file = new Blob([JSON.stringify(content, null, 2)], { type: "application/json" });
  const href = URL.createObjectURL(file);
  element("a", { href, download: "messages.json" }).click();
  setTimeout(() => URL.revokeObjectURL(href), 1000);
}

function showCounts() {
  const { total, kept, held, paused } = log;
  const dropped = total > kept.length + held.length;
  const filtered = byId("messages-filter").value.trim() !== "";
  byId("messages-count").textContent = countsText({ dropped, filtered }, {
    listed: log.listed.length, kept: kept.length, total: spaced(total),
  });
  byId("messages-pause").textContent = paused
    ? gettext("Resume (%(count)s new)", { count: held.length })
    : gettext("Pause");
  byId("messages-export").disabled = !log.listed.length;
}

function countsText({ dropped, filtered }, counts) {
  if (dropped && filtered) return gettext("%(listed)s listed, %(kept)s kept of %(total)s", counts);
  if (dropped) return gettext("%(kept)s kept of %(total)s", counts);
  if (filtered) return gettext("%(listed)s listed, %(total)s", counts);
  return counts.total;
}

rememberField(byId("messages-filter"));
byId("messages-filter").addEventListener("input", filter);
onClick("messages-pause", () => log.togglePause());
onClick("messages-export", exportListed);
onClick("messages-clear", () => log.clear());
filter();
