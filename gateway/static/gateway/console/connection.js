// The connection: one STOMP session after another, and the errors that end it.

import "../vendor/stompjs/stomp.umd.min.js";
import { addToBanner, hideBanner, showBanner } from "./banner.js";
import { logFrames } from "./frames.js";
import { HeaderFields } from "./headers.js";
import { gettext, gettextNodes } from "./language.js";
import { byId, element } from "./page.js";

const { Client, Versions } = globalThis.StompJs;

const LOGIN_CODES = new Set(["login-required", "authentication-failed", "login-ended"]);
const CLOSE_MEANINGS = {
  1000: gettext("as asked"),
  1002: gettext("a frame that is not allowed"),
  1006: gettext("no answer: the gateway is away, or refuses this page’s origin"),
  1008: gettext("access denied"),
  1009: gettext("too large"),
  1011: gettext("the gateway’s own fault"),
  1012: gettext("the gateway restarts"),
  4001: gettext("not available now"),
  4002: gettext("the gateway heard no heart-beat"),
  4003: gettext("this page reads too slowly"),
  4004: gettext("messages are lost for good"),
  4005: gettext("the login has come to its end"),
  4006: gettext("an operator ended the session"),
  4500: gettext("an operator ended the session, and asks to stay away"),
};

export const url = `${location.origin.replace(/^http/, "ws")}/stomp`;

/**
 * Tells what happens to the session: "state" ({state, text}), "connected", "refused" ({code,
 * receipt, message}: an ERROR frame, or a refusal that does not end it), "message" and "closed".
 */
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
  beforeConnect: () => showState("connecting", gettext("Connecting…")),
  onConnect: connected,
  onStompError: refused,
  onUnhandledMessage: receive,
  onWebSocketClose: closed,
});
const headers = new HeaderFields("connect-headers");
let refusal = null; // the text of the ERROR frame on the present WebSocket

export function connect() {
  const login = byId("login").value;
  const passcode = byId("passcode").value;
  const credentials = login ? { login, passcode } : {};
  client.connectHeaders = { host: location.hostname, ...headers.values, ...credentials };
  hideBanner();
  client.activate();
}

export function disconnect() {
  client.deactivate();
  showState("disconnected", client.webSocket ? gettext("Disconnecting…") : gettext("Not connected"));
}

/** Hand a MESSAGE to the list; one that says `refused` is the answer to what was not allowed. */
export function receive(message) {
  const { refused: code, "receipt-id": receipt } = message.headers;
  if (code) tell("refused", { code, receipt, message: message.body.trim() });
  tell("message", message);
}

function openSocket() {
  refusal = null;
  const socket = new WebSocket(url, Versions.default.protocolVersions());
  logFrames(socket);
  return socket;
}

function tell(name, detail) {
  session.dispatchEvent(new CustomEvent(name, { detail }));
}

function showState(state, text) {
  byId("connect").textContent = client.active ? gettext("Disconnect") : gettext("Connect");
  tell("state", { state, text });
}

function connected(frame) {
  const { session: id, version, "user-name": user } = frame.headers;
  showState("connected", user ? gettext("Connected as %(user)s", { user }) : gettext("Connected"));
  byId("session").replaceChildren(
    ...gettextNodes("Session %(id)s, STOMP %(version)s", { id: element("code", { title: id ?? "" }, id ?? "?"), version }));
  tell("connected");
}

function refused(frame) {
  const { code, "receipt-id": receipt } = frame.headers;
  const message = frame.body.trim() || frame.headers.message; // stompjs may leave escapes in headers
  const login = LOGIN_CODES.has(code);
  refusal = message;
  const title = gettext("ERROR frame: %(code)s", { code: code ?? gettext("no code") });
  showBanner({ title, message, advice: adviceFor(code), login });
  tell("refused", { code, receipt, message });
  if (login && code !== "login-ended") {
    byId("login-details").open = true;
    client.deactivate();
  }
}

function adviceFor(code) {
  if (code === "authentication-failed") {
    return gettext("Correct login and passcode above, or empty them to connect as whoever is logged in here.");
  }
  if (code === "login-required") {
    return gettext("Enter login and passcode above, or log in to this gateway.");
  }
  if (code === "dismissed") {
    return gettext("This page stays away until you connect it again.");
  }
  return gettext("The gateway closes the connection after each ERROR frame; this page connects again.");
}

function closed(event) {
  if (event.code >= 4500 && event.code <= 4999) client.deactivate(); // asked to stay away
  const text = closeText(event);
  if (refusal !== null) addToBanner(text);
  else if (client.active) {
    const advice = gettext("This page connects again.");
    showBanner({ title: gettext("The connection closed"), message: text, advice });
  }
  if (client.active) showState("waiting", gettext("Not connected, trying again…"));
  else showState(refusal !== null ? "refused" : "disconnected", gettext("Not connected"));
  byId("session").textContent = text;
  tell("closed");
}

function closeText({ code, reason }) {
  const meaning = CLOSE_MEANINGS[code] ?? gettext("no known reason");
  return reason && reason !== refusal
    ? gettext("WebSocket closed: code %(code)s (%(meaning)s), reason “%(reason)s”.", { code, meaning, reason })
    : gettext("WebSocket closed: code %(code)s (%(meaning)s).", { code, meaning });
}
