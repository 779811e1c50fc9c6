import "../gateway/vendor/stompjs/stomp.umd.min.js";
import { resuming } from "../realtime/resume.js";
import { connectHeaders, guest, showState } from "./guest.js";

const client = new StompJs.Client({
  brokerURL: `${location.origin.replace("http", "ws")}/stomp`,
  connectHeaders,
});
const topics = resuming(client);
const board = document.getElementById("board");
const cursors = new Map(); // elements, by their users
let position = null, timer = null;

/** Send where the pointer is, 25 times a second at most, and always the last of it. */
function send(next) {
  position = next;
  timer ??= setTimeout(() => {
    timer = null;
    if (!client.connected) return;
    const destination = `/topic/examples/cursors/${encodeURIComponent(guest)}`;
    client.publish({ destination, body: JSON.stringify(position) });
  }, 40);
}

function show({ headers: { destination }, body }) {
  const user = decodeURIComponent(destination.split("/").at(-1));
  const where = JSON.parse(body);
  if (user === guest) return;
  if (!where) {
    remove(user);
    return;
  }
  const cursor = cursors.get(user) ?? add(user);
  cursor.style.left = `${where.x * 100}%`;
  cursor.style.top = `${where.y * 100}%`;
  clearTimeout(cursor.leaves);
  cursor.leaves = setTimeout(remove, 10_000, user); // its page may have gone without a word
}

function add(user) {
  const cursor = document.createElement("span");
  cursor.className = "cursor";
  cursor.textContent = user;
  cursor.style.setProperty("--hue", [...user].reduce((sum, each) => sum + each.charCodeAt(), 0) * 47 % 360);
  cursors.set(user, cursor);
  board.append(cursor);
  return cursor;
}

function remove(user) {
  cursors.get(user)?.remove();
  cursors.delete(user);
}

board.addEventListener("pointermove", (event) => {
  const { left, top, width, height } = board.getBoundingClientRect();
  send({ x: (event.clientX - left) / width, y: (event.clientY - top) / height });
});
board.addEventListener("pointerleave", () => send(null));
topics.subscribe("/topic/examples/cursors/*", show);
showState(client);
client.activate();
