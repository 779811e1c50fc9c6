// The overview: what the nodes tell each two seconds, by STOMP, as long as somebody looks.

import "../vendor/stompjs/stomp.umd.min.js";
import { Chart } from "./charts.js";
import { at, shown } from "./shown.js";

const STALE_SECONDS = 7;

const { Client, Versions } = globalThis.StompJs;
const byId = (id) => document.getElementById(id);
const charts = [...document.querySelectorAll(".chart")].map((figure) => new Chart(figure));
const columns = [...document.querySelectorAll("#nodes thead th")];
let heardAt = 0; // when news came last, on the clock of this page

const client = new Client({
  webSocketFactory: () =>
    new WebSocket(`${location.origin.replace(/^http/, "ws")}/stomp`, Versions.default.protocolVersions()),
  connectHeaders: { host: location.hostname },
  reconnectDelay: 2000,
  heartbeatIncoming: 5000,
  heartbeatOutgoing: 30_000,
  onConnect: () => client.subscribe(byId("overview").dataset.topic, (frame) => show(JSON.parse(frame.body))),
  onStompError: ({ headers }) => say("stale", `Not live: ${headers.message}`),
  onWebSocketClose: () => client.active && !stale() && say("waiting", "Not connected, trying again…"),
});

function say(state, text) {
  byId("news").dataset.state = state;
  byId("news").textContent = text;
}

const stale = () => heardAt > 0 && (performance.now() - heardAt) / 1000 > STALE_SECONDS;

function show(content) {
  heardAt = performance.now();
  say("live", `Live, ${new Date(content.at * 1000).toISOString().slice(11, 19)} UTC`);
  draw(content);
  list("problems-of-nodes", content.problems);
  byId("nodes").tBodies[0].replaceChildren(...content.nodes.map(row));
}

function draw(content) {
  for (const place of document.querySelectorAll("#overview :is(dd, p)[data-path]"))
    place.textContent = shown(at(content, place.dataset.path), place.dataset.kind);
  for (const chart of charts) chart.add(content.at, at(content, chart.path));
}

function list(id, problems) {
  byId(id).replaceChildren(...problems.map((problem) => {
    const item = document.createElement("li");
    item.textContent = problem;
    return item;
  }));
  showWhetherFine();
}

function showWhetherFine() {
  const lists = [...document.querySelectorAll("#overview .problems")];
  for (const each of lists) each.hidden = !each.childElementCount;
  byId("fine").hidden = lists.some((each) => !each.hidden);
}

function row(node) {
  const made = document.createElement("tr");
  made.append(...columns.map((column, number) => {
    const { path, kind } = column.dataset;
    const cell = document.createElement(number ? "td" : "th");
    cell.textContent = shown(at(node, path), kind);
    if (number) Object.assign(cell, { className: kind }).dataset.label = column.textContent;
    else Object.assign(cell, { scope: "row", title: node.id });
    return cell;
  }));
  return made;
}

function look() {
  if (document.hidden) client.deactivate();
  else client.activate();
}

const first = JSON.parse(byId("overview-content").textContent);
if (first.at) draw(first);
document.addEventListener("visibilitychange", look);
look();
setInterval(() => {
  if (stale() && !document.hidden) say("stale", `No news for ${Math.floor((performance.now() - heardAt) / 1000)} s`);
}, 1000);
document.addEventListener("refreshed", showWhetherFine); // what the nodes do not tell: of bridges
