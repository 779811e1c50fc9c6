// The page: elements and texts (text nodes only, never HTML), forms, times.

import { gettext } from "./language.js";

export const byId = (id) => document.getElementById(id);
export const onClick = (id, action) => byId(id).addEventListener("click", action);

export function onSubmit(id, action) {
  byId(id).addEventListener("submit", (event) => {
    event.preventDefault();
    action();
  });
}

export function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/** Make a button that does something. */
export function button(text, action, properties = {}) {
  const made = element("button", { type: "button", ...properties }, text);
  made.addEventListener("click", () => action(made));
  return made;
}

/** Set a text that is read aloud when it changes. */
export function setText(id, text) {
  if (byId(id).textContent !== text) byId(id).textContent = text;
}

/** Show the result of a form. */
export function say(id, mood, ...content) {
  byId(id).className = `result ${mood}`;
  byId(id).replaceChildren(...content);
}

/** Return where somebody logs in, to come back here. */
export const loginLink = () => element("a", { href: document.body.dataset.login }, gettext("log in"));

export function clock(date = new Date()) {
  return `${date.toTimeString().slice(0, 8)}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}

export const time = (date) => element("time", { dateTime: date.toISOString() }, clock(date));
export const milliseconds = (duration) => `${Math.max(1, Math.round(duration))} ms`;
export const since = (start) => milliseconds(performance.now() - start);
export const spaced = (number) => String(number).replace(/\B(?=(\d{3})+$)/g, "\u202f");
