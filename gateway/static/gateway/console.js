// The console: each module beside it has one part of the page; here they begin.

import "./console/checks.js";
import { client, connect, disconnect, url } from "./console/connection.js";
import "./console/messages.js";
import { byId, onClick, onSubmit } from "./console/page.js";
import { watchReadiness } from "./console/readiness.js";
import { forgetAll } from "./console/settings.js";
import "./console/state.js";
import { restoreSubscriptions } from "./console/subscriptions.js";
import { makeTabs } from "./console/tabs.js";
import "./console/copies.js";

function connectAgain() {
  disconnect();
  connect();
}

makeTabs(byId("publish-tabs"));
onClick("connect", () => (client.active ? disconnect() : connect()));
onSubmit("login-form", connectAgain);
onClick("forget", () => {
  forgetAll();
  location.reload();
});
byId("url").textContent = url;
restoreSubscriptions();
watchReadiness();
connect();
