// The latency of what this page itself published: from the call to the MESSAGE that came of it.
//
// A notification is known by the id in its answer, which may come after the message. A SEND has no
// id that comes back: it is the oldest one under way with that destination and body.

const FORGET_MS = 10_000;
const MAX_WAITING = 1000;

let sends = []; // {destination, body, start}
const seen = new Map(); // id of a message: {arrived, tell}
const starts = new Map(); // id of a notification: when it was posted

export function sendStarted(destination, body) {
  sends.push({ destination, body, start: performance.now() });
}

/** A notification was accepted: its message has come already, or will. */
export function notificationAccepted(id, start) {
  starts.set(id, start);
  trim(starts);
  seen.get(id)?.tell(seen.get(id).arrived - start);
}

/** A message came: call `tell` with its latency in ms, now or later, if it is one of ours. */
export function messageArrived({ "message-id": id, destination }, body, tell) {
  const arrived = performance.now();
  sends = sends.filter(({ start }) => arrived - start < FORGET_MS);
  const own = sends.findIndex((send) => send.destination === destination && send.body === body);
  if (own >= 0) return tell(arrived - sends.splice(own, 1)[0].start);
  if (starts.has(id)) return tell(arrived - starts.get(id));
  seen.set(id, { arrived, tell });
  trim(seen);
}

function trim(map) {
  if (map.size > MAX_WAITING) map.delete(map.keys().next().value);
}
