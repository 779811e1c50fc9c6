// The clipboard: copy a text, or select it where browsers allow no more than that.

import { gettext } from "./language.js";

const SAID_MS = 2000;

/** Copy a text and say so on the button; without HTTPS select the element that shows it. */
export async function copy(button, text, shown) {
  const before = (button.dataset.text ??= button.textContent);
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = gettext("Copied");
  } catch {
    getSelection().selectAllChildren(shown);
    button.textContent = gettext("Selected");
  }
  setTimeout(() => (button.textContent = before), SAID_MS);
}
