// The body of a message: JSON as a tree and as it came, a long text with its end folded away.

import { drawTree, isTree, readTree } from "./json.js";
import { gettext } from "./language.js";
import { button, element } from "./page.js";

const LONG_CHARACTERS = 600;
const LONG_LINES = 10;

/** Return the element of a body: `text`, and `encoding` if it was not UTF-8. */
export function drawBody({ text, encoding }) {
  const tree = encoding ? null : isTree(text) && readTree(text);
  const raw = element("pre", { className: "raw" }, text);
  const body = element("div", { className: "body" }, raw);
  if (encoding) body.prepend(element("small", {}, gettext("not UTF-8, shown as %(encoding)s", { encoding })));
  if (tree) showTree(body, raw, tree);
  else if (isLong(text)) body.append(clip(raw));
  return body;
}

/** Show the tree, with a button that shows the text as it came, and back. */
function showTree(body, raw, tree) {
  const drawn = element("div", { className: "tree" }, drawTree(tree));
  const toggle = button(gettext("Raw"), () => {
    raw.hidden = !raw.hidden;
    drawn.hidden = !raw.hidden;
    toggle.textContent = raw.hidden ? gettext("Raw") : gettext("Tree");
  }, { className: "small toggle" });
  raw.hidden = true;
  body.append(drawn, toggle);
}

const isLong = (text) => text.length > LONG_CHARACTERS || text.split("\n").length > LONG_LINES;

/** Clip a long text, and return the button that shows all of it. */
function clip(raw) {
  const toggle = button("", () => {
    const clipped = raw.classList.toggle("clipped");
    toggle.textContent = clipped ? gettext("Show all") : gettext("Show less");
    toggle.ariaExpanded = String(!clipped);
  }, { className: "small" });
  toggle.click();
  return toggle;
}
