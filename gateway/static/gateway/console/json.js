// A JSON text as a tree that opens and closes; every literal stays as it was written.
//
// JSON.parse would round 9007199254740993 and drop a repeated key, so the text itself is cut.

import { element } from "./page.js";

const TOKEN = /"(?:[^"\\]|\\.)*"|[[\]{}:,]|[^\s[\]{}:,"]+/g;
const MAX_DEPTH = 100;
const OPEN_DEPTH = 2;
const OPEN_ENTRIES = 20;

/** Return whether a text is a JSON object or array. */
export const isTree = (text) => /^\s*[[{]/.test(text) && isJson(text);

export function isJson(text) {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/**
 * Return the tree of a text for which isTree holds: {open, close, entries: [{key, value}]} for
 * objects and arrays, else the literal; or null if it is nested too deeply to be looked at.
 */
export function readTree(text) {
  const tokens = text.match(TOKEN);
  let next = 0;
  const read = (depth) => {
    const open = tokens[next++];
    if (open !== "{" && open !== "[") return open;
    if (depth > MAX_DEPTH) throw new RangeError("nested too deeply");
    const entries = [];
    while (!"]}".includes(tokens[next])) {
      if (tokens[next] === ",") next += 1;
      const key = open === "{" ? tokens[next] : null;
      if (key !== null) next += 2; // and the colon
      entries.push({ key, value: read(depth + 1) });
    }
    return { open, close: tokens[next++], entries };
  };
  try {
    return read(0);
  } catch {
    return null;
  }
}

/** Return the elements of a tree; what is closed is made when it is opened. */
export function drawTree(value, key = null, depth = 0) {
  const name = key === null ? [] : [element("span", { className: "key" }, key), ": "];
  if (typeof value === "string") return element("div", {}, ...name, literal(value));
  const { open, close, entries } = value;
  if (!entries.length) return element("div", {}, ...name, open + close);
  const summary = element("summary", {}, ...name, open,
    element("span", { className: "size" }, ` ${entries.length} `), close);
  const node = element("details", {}, summary);
  const fill = () => {
    if (node.childElementCount > 1) return;
    node.append(...entries.map((entry) => drawTree(entry.value, entry.key, depth + 1)));
  };
  node.addEventListener("toggle", fill, { once: true });
  node.open = depth < OPEN_DEPTH && entries.length <= OPEN_ENTRIES;
  if (node.open) fill();
  return node;
}

function literal(text) {
  const className = text.startsWith('"') ? "string" : "number";
  return element("span", { className }, text);
}
