// The subscriptions: what is listed here is subscribed again in each new session.

import { client, session } from "./connection.js";
import { showMessage } from "./messages.js";
import { byId, element, say } from "./page.js";

const subscriptions = new Map();
let subscribes = 0;

session.addEventListener("connected", () => {
  for (const subscription of subscriptions.values()) subscribe(subscription);
});
session.addEventListener("refused", ({ detail: { code, receipt } }) => {
  if (code !== "unavailable") dropSubscription(receipt);
});
session.addEventListener("closed", () => {
  for (const subscription of subscriptions.values()) showState(subscription, "waiting");
});

/** List a destination and subscribe to it; return whether it is a new one. */
export function addSubscription(destination) {
  if (subscriptions.has(destination)) return false;
  const subscription = listSubscription(destination);
  subscriptions.set(destination, subscription);
  showState(subscription, "waiting");
  if (client.connected) subscribe(subscription);
  return true;
}

function listSubscription(destination) {
  const count = element("span", { className: "count" }, "0");
  const state = element("span", { className: "state" });
  const about = element("small", {}, state, ", messages: ", count);
  const ariaLabel = `Unsubscribe from ${destination}`;
  const remove = element("button", { type: "button", ariaLabel }, "Unsubscribe");
  const item = element("li", {}, element("code", {}, destination), about, remove);
  const subscription = { destination, received: 0, count, state, item };
  item.dataset.destination = destination;
  remove.addEventListener("click", () => unsubscribe(subscription));
  byId("subscriptions").append(item);
  return subscription;
}

function subscribe(subscription) {
  const receipt = (subscription.receipt = `subscribe-${++subscribes}`);
  showState(subscription, "subscribing");
  client.watchForReceipt(receipt, () => showState(subscription, "subscribed"));
  const callback = (message) => receive(subscription, message);
  subscription.handle = client.subscribe(subscription.destination, callback, { receipt });
}

function receive(subscription, message) {
  subscription.count.textContent = ++subscription.received;
  showMessage(message);
}

function unsubscribe(subscription) {
  if (client.connected) subscription.handle.unsubscribe();
  removeSubscription(subscription);
  byId("subscribe-destination").focus();
}

function removeSubscription(subscription) {
  subscriptions.delete(subscription.destination);
  subscription.item.remove();
}

/** Forget the subscription that was refused, lest it be refused in each new session. */
function dropSubscription(receipt) {
  const subscription = [...subscriptions.values()].find((each) => each.receipt === receipt);
  if (!receipt || !subscription) return;
  removeSubscription(subscription);
  say("subscribe-result", "bad", `Refused: ${subscription.destination}`);
}

function showState(subscription, state) {
  subscription.item.dataset.state = state;
  subscription.state.textContent = state;
}
