// HeaderFields: headers of one kind of frame, the useful ones offered, any other added by name.

import { gettext } from "./language.js";
import { button, byId, element } from "./page.js";
import { recall, remember } from "./settings.js";

const SECRET_HEADERS = new Set(["passcode", "authorization", "ticket", "token", "cookie"]);

/** Return whether a header is neither shown nor remembered. */
export const isSecret = (name) => SECRET_HEADERS.has(name.trim().toLowerCase());

/** What is offered, by the id of the fields: name, an example, and values to choose from. */
const OFFERED = {
  "connect-headers": [
    ["authorization", "Bearer TOKEN"],
    ["ticket", gettext("from POST /api/ticket")],
    ["x-soft-errors", "true", ["true"]],
  ],
  "subscribe-headers": [
    ["ack", "client-individual", ["auto", "client", "client-individual"]],
    ["replay", gettext("10, or all"), ["10", "all"]],
    ["last-message-id", gettext("a position")],
    ["token", gettext("signed for the destination")],
    ["prefetch-count", "10"],
  ],
  "send-headers": [
    ["reply-to", "/temp-queue/answers", ["/temp-queue/answers"]],
    ["content-type", "application/json", ["application/json", "text/plain"]],
    ["idempotency-key", gettext("any text")],
  ],
};

const valueOf = (name) => (name ? gettext("Value of %(name)s", { name }) : gettext("Value of the header"));

export class HeaderFields {
  /** Make the fields within the `details` of that id; what is not secret comes back next time. */
  constructor(id) {
    this.id = id;
    this.rows = element("div", { className: "header-rows" });
    const offers = OFFERED[id].map(([name, example, values]) =>
      button(name, () => this.add(name, "", { example, values }).focus(), { className: "chip" }));
    const other = button(gettext("other…"), () => this.add("", "").focus(), { className: "chip" });
    byId(id).append(this.rows,
      element("div", { className: "chips" }, element("span", {}, gettext("Add")), ...offers, other));
    this.rows.addEventListener("input", () => this.changed());
    for (const [name, value] of recall(id, [])) this.add(name, value);
    this.changed();
  }

  /** The headers that have a name and a value. */
  get values() {
    return Object.fromEntries(this.pairs);
  }

  get pairs() {
    const rows = [...this.rows.children].map((row) => [...row.querySelectorAll("input")]);
    return rows.map((inputs) => inputs.map((input) => input.value.trim()))
      .filter(([name, value]) => name && value);
  }

  clear() {
    this.rows.replaceChildren();
    this.changed();
  }

  /** Add a row, and return the field of it that has to be filled in. */
  add(name, value, { example = gettext("value"), values = [] } = {}) {
    const options = { autocomplete: "off", spellcheck: false, autocapitalize: "none" };
    const nameField = element("input", {
      ...options, value: name, placeholder: gettext("header"), ariaLabel: gettext("Header"),
    });
    const valueField = element("input", { ...options, value, placeholder: example, ariaLabel: valueOf(name) });
    if (isSecret(name)) valueField.type = "password";
    nameField.addEventListener("input", () => {
      valueField.type = isSecret(nameField.value) ? "password" : "text";
      valueField.ariaLabel = valueOf(nameField.value);
    });
    const row = element("div", { className: "row" }, nameField, valueField);
    const ariaLabel = name ? gettext("Remove %(name)s", { name }) : gettext("Remove the header");
    row.append(button("×", () => this.remove(row), { ariaLabel, className: "remove" }));
    if (values.length) this.offer(valueField, row, name, values);
    this.rows.append(row);
    this.changed();
    return name ? valueField : nameField;
  }

  offer(field, row, name, values) {
    const id = `${this.id}-${name}`;
    row.append(element("datalist", { id }, ...values.map((value) => element("option", { value }))));
    field.setAttribute("list", id);
  }

  remove(row) {
    row.remove();
    this.changed();
    byId(this.id).querySelector(".chip").focus();
  }

  changed() {
    const shown = this.pairs.length;
    byId(this.id).querySelector("summary").textContent = shown
      ? gettext("Headers (%(count)s)", { count: shown })
      : gettext("Headers");
    remember(this.id, this.pairs.filter(([name]) => !isSecret(name)));
    byId(this.id).dispatchEvent(new Event("change"));
  }
}
