// Sending: a SEND frame from this session, which is done when its RECEIPT comes.

import { client, session } from "./connection.js";
import { HeaderFields } from "./headers.js";
import { gettext } from "./language.js";
import { sendStarted } from "./latency.js";
import { byId, clock, onSubmit, say, since } from "./page.js";
import { rememberField } from "./settings.js";

const headerFields = new HeaderFields("send-headers");
const pending = new Map(); // by the receipt that a SEND waits for: {resolve, reject}
let sends = 0;

/** Send, and return the receipt once it has come; rejected with why it will not come. */
export function send(destination, body, headers = {}) {
  if (!client.connected) return Promise.reject(new Error(gettext("Not connected: connect first.")));
  const receipt = `send-${++sends}`;
  const done = new Promise((resolve, reject) => pending.set(receipt, { resolve, reject }));
  client.watchForReceipt(receipt, () => settle(receipt, ({ resolve }) => resolve(receipt)));
  if (destination.startsWith("/topic/")) sendStarted(destination, body);
  client.publish({ destination, body, headers: { ...headers, receipt } });
  return done;
}

/** What the form now says. */
export const sendForm = () => ({
  destination: byId("send-destination").value,
  body: byId("send-body").value,
  headers: headerFields.values,
});

function settle(receipt, how) {
  if (pending.has(receipt)) how(pending.get(receipt));
  pending.delete(receipt);
}

session.addEventListener("refused", ({ detail: { receipt, message } }) => {
  settle(receipt, ({ reject }) => reject(new Error(gettext("Refused: %(reason)s", { reason: message }))));
});
session.addEventListener("closed", () => {
  for (const receipt of [...pending.keys()]) {
    settle(receipt, ({ reject }) =>
      reject(new Error(gettext("No RECEIPT came before the connection closed."))));
  }
});

onSubmit("send-form", async () => {
  const { destination, body, headers } = sendForm();
  const start = performance.now();
  say("send-result", "", gettext("Sent to %(destination)s, waiting for its RECEIPT…", { destination }));
  try {
    const receipt = await send(destination, body, headers);
    say("send-result", "good", gettext("RECEIPT %(receipt)s came at %(time)s, after %(duration)s.", {
      receipt, time: clock(), duration: since(start),
    }));
  } catch (error) {
    say("send-result", "bad", error.message);
  }
});

rememberField(byId("send-destination"));
rememberField(byId("send-body"));
