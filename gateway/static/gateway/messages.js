// The list of messages: what came for the subscriptions, the newest on top.

import { byId, element, prependTo, pretty, time } from "./page.js";

const MAX_MESSAGES = 200;
const LONG_CHARACTERS = 600;
const LONG_LINES = 10;

let count = 0;

export function showMessage(message) {
  const text = pretty(message.body);
  const body = element("pre", { className: "body" }, text);
  const item = element("li", {},
    element("div", { className: "line" }, element("code", {}, message.headers.destination), time()),
    body,
    ...(isLong(text) ? [clip(body)] : []),
    headersOf(message),
  );
  prependTo(byId("messages"), item, MAX_MESSAGES);
  byId("messages-count").textContent = ++count;
}

export function clearMessages() {
  byId("messages").replaceChildren();
  byId("messages-count").textContent = count = 0;
}

const isLong = (text) => text.length > LONG_CHARACTERS || text.split("\n").length > LONG_LINES;

/** Clip a long body, and return the button that shows all of it. */
function clip(body) {
  const button = element("button", { type: "button", className: "quiet" });
  const toggle = () => {
    const clipped = body.classList.toggle("clipped");
    button.textContent = clipped ? "Show all" : "Show less";
    button.ariaExpanded = !clipped;
  };
  button.addEventListener("click", toggle);
  toggle();
  return button;
}

function headersOf(message) {
  const lines = Object.entries(message.headers).map(([name, value]) => `${name}: ${value}`);
  const text = element("pre", {}, lines.join("\n"));
  return element("details", {}, element("summary", {}, "Headers"), text);
}
