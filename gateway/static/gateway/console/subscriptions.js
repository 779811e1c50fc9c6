// The subscriptions: what is listed here is subscribed again in each new session, from where it was.

import { client, receive, session } from "./connection.js";
import { HeaderFields, isSecret } from "./headers.js";
import { gettext } from "./language.js";
import { colourOf, mark } from "./message.js";
import { button, byId, element, onSubmit, say, spaced } from "./page.js";
import { recall, remember } from "./settings.js";

const NO_RESUME = new Set(["no-history", "history-denied"]);
const STATES = {
  waiting: gettext("waiting"),
  subscribing: gettext("subscribing"),
  subscribed: gettext("subscribed"),
};
const ALSO = document.body.dataset.also?.split(" ") ?? []; // of a page that extends the console
const FIRST_TIME = ["/topic/toast", "/topic/greetings", ...ALSO].map((each) => [each, {}]);

const headerFields = new HeaderFields("subscribe-headers");
const subscriptions = new Map();
let subscribes = 0;

session.addEventListener("connected", () => {
  for (const subscription of subscriptions.values()) subscribe(subscription);
});
session.addEventListener("refused", ({ detail: { code, receipt } }) => {
  const subscription = [...subscriptions.values()].find((each) => each.receipt === receipt);
  if (receipt && subscription && code !== "unavailable") refuse(subscription, code);
});
session.addEventListener("closed", () => {
  for (const subscription of subscriptions.values()) showState(subscription, "waiting");
});

/** List a destination and subscribe to it; return whether it is a new one. */
export function addSubscription(destination, headers = {}) {
  if (subscriptions.has(destination)) return false;
  const subscription = listSubscription(destination, headers);
  subscriptions.set(destination, subscription);
  save();
  showState(subscription, "waiting");
  if (client.connected) subscribe(subscription);
  return true;
}

/** Subscribe unless that was done, and wait until everything arrives, or for so many ms. */
export function whenSubscribed(destination, ms) {
  addSubscription(destination);
  return new Promise((resolve, reject) => {
    const look = () => subscriptions.get(destination)?.item.dataset.state === "subscribed" && resolve();
    const late = () =>
      reject(new Error(gettext("Not subscribed to %(destination)s: connect first.", { destination })));
    session.addEventListener("subscribed", look, { signal: AbortSignal.timeout(ms) });
    setTimeout(late, client.active ? ms : 0);
    look();
  });
}

/** Subscribe to what was subscribed to at the last visit. */
export function restoreSubscriptions() {
  for (const [destination, headers] of recall("subscriptions", FIRST_TIME)) {
    addSubscription(destination, headers);
  }
}

function listSubscription(destination, headers) {
  const count = element("span", { className: "count" }, "0");
  const state = element("span", { className: "state" });
  const marks = element("span", { className: "marks" });
  const at = mark("position", "", gettext("its position in the history of the topic"));
  at.hidden = true;
  const given = Object.entries(headers).map(([name, value]) => `${name}: ${isSecret(name) ? "•••" : value}`);
  const subscription = { destination, headers, received: 0, position: null, count, state, at, marks };
  const remove = button(gettext("Unsubscribe"), () => unsubscribe(subscription), {
    className: "small", ariaLabel: gettext("Unsubscribe from %(destination)s", { destination }),
  });
  subscription.item = element("li", {},
    element("code", { className: "destination", title: given.join(", ") }, destination),
    element("small", {}, state, at, marks,
      ...given.map((text) => mark("position", text, gettext("a header of SUBSCRIBE")))),
    count, remove);
  Object.assign(subscription.item.dataset, { destination, colour: colourOf(destination) });
  byId("subscriptions").append(subscription.item);
  return subscription;
}

function subscribe(subscription) {
  const receipt = (subscription.receipt = `subscribe-${++subscribes}`);
  showState(subscription, "subscribing");
  client.watchForReceipt(receipt, (frame) => subscribed(subscription, frame.headers));
  const callback = (message) => receiveFor(subscription, message);
  const headers = { ...resumed(subscription), receipt };
  subscription.handle = client.subscribe(subscription.destination, callback, headers);
}

/** The headers of a SUBSCRIBE: those that were given, or, in a later session, where it stands. */
function resumed({ headers, position }) {
  if (position === null) return headers;
  const { replay, ...others } = headers;
  return { ...others, "last-message-id": position };
}

function subscribed(subscription, { position, recovered, reason }) {
  showState(subscription, "subscribed");
  standAt(subscription, position ?? null);
  subscription.marks.replaceChildren();
  if (recovered === "true") {
    subscription.marks.append(mark("good", gettext("recovered"), gettext("nothing was missed")));
  }
  if (recovered === "false") {
    const text = gettext("not recovered: %(reason)s", { reason });
    subscription.marks.append(mark("bad", text, gettext("messages are missing")));
  }
}

function receiveFor(subscription, message) {
  message.cumulative = subscription.headers.ack === "client";
  if (!message.headers.refused) {
    subscription.count.textContent = spaced(++subscription.received);
    if (subscription.position !== null) standAt(subscription, message.headers["message-id"]);
  }
  receive(message);
}

/** All after this position comes, also in the next session; null where there is no history. */
function standAt(subscription, position) {
  subscription.position = position;
  subscription.at.hidden = position === null;
  subscription.at.textContent = gettext("at %(position)s", { position });
}

function unsubscribe(subscription) {
  if (client.connected) subscription.handle.unsubscribe();
  removeSubscription(subscription);
  byId("subscribe-destination").focus();
}

function removeSubscription(subscription) {
  subscriptions.delete(subscription.destination);
  subscription.item.remove();
  save();
}

/** Forget what was refused, lest it be refused in each new session: the position, or all of it. */
function refuse(subscription, code) {
  if (NO_RESUME.has(code) && subscription.position !== null) {
    standAt(subscription, null);
    return;
  }
  removeSubscription(subscription);
  say("subscribe-result", "bad", gettext("Refused: %(reason)s", { reason: subscription.destination }));
}

function showState(subscription, state) {
  subscription.item.dataset.state = state;
  subscription.state.textContent = STATES[state];
  if (state === "subscribed") session.dispatchEvent(new CustomEvent("subscribed"));
}

function save() {
  const withoutSecrets = (headers) =>
    Object.fromEntries(Object.entries(headers).filter(([name]) => !isSecret(name)));
  remember("subscriptions", [...subscriptions.values()].map(
    ({ destination, headers }) => [destination, withoutSecrets(headers)]));
}

onSubmit("subscribe-form", () => {
  const destination = byId("subscribe-destination").value;
  const added = addSubscription(destination, headerFields.values);
  const already = gettext("There is a subscription to %(destination)s already.", { destination });
  say("subscribe-result", "bad", added ? "" : already);
  if (!added) return;
  byId("subscribe-form").reset();
  headerFields.clear();
});
