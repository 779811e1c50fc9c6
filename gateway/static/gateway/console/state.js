// The state line: green only where there is a session and the gateway is ready to serve it.

import { session } from "./connection.js";
import { byId, setText } from "./page.js";
import { readiness } from "./readiness.js";

let connection = { state: "disconnected", text: "Not connected" };

session.addEventListener("state", ({ detail }) => {
  connection = detail;
  show();
});
readiness.addEventListener("change", show);

function show() {
  const ready = readiness.reason === "";
  const degraded = connection.state === "connected" && !ready;
  byId("state").dataset.state = degraded ? "degraded" : connection.state;
  setText("state", connection.text);
  setText("state-reason", degraded ? (readiness.reason ?? "is the gateway ready?") : "");
}
