// The state line: green only where there is a session and the gateway is ready to serve it.

import { settleBanner } from "./banner.js";
import { session } from "./connection.js";
import { gettext } from "./language.js";
import { byId, setText } from "./page.js";
import { readiness } from "./readiness.js";

const STEADY_MS = 1000; // without Redis a session comes, and ends with its first SUBSCRIBE

let settling = null;
let connection = { state: "disconnected", text: gettext("Not connected") };

session.addEventListener("state", ({ detail }) => {
  connection = detail;
  show();
});
readiness.addEventListener("change", show);

function show() {
  const ready = readiness.reason === "";
  const connected = connection.state === "connected";
  const degraded = connected && !ready;
  clearTimeout(settling);
  if (connected && ready) settling = setTimeout(settleBanner, STEADY_MS);
  byId("state").dataset.state = degraded ? "degraded" : connection.state;
  setText("state", connection.text);
  setText("state-reason", degraded ? (readiness.reason ?? gettext("is the gateway ready?")) : "");
}
