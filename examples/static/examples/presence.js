import "../gateway/vendor/stompjs/stomp.umd.min.js";
import { resuming } from "../realtime/resume.js";
import { connectHeaders, guest, showState } from "./guest.js";

const client = new StompJs.Client({
  brokerURL: `${location.origin.replace("http", "ws")}/stomp`,
  connectHeaders,
});
// After a reconnect nobody tells who came and went meanwhile: ask again.
const topics = resuming(client, { onLost: (topic) => topic.endsWith("/$presence") && ask() });
const links = [...document.querySelectorAll("nav a")];
const byId = (id) => document.getElementById(id);
const line = (text) => Object.assign(document.createElement("li"), { textContent: text });
let room, subscriptions = [], users = new Set(), changes = [];

function enter() {
  const link = links.find(({ hash }) => hash === location.hash) ?? links[0];
  for (const each of links) each.setAttribute("aria-current", each === link);
  for (const each of subscriptions) each.unsubscribe();
  room = link.hash.slice(1);
  users.clear();
  byId("events").replaceChildren();
  const topic = `/topic/examples/rooms/${room}`;
  subscriptions = [
    topics.subscribe(topic, () => {}), // who hears it is in the room
    topics.subscribe(`${topic}/$presence`, ({ body }) => change(JSON.parse(body))),
  ];
  subscriptions[1].started.then(ask);
  show();
}

/** Ask who is there, once all that changes from now on is heard. */
function ask() {
  const asked = room;
  changes = [];
  const answer = client.subscribe(`/app/examples/rooms/${asked}`, ({ body }) => {
    answer.unsubscribe();
    if (asked !== room) return;
    users = new Set(JSON.parse(body));
    changes.forEach(apply); // they may be newer than the answer
    show();
  });
}

function change(event) {
  changes.push(event);
  apply(event);
  byId("events").prepend(line(`${event.user} ${event.event === "join" ? "came" : "left"}`));
  show();
}

const apply = ({ event, user }) => users[event === "join" ? "add" : "delete"](user);

function show() {
  byId("count").textContent = users.size;
  const named = (user) => line(user === guest ? `${user} (you)` : user);
  byId("users").replaceChildren(...[...users].sort().map(named));
}

addEventListener("hashchange", enter);
showState(client);
enter();
client.activate();
