// The connection: one STOMP session after another, its state, and the errors that end it.

import "./vendor/stompjs/stomp.umd.min.js";
import { logFrames } from "./frames.js";
import { byId, element, setText } from "./page.js";

const { Client, Versions } = globalThis.StompJs;

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

export const url = `${location.origin.replace(/^http/, "ws")}/stomp`;

/** Tells what happens to the session: "connected", "refused" (an ERROR frame) and "closed". */
export const session = new EventTarget();

export const client = new Client({
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

export function connect() {
  const login = byId("login").value;
  client.connectHeaders = { host: location.hostname };
  if (login) Object.assign(client.connectHeaders, { login, passcode: byId("passcode").value });
  hideError();
  client.activate();
}

export function disconnect() {
  client.deactivate();
  showState("disconnected", client.webSocket ? "Disconnecting…" : "Not connected");
}

export function hideError() {
  errorStays = false;
  byId("error").hidden = true;
}

function openSocket() {
  errorCame = false;
  const socket = new WebSocket(url, Versions.default.protocolVersions());
  logFrames(socket);
  return socket;
}

function tell(name, detail) {
  session.dispatchEvent(new CustomEvent(name, { detail }));
}

function connected(frame) {
  const { session: id, version, "user-name": user } = frame.headers;
  showState("connected", user ? `Connected as ${user}` : "Connected");
  byId("session").replaceChildren("Session ", element("code", {}, id ?? "?"), `, STOMP ${version}`);
  if (!errorStays) hideError();
  tell("connected");
}

function refused(frame) {
  const { code, "receipt-id": receipt } = frame.headers;
  const message = frame.body.trim() || frame.headers.message; // stompjs may leave escapes in headers
  const needsLogin = LOGIN_CODES.has(code);
  errorCame = true;
  errorStays = client.connected;
  showError(`ERROR frame: ${code ?? "no code"}`, message, needsLogin
    ? "Enter login and passcode above, or log in to this gateway, then connect."
    : "The gateway closes the connection after each ERROR frame; this page connects again.");
  tell("refused", { code, receipt, message });
  if (needsLogin) {
    byId("login-details").open = true;
    client.deactivate();
  }
}

function closed(event) {
  const text = closeText(event);
  if (errorCame) setText("error-close", text);
  else if (client.active) showError("The connection closed", text, "This page connects again.");
  if (client.active) showState("waiting", "Not connected, trying again…");
  else showState(errorCame ? "refused" : "disconnected", "Not connected");
  byId("session").textContent = text;
  tell("closed");
}

function closeText({ code, reason }) {
  const meaning = CLOSE_MEANINGS[code] ?? "no known reason";
  const told = errorCame && reason === byId("error-message").textContent;
  const because = reason && !told ? `, reason “${reason}”` : "";
  return `WebSocket closed: code ${code} (${meaning})${because}.`;
}

function showState(state, text) {
  byId("state").dataset.state = state;
  setText("state", text);
  byId("connect").textContent = client.active ? "Disconnect" : "Connect";
}

function showError(title, message, advice) {
  const texts = { "error-title": title, "error-message": message, "error-advice": advice };
  for (const [id, text] of Object.entries(texts)) setText(id, text);
  setText("error-close", "");
  byId("error").hidden = false;
}
