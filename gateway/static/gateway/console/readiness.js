// The readiness of the gateway: /readyz, asked every 5 s while somebody looks at the page.

import { gettext } from "./language.js";

const EVERY_MS = 5000;
const ANSWER_MS = 4000;

/** Tells "change" when `reason` has changed. */
export const readiness = Object.assign(new EventTarget(), {
  /** Why the gateway is not ready: a text, "" if it is, null before the first answer. */
  reason: null,
});
let timer = null;

/** Ask now, and then every five seconds. */
export async function watchReadiness() {
  clearTimeout(timer);
  if (document.hidden) return;
  const reason = await whyNotReady();
  if (reason !== readiness.reason) {
    readiness.reason = reason;
    readiness.dispatchEvent(new Event("change"));
  }
  clearTimeout(timer);
  timer = setTimeout(watchReadiness, EVERY_MS);
}

async function whyNotReady() {
  try {
    const response = await fetch("/readyz", { signal: AbortSignal.timeout(ANSWER_MS) });
    if (response.ok) return "";
    const { detail } = await response.json().catch(() => ({}));
    return detail
      ? gettext("not ready: %(reason)s", { reason: detail })
      : gettext("/readyz answers %(status)s", { status: response.status });
  } catch {
    return gettext("/readyz does not answer");
  }
}

document.addEventListener("visibilitychange", watchReadiness);
