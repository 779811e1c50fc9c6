// The pulse: each heart-beat is seen, whichever side it comes from.

import { byId } from "./page.js";

const BEAT_MS = 600;
const STILL = matchMedia("(prefers-reduced-motion: reduce)");

const counts = { received: 0, sent: 0 };

/** Count a heart-beat of one direction, "received" or "sent", and show it. */
export function beat(direction) {
  byId(`heartbeats-${direction}`).textContent = ++counts[direction];
  if (STILL.matches) return;
  const swell = [{ transform: "scale(1)" }, { transform: "scale(1.45)" }, { transform: "scale(1)" }];
  byId("pulse").animate(swell, BEAT_MS);
}
