import "../gateway/vendor/stompjs/stomp.umd.min.js";
import { resuming } from "../realtime/resume.js";
import { connectHeaders, showState } from "./guest.js";

const SECONDS = 60;
const shown = []; // the numbers of the last minute
let received = 0, missing = 0, last = Infinity;

const client = new StompJs.Client({
  brokerURL: `${location.origin.replace("http", "ws")}/stomp`,
  connectHeaders,
});
resuming(client).subscribe("/topic/examples/dashboard", show, { replay: String(SECONDS) });

function show({ body }) {
  const numbers = JSON.parse(body);
  shown.push(numbers);
  if (shown.length > SECONDS) shown.shift();
  document.querySelectorAll("[data-field]").forEach(draw);
  missing += Math.max(0, numbers.number - last - 1); // the service counts what it publishes
  last = numbers.number;
  document.getElementById("received").textContent = ++received;
  document.getElementById("missing").textContent = missing;
}

function draw(figure) {
  const values = shown.map((numbers) => numbers[figure.dataset.field]);
  const scale = 38 / Math.max(1, ...values);
  const points = values.map((value, at) => `${at + SECONDS - values.length},${39 - value * scale}`);
  figure.querySelector("b").textContent = values.at(-1);
  figure.querySelector("polyline").setAttribute("points", points.join(" "));
}

document.getElementById("cut").addEventListener("click", () => client.forceDisconnect());
showState(client);
client.activate();
