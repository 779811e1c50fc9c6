// The settings: what the page remembers for the next visit. Nothing secret comes here.

const KEY = "stomp-gateway-console";

export function recall(name, otherwise) {
  return read()[name] ?? otherwise;
}

export function remember(name, value) {
  try {
    localStorage.setItem(KEY, JSON.stringify({ ...read(), [name]: value }));
  } catch {
    // The browser keeps nothing: the page works, and begins anew at each visit.
  }
}

export function forgetAll() {
  try {
    localStorage.removeItem(KEY);
  } catch {
    // There was nothing to forget.
  }
}

/** Fill a field with what stood in it last time, and remember what is entered. */
export function rememberField(field) {
  const property = field.type === "checkbox" ? "checked" : "value";
  field[property] = recall(field.id, field[property]);
  field.addEventListener("input", () => remember(field.id, field[property]));
}

function read() {
  try {
    return JSON.parse(localStorage.getItem(KEY)) ?? {};
  } catch {
    return {};
  }
}
