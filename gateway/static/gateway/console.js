// The console: its forms and buttons; the modules beside this one do the rest.

import { client, connect, disconnect, hideError, session, url } from "./connection.js";
import { clearFrames, togglePause } from "./frames.js";
import { clearMessages } from "./messages.js";
import { byId, clock, element, onClick, onSubmit, pretty, say, since } from "./page.js";
import { addSubscription } from "./subscriptions.js";

// Log in and subscribe

function connectAgain() {
  disconnect();
  connect();
}

function subscribe() {
  const destination = byId("subscribe-destination").value;
  const added = addSubscription(destination);
  say("subscribe-result", "bad", added ? "" : `There is a subscription to ${destination} already.`);
  if (added) byId("subscribe-form").reset();
}

// Send

let pendingSend = null;
let sends = 0;

function send() {
  if (!client.connected) return say("send-result", "bad", "Not connected: connect first.");
  const destination = byId("send-destination").value;
  const receipt = `send-${++sends}`;
  const start = performance.now();
  pendingSend = receipt;
  say("send-result", "", `Sent to ${destination}, waiting for RECEIPT ${receipt}…`);
  client.watchForReceipt(receipt, () => {
    if (pendingSend === receipt) pendingSend = null;
    say("send-result", "good", `RECEIPT ${receipt} came at ${clock()}, after ${since(start)}.`);
  });
  client.publish({ destination, body: byId("send-body").value, headers: { receipt } });
}

function settleSend(receipt, text) {
  if (!receipt || pendingSend !== receipt) return;
  pendingSend = null;
  say("send-result", "bad", text);
}

session.addEventListener("refused", ({ detail: { receipt, message } }) => {
  settleSend(receipt, `Refused: ${message}`);
});
session.addEventListener("closed", () => {
  settleSend(pendingSend, "No RECEIPT came before the connection closed.");
});

// Notify

async function notify() {
  const start = performance.now();
  say("notify-result", "", "Waiting for the answer…");
  try {
    const response = await postNotification();
    const answer = element("pre", {}, pretty(await response.text()));
    const status = `${response.status} ${response.statusText}, after ${since(start)}`;
    const denied = [401, 403].includes(response.status) && " Log in first.";
    say("notify-result", response.ok ? "good" : "bad", status, denied || "", answer);
  } catch (error) {
    say("notify-result", "bad", `No answer: ${error.message}`);
  }
}

function postNotification() {
  const content = { topic: byId("notify-topic").value, message: byId("notify-message").value };
  const headers = { "Content-Type": "application/json", Accept: "application/json" };
  const token = /(?:^|; )csrftoken=([^;]*)/.exec(document.cookie)?.[1];
  if (token) headers["X-CSRFToken"] = token;
  return fetch(byId("notify-form").action, { method: "POST", headers, body: JSON.stringify(content) });
}

// Copy

async function copy(button) {
  const code = button.parentElement.querySelector("code");
  getSelection().selectAllChildren(code);
  try {
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Selected: copy it with the keyboard"; // no clipboard without HTTPS
  }
  setTimeout(() => (button.textContent = "Copy"), 2000);
}

// The page

onClick("connect", () => (client.active ? disconnect() : connect()));
onClick("error-dismiss", hideError);
onClick("frames-pause", togglePause);
onClick("frames-clear", clearFrames);
onClick("messages-clear", clearMessages);
onSubmit("login-form", connectAgain);
onSubmit("subscribe-form", subscribe);
onSubmit("send-form", send);
onSubmit("notify-form", notify);
for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", () => copy(button));
}
for (const span of document.querySelectorAll("[data-origin]")) span.textContent = location.origin;
byId("url").textContent = url;
addSubscription("/topic/toast");
addSubscription("/topic/greetings");
connect();
