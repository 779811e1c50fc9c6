// The copies: one click copies the form as curl, redis-cli, Python or JavaScript, and shows it.

import { copy } from "./clipboard.js";
import { notifyForm } from "./notify.js";
import { byId } from "./page.js";
import { sendForm } from "./send.js";
import { recall, remember } from "./settings.js";
import { NOTIFY_SNIPPETS, SEND_SNIPPETS } from "./snippets.js";

const buttons = [...document.querySelectorAll("[data-snippet]")];
const code = byId("snippet");
let language = recall("snippet", "curl");

function snippet() {
  return byId("notify-panel").hidden
    ? SEND_SNIPPETS[language](sendForm())
    : NOTIFY_SNIPPETS[language](notifyForm());
}

function show() {
  code.textContent = snippet();
  for (const each of buttons) each.ariaPressed = String(each.dataset.snippet === language);
}

for (const each of buttons) {
  each.addEventListener("click", () => {
    language = each.dataset.snippet;
    remember("snippet", language);
    show();
    copy(each, code.textContent, code);
  });
}
for (const name of ["input", "change"]) byId("publish").addEventListener(name, show);
for (const id of ["publish-tabs", "send-headers"]) byId(id).addEventListener("change", show);
show();
