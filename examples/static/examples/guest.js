// What all examples share: who this tab is, and whether it is connected.

const NAMES = ["ada", "bo", "cleo", "dai", "eve", "finn", "gus", "hana", "ivo", "jo", "kit", "lou"];

/** The name of this tab's guest; a page that is loaded anew keeps it. */
export const guest = (sessionStorage.guest ??=
  `${NAMES[Math.floor(Math.random() * NAMES.length)]}-${100 + Math.floor(Math.random() * 900)}`);

/** How a guest logs in. Pages of yours have a login already: its cookie does, without headers. */
export const connectHeaders = { login: guest, passcode: "guest" };

/** Tell in the head of the page how the connection is. */
export function showState(client) {
  document.getElementById("guest").textContent = guest;
  client.onConnect = () => say("connected", "Connected");
  client.onWebSocketClose = () => say("waiting", "Not connected, trying again");
  client.onStompError = ({ headers, body }) => console.warn(body || headers.message);
}

function say(state, text) {
  const element = document.getElementById("state");
  element.dataset.state = state;
  element.textContent = text;
}
