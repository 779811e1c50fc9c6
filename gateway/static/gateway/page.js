// Shared by the modules of the console: elements, texts (text nodes only, never HTML), times, lists.

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

/** Set a text that is read aloud when it changes. */
export function setText(id, text) {
  if (byId(id).textContent !== text) byId(id).textContent = text;
}

/** Show the result of a form. */
export function say(id, mood, ...content) {
  byId(id).className = `result ${mood}`;
  byId(id).replaceChildren(...content);
}

export function clock() {
  const now = new Date();
  return `${now.toTimeString().slice(0, 8)}.${String(now.getMilliseconds()).padStart(3, "0")}`;
}

export const time = () => element("time", { dateTime: new Date().toISOString() }, clock());
export const since = (start) => `${Math.max(1, Math.round(performance.now() - start))} ms`;

/** Put an item on top of a list, and drop the oldest ones beyond the limit. */
export function prependTo(list, item, limit) {
  list.prepend(item);
  while (list.childElementCount > limit) list.lastElementChild.remove();
}

/** Indent JSON objects and arrays, unless that would change more than white space. */
export function pretty(text) {
  if (!/^\s*[[{]/.test(text)) return text;
  try {
    const indented = JSON.stringify(JSON.parse(text), null, 2);
    const bare = (json) => json.replace(/\s/g, "");
    return bare(indented) === bare(text) ? indented : text;
  } catch {
    return text;
  }
}
