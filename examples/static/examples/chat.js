import "../gateway/vendor/stompjs/stomp.umd.min.js";
import { resuming } from "../realtime/resume.js";
import { connectHeaders, guest, showState } from "./guest.js";

const client = new StompJs.Client({
  brokerURL: `${location.origin.replace("http", "ws")}/stomp`,
  connectHeaders,
});
const topics = resuming(client, { onLost: () => note("Some messages are missing here.") });
const rooms = [...document.querySelectorAll("nav a")];
const messages = document.getElementById("messages");
let topic, subscription;

function enter() {
  const room = rooms.find(({ hash }) => hash === location.hash) ?? rooms[0];
  for (const each of rooms) each.setAttribute("aria-current", each === room);
  subscription?.unsubscribe();
  messages.replaceChildren();
  topic = `/topic/examples/chat/${room.hash.slice(1)}`;
  subscription = topics.subscribe(topic, show, { replay: "20" });
}

function show({ headers: { sender }, body }) {
  const name = document.createElement("b");
  name.textContent = sender;
  note(name, body).className = sender === guest ? "own" : "";
}

function note(...content) {
  const item = document.createElement("li");
  item.append(...content); // texts stay texts, whatever is in them
  messages.append(item);
  messages.scrollTop = messages.scrollHeight;
  return item;
}

document.getElementById("say").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!client.connected) return; // what was typed stays
  client.publish({ destination: topic, body: event.target.text.value });
  event.target.reset();
});
addEventListener("hashchange", enter);
showState(client);
enter();
client.activate();
