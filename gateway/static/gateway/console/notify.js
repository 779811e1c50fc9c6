// Notifying: POST /api/notification, as a service does it.

import { isJson } from "./json.js";
import { gettext, gettextNodes } from "./language.js";
import { notificationAccepted } from "./latency.js";
import { byId, element, loginLink, onSubmit, say, since } from "./page.js";
import { rememberField } from "./settings.js";

/** Post a notification; return {response, text, id} or throw if no answer came. */
export async function notify(content) {
  const start = performance.now();
  const headers = { "Content-Type": "application/json", Accept: "application/json" };
  const token = /(?:^|; )csrftoken=([^;]*)/.exec(document.cookie)?.[1];
  if (token) headers["X-CSRFToken"] = token;
  const response = await post({ method: "POST", headers, body: content });
  const text = await response.text();
  const id = response.ok ? JSON.parse(text).id : null;
  if (id) notificationAccepted(id, start);
  return { response, text, id };
}

async function post(request) {
  try {
    return await fetch(byId("notify-form").action, request);
  } catch { // it says no more, in words that differ from browser to browser
    throw new Error(gettext("No answer: the gateway is away."));
  }
}

/** Return the JSON of a notification; a message that is JSON stays as it is written. */
export const notification = ({ topic, message, json }) =>
  `{"topic": ${JSON.stringify(topic)}, "message": ${json ? message.trim() : JSON.stringify(message)}}`;

/** What the form now says. */
export const notifyForm = () => ({
  topic: byId("notify-topic").value,
  message: byId("notify-message").value,
  json: byId("notify-json").checked,
});

/** Tell whether the message is the JSON that the form says it is, where it is written. */
function checkMessage() {
  const { message, json } = notifyForm();
  byId("notify-message").setCustomValidity(json && !isJson(message) ? gettext("This is not JSON.") : "");
}

function answerText({ status, statusText }, duration) {
  const values = { answer: `${status} ${statusText}`, duration, link: loginLink() };
  return [401, 403].includes(status)
    ? gettextNodes("%(answer)s, after %(duration)s: %(link)s first.", values)
    : gettextNodes("%(answer)s, after %(duration)s", values);
}

onSubmit("notify-form", async () => {
  const start = performance.now();
  say("notify-result", "", gettext("Waiting for the answer…"));
  try {
    const { response, text } = await notify(notification(notifyForm()));
    say("notify-result", response.ok ? "good" : "bad",
      ...answerText(response, since(start)), element("pre", {}, text));
  } catch (error) {
    say("notify-result", "bad", error.message);
  }
});

for (const id of ["notify-topic", "notify-message", "notify-json"]) {
  rememberField(byId(id));
  byId(id).addEventListener("input", checkMessage);
}
checkMessage();
