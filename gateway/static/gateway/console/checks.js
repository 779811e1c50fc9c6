// The three checks: what the gateway is for, done with a button each, and green when it is true.

import { session } from "./connection.js";
import { copy } from "./clipboard.js";
import { gettext, gettextNodes } from "./language.js";
import { notification, notify } from "./notify.js";
import { byId, clock, loginLink, milliseconds, onClick, setText, since } from "./page.js";
import { send } from "./send.js";
import { recall, remember } from "./settings.js";
import { addSubscription, whenSubscribed } from "./subscriptions.js";

const ARRIVAL_MS = 5000;
const TOAST = { topic: "/topic/toast", message: "testing API endpoint" };
const GREETING = { topic: "/topic/greetings", message: "Test Message from Backend PubSub" };

const passed = new Set();
const arrived = new Map(); // what came on the topic of the first check: id, when

/** 1: a notification is posted, and the message with its id arrives. */
async function checkNotification() {
  show("notification", "running", "POST…");
  try {
    await whenSubscribed(TOAST.topic, ARRIVAL_MS);
    const start = performance.now();
    const { response, id } = await notify(notification(TOAST));
    if (!id) return failNotification(response);
    const at = await arrival(id);
    show("notification", "passed", gettext("Arrived %(duration)s after the POST, at %(time)s.", {
      duration: milliseconds(at - start), time: clock(),
    }));
  } catch (error) {
    show("notification", "failed", error.message);
  }
}

function failNotification({ status, statusText }) {
  const answer = `${status} ${statusText}`;
  show("notification", "failed", gettext("The answer is %(answer)s.", { answer }));
  if (![401, 403].includes(status)) return;
  byId("check-notification-result").replaceChildren(
    ...gettextNodes("The answer is %(answer)s. First %(link)s.", { answer, link: loginLink() }));
}

/** Return when the message with an id arrived, which may be before its sender has the answer. */
function arrival(id) {
  return new Promise((resolve, reject) => {
    const look = () => arrived.has(id) && resolve(arrived.get(id));
    const late = () =>
      reject(new Error(gettext("202, but no message came on %(topic)s.", { topic: TOAST.topic })));
    session.addEventListener("message", look, { signal: AbortSignal.timeout(ARRIVAL_MS) });
    setTimeout(late, ARRIVAL_MS);
    look();
  });
}

/** 3: a message is sent, and its RECEIPT says that Redis has taken it. */
async function checkSend() {
  const start = performance.now();
  show("send", "running", "SEND…");
  try {
    await send("/app/greet", "hello");
    show("send", "passed", gettext("RECEIPT after %(duration)s, at %(time)s: Redis took it.", {
      duration: since(start), time: clock(),
    }));
  } catch (error) {
    show("send", "failed", error.message);
  }
}

/** 2: what somebody publishes on Redis arrives; the page can't do that itself. */
function passRedis({ body }) {
  if (body !== GREETING.message) return;
  show("redis", "passed", gettext("It arrived at %(time)s.", { time: clock() }));
}

session.addEventListener("message", ({ detail: message }) => {
  const { destination, "message-id": id } = message.headers;
  if (destination === TOAST.topic) arrived.set(id, performance.now());
  if (arrived.size > 1000) arrived.delete(arrived.keys().next().value);
  if (destination === GREETING.topic) passRedis(message);
});

function show(name, state, text) {
  byId(`check-${name}`).dataset.state = state;
  setText(`check-${name}-result`, text);
  if (state === "passed") passed.add(name);
  else passed.delete(name);
  setText("checks-count", passed.size === 3
    ? gettext("all three passed")
    : gettext("%(count)s of 3 passed", { count: passed.size }));
}

onClick("check-notification-run", checkNotification);
onClick("check-send-run", checkSend);
for (const name of ["redis", "send"]) {
  const command = byId(`check-${name}-command`);
  onClick(`check-${name}-copy`, ({ currentTarget }) => copy(currentTarget, command.textContent, command));
}
onClick("check-redis-copy", () => {
  addSubscription(GREETING.topic);
  if (passed.has("redis")) return;
  show("redis", "running", gettext("Run it in a terminal: this turns green when the message arrives."));
});
byId("checks").open = recall("checks-open", true);
byId("checks").addEventListener("toggle", () => remember("checks-open", byId("checks").open));
