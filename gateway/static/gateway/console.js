// The console: one STOMP session, and everything that passes through it.
// Text from the network becomes text nodes only, never HTML.

import "./vendor/stompjs/stomp.umd.min.js";

const { Client, Parser, Versions } = globalThis.StompJs;

const MAX_MESSAGES = 200;
const MAX_FRAMES = 500;
const SECRET_HEADERS = new Set(["passcode", "authorization"]);
const LOGIN_CODES = new Set(["login-required", "authentication-failed"]);
const CLOSE_MEANINGS = {
  1000: "as asked",
  1002: "a frame that is not allowed",
  1006: "no answer: the gateway is away, or refuses this page's origin",
  1008: "access denied",
  1009: "too large",
  1012: "the gateway restarts",
  4001: "not available now",
  4002: "the gateway heard no heart-beat",
  4003: "this page reads too slowly",
};

const $ = (id) => document.getElementById(id);
const url = `${location.origin.replace(/^http/, "ws")}/stomp`;

function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function clock() {
  const now = new Date();
  return `${now.toTimeString().slice(0, 8)}.${String(now.getMilliseconds()).padStart(3, "0")}`;
}

const time = () => element("time", { dateTime: new Date().toISOString() }, clock());
const since = (start) => `${Math.max(1, Math.round(performance.now() - start))} ms`;

function say(id, mood, ...content) {
  $(id).className = `result ${mood}`;
  $(id).replaceChildren(...content);
}

/** Set a text that is read aloud when it changes. */
function setText(id, text) {
  if ($(id).textContent !== text) $(id).textContent = text;
}

function prependTo(list, item, max) {
  list.prepend(item);
  while (list.childElementCount > max) list.lastElementChild.remove();
}

/** Indent JSON objects and arrays, unless that would change more than white space. */
function pretty(text) {
  if (!/^\s*[[{]/.test(text)) return text;
  try {
    const indented = JSON.stringify(JSON.parse(text), null, 2);
    const bare = (json) => json.replace(/\s/g, "");
    return bare(indented) === bare(text) ? indented : text;
  } catch {
    return text;
  }
}

// The connection

const client = new Client({
  webSocketFactory: openSocket,
  connectionTimeout: 10_000,
  reconnectDelay: 2000,
  reconnectTimeMode: 1, // exponential, until a session is there
  maxReconnectDelay: 10_000,
  heartbeatIncoming: 2000,
  heartbeatToleranceMultiplier: 3,
  heartbeatOutgoing: 30_000, // browsers run the timers of a hidden page once a minute
  beforeConnect: () => showState("connecting", "Connecting…"),
  onConnect: connected,
  onStompError: refused,
  onWebSocketClose: closed,
});
let errorCame = false; // on the present WebSocket
let errorStays = false; // until it is dismissed, not only until there is a session

/** Open the WebSocket, and log each frame that goes through it as it is on the wire. */
function openSocket() {
  errorCame = false;
  const socket = new WebSocket(url, Versions.default.protocolVersions());
  const received = frameParser("received");
  const sent = frameParser("sent");
  const send = socket.send.bind(socket);
  socket.addEventListener("message", (event) => received.parseChunk(event.data));
  socket.send = (data) => {
    sent.parseChunk(data);
    send(data);
  };
  return socket;
}

function connect() {
  const login = $("login").value;
  client.connectHeaders = { host: location.hostname };
  if (login) Object.assign(client.connectHeaders, { login, passcode: $("passcode").value });
  hideError();
  client.activate();
}

function disconnect() {
  client.deactivate();
  showState("disconnected", client.webSocket ? "Disconnecting…" : "Not connected");
}

function connected(frame) {
  const { session, version, "user-name": user } = frame.headers;
  showState("connected", user ? `Connected as ${user}` : "Connected");
  $("session").replaceChildren("Session ", element("code", {}, session ?? "?"), `, STOMP ${version}`);
  if (!errorStays) hideError();
  for (const subscription of subscriptions.values()) subscribe(subscription);
}

function refused(frame) {
  const { code, "receipt-id": receipt } = frame.headers;
  const message = frame.body.trim() || frame.headers.message; // stompjs may leave escapes in headers
  const needsLogin = LOGIN_CODES.has(code);
  errorCame = true;
  errorStays = client.connected;
  showError(`ERROR frame: ${code ?? "no code"}`, message, needsLogin
    ? "Enter login and passcode above, or log in to the admin, then connect."
    : "The gateway closes the connection after each ERROR frame; this page connects again.");
  settleSend(receipt, `Refused: ${message}`);
  if (code !== "unavailable") dropSubscription(receipt);
  if (needsLogin) {
    $("login-details").open = true;
    client.deactivate();
  }
}

function closed(event) {
  const meaning = CLOSE_MEANINGS[event.code] ?? "no known reason";
  const told = errorCame && event.reason === $("error-message").textContent;
  const reason = event.reason && !told ? `, reason “${event.reason}”` : "";
  const text = `WebSocket closed: code ${event.code} (${meaning})${reason}.`;
  if (errorCame) setText("error-close", text);
  else if (client.active) showError("The connection closed", text, "This page connects again.");
  if (client.active) showState("waiting", "Not connected, trying again…");
  else showState(errorCame ? "refused" : "disconnected", "Not connected");
  $("session").textContent = text;
  settleSend(pendingSend, "No RECEIPT came before the connection closed.");
  for (const subscription of subscriptions.values()) showSubscription(subscription, "waiting");
}

function showState(state, text) {
  $("state").dataset.state = state;
  setText("state", text);
  $("connect").textContent = client.active ? "Disconnect" : "Connect";
}

function showError(title, message, advice) {
  const texts = { "error-title": title, "error-message": message, "error-advice": advice };
  for (const [id, text] of Object.entries(texts)) setText(id, text);
  setText("error-close", "");
  $("error").hidden = false;
}

function hideError() {
  errorStays = false;
  $("error").hidden = true;
}

// Subscriptions: what is listed here is subscribed again in each new session.

const subscriptions = new Map();
let subscribes = 0;

function addSubscription(destination) {
  if (subscriptions.has(destination)) return false;
  const ariaLabel = `Unsubscribe from ${destination}`;
  const remove = element("button", { type: "button", ariaLabel }, "Unsubscribe");
  const subscription = {
    destination,
    received: 0,
    count: element("span", { className: "count" }, "0"),
    state: element("span", { className: "state" }),
  };
  const about = element("small", {}, subscription.state, ", messages: ", subscription.count);
  subscription.item = element("li", {}, element("code", {}, destination), about, remove);
  subscription.item.dataset.destination = destination;
  remove.addEventListener("click", () => {
    if (client.connected) subscription.handle.unsubscribe();
    removeSubscription(subscription);
    $("subscribe-destination").focus();
  });
  subscriptions.set(destination, subscription);
  $("subscriptions").append(subscription.item);
  showSubscription(subscription, "waiting");
  if (client.connected) subscribe(subscription);
  return true;
}

function subscribe(subscription) {
  const receipt = (subscription.receipt = `subscribe-${++subscribes}`);
  showSubscription(subscription, "subscribing");
  client.watchForReceipt(receipt, () => showSubscription(subscription, "subscribed"));
  const callback = (message) => showMessage(message, subscription);
  subscription.handle = client.subscribe(subscription.destination, callback, { receipt });
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

function showSubscription(subscription, state) {
  subscription.item.dataset.state = state;
  subscription.state.textContent = state;
}

// Send and notify

let pendingSend = null;
let sends = 0;

function send() {
  if (!client.connected) return say("send-result", "bad", "Not connected: connect first.");
  const destination = $("send-destination").value;
  const receipt = `send-${++sends}`;
  const start = performance.now();
  pendingSend = receipt;
  say("send-result", "", `Sent to ${destination}, waiting for RECEIPT ${receipt}…`);
  client.watchForReceipt(receipt, () => {
    if (pendingSend === receipt) pendingSend = null;
    say("send-result", "good", `RECEIPT ${receipt} came at ${clock()}, after ${since(start)}.`);
  });
  client.publish({ destination, body: $("send-body").value, headers: { receipt } });
}

function settleSend(receipt, text) {
  if (!receipt || pendingSend !== receipt) return;
  pendingSend = null;
  say("send-result", "bad", text);
}

async function notify() {
  const start = performance.now();
  const content = { topic: $("notify-topic").value, message: $("notify-message").value };
  const headers = { "Content-Type": "application/json", Accept: "application/json" };
  const token = /(?:^|; )csrftoken=([^;]*)/.exec(document.cookie)?.[1];
  if (token) headers["X-CSRFToken"] = token;
  say("notify-result", "", "Waiting for the answer…");
  try {
    const request = { method: "POST", headers, body: JSON.stringify(content) };
    const response = await fetch($("notify-form").action, request);
    const answer = element("pre", {}, pretty(await response.text()));
    const status = `${response.status} ${response.statusText}, after ${since(start)}`;
    const denied = [401, 403].includes(response.status) && " Log in to the admin first.";
    say("notify-result", response.ok ? "good" : "bad", status, denied || "", answer);
  } catch (error) {
    say("notify-result", "bad", `No answer: ${error.message}`);
  }
}

// Messages

let messages = 0;

function showMessage(message, subscription) {
  subscription.count.textContent = ++subscription.received;
  $("messages-count").textContent = ++messages;
  const text = pretty(message.body);
  const body = element("pre", { className: "body" }, text);
  const names = Object.entries(message.headers).map(([name, value]) => `${name}: ${value}`);
  const item = element("li", {},
    element("div", { className: "line" }, element("code", {}, message.headers.destination), time()),
    body,
    ...(text.length > 600 || text.split("\n").length > 10 ? [clip(body)] : []),
    element("details", {}, element("summary", {}, "Headers"), element("pre", {}, names.join("\n"))),
  );
  prependTo($("messages"), item, MAX_MESSAGES);
}

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

// Frames

const held = element("ol"); // what came while the log is paused
const counts = { frames: 0, received: 0, sent: 0 };
let paused = false;

const frameParser = (direction) => new Parser(
  (frame) => showFrame(direction, frame),
  () => ($(`heartbeats-${direction}`).textContent = ++counts[direction]),
);

function showFrame(direction, { command, headers, binaryBody }) {
  const lines = headers.map(([name, value]) => `${name}:${SECRET_HEADERS.has(name) ? "•••" : value}`);
  const body = new TextDecoder().decode(binaryBody);
  const { destination, message, "receipt-id": receipt, id, session } = Object.fromEntries(headers);
  const summary = element("summary", { className: "line" },
    element("span", { className: "direction", title: direction, role: "img", ariaLabel: direction },
      direction === "sent" ? "→" : "←"),
    element("b", {}, command),
    element("span", { className: "about" }, destination ?? message ?? receipt ?? id ?? session ?? ""),
    time(),
  );
  const raw = element("pre", {}, [command, ...lines, "", body].join("\n").trimEnd());
  const item = element("li", { className: direction }, element("details", {}, summary, raw));
  item.dataset.command = command;
  prependTo(paused ? held : $("frames"), item, MAX_FRAMES);
  $("frames-count").textContent = ++counts.frames;
  if (paused) $("frames-pause").textContent = `Resume (${held.childElementCount} new)`;
}

function togglePause() {
  paused = !paused;
  $("frames-pause").textContent = paused ? "Resume" : "Pause";
  for (const item of [...held.children].reverse()) prependTo($("frames"), item, MAX_FRAMES);
}

function clearFrames() {
  held.replaceChildren();
  $("frames").replaceChildren();
  $("frames-count").textContent = counts.frames = 0;
}

// The page

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

function onSubmit(id, action) {
  $(id).addEventListener("submit", (event) => {
    event.preventDefault();
    action();
  });
}

const onClick = (id, action) => $(id).addEventListener("click", action);

onClick("connect", () => (client.active ? disconnect() : connect()));
onClick("error-dismiss", hideError);
onClick("frames-pause", togglePause);
onClick("frames-clear", clearFrames);
onClick("messages-clear", () => {
  $("messages").replaceChildren();
  $("messages-count").textContent = messages = 0;
});
onSubmit("login-form", () => {
  disconnect();
  connect();
});
onSubmit("subscribe-form", () => {
  const destination = $("subscribe-destination").value;
  const added = addSubscription(destination);
  say("subscribe-result", "bad", added ? "" : `There is a subscription to ${destination} already.`);
  if (added) $("subscribe-form").reset();
});
onSubmit("send-form", send);
onSubmit("notify-form", notify);
for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", () => copy(button));
}
for (const span of document.querySelectorAll("[data-origin]")) span.textContent = location.origin;
$("url").textContent = url;
addSubscription("/topic/toast");
addSubscription("/topic/greetings");
connect();
