// The banner: what went wrong, in red as long as it is wrong, and for a moment after that.

import { gettext } from "./language.js";
import { byId, clock, onClick, setText } from "./page.js";

const READ_MS = 10_000;

let hiding = null;

/** Show what went wrong; with `login`, the way to the login page too. */
export function showBanner({ title, message, advice, login = false }) {
  clearTimeout(hiding);
  setText("error-title", title);
  setText("error-message", message);
  setText("error-advice", advice);
  setText("error-close", "");
  byId("error-login").hidden = !login;
  byId("error").dataset.over = "false";
  byId("error").hidden = false;
}

/** Add how the connection closed. */
export const addToBanner = (text) => setText("error-close", text);

/** The cause is gone: no red any more, and soon no banner. */
export function settleBanner() {
  if (byId("error").hidden || byId("error").dataset.over === "true") return;
  byId("error").dataset.over = "true";
  byId("error-login").hidden = true;
  setText("error-advice", gettext("Over since %(time)s: connected again.", { time: clock() }));
  hiding = setTimeout(hideBanner, READ_MS);
}

export function hideBanner() {
  clearTimeout(hiding);
  byId("error").hidden = true;
}

onClick("error-dismiss", hideBanner);
