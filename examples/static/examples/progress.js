import "../gateway/vendor/stompjs/stomp.umd.min.js";
import { resuming } from "../realtime/resume.js";
import { connectHeaders, showState } from "./guest.js";

const client = new StompJs.Client({
  brokerURL: `${location.origin.replace("http", "ws")}/stomp`,
  connectHeaders,
  onUnhandledMessage: replied, // a reply belongs to no subscription of the page's
});
const topics = resuming(client);

document.getElementById("start").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!client.connected) return;
  const body = JSON.stringify({ seconds: event.target.seconds.value });
  const headers = { "reply-to": "/temp-queue/jobs" };
  client.publish({ destination: "/app/examples/jobs", headers, body });
});

/** The job has begun, and tells on a topic how far it is; or what was asked for can't be. */
function replied({ headers: { error }, body }) {
  const answer = JSON.parse(body || "{}");
  document.getElementById("problem").textContent = error ? answer.seconds ?? error : "";
  if (!error) location.hash = answer.topic; // where a page that is loaded anew finds it
}

function follow() {
  const topic = location.hash.slice(1);
  if (!topic) return;
  const bar = Object.assign(document.createElement("progress"), { max: 100, ariaLabel: "The job" });
  const text = document.createElement("span");
  document.getElementById("jobs").prepend(bar, text);
  // What was told last before, and all after it: nothing is missed, however fast the job is.
  topics.subscribe(topic, ({ body }) => {
    bar.value = JSON.parse(body).percent;
    text.textContent = bar.value < 100 ? `${bar.value} %` : "done";
  }, { replay: "1" });
}

addEventListener("hashchange", follow);
showState(client);
follow();
client.activate();
