// Shown: values as people read them; realtime/nodes/figures.py does the same.

const UNITS = [["d", 86_400], ["h", 3600], ["min", 60], ["s", 1]];
const BYTES = ["bytes", "KB", "MB", "GB", "TB"];

function duration(seconds) {
  const [unit, size] = UNITS.find(([, each]) => seconds >= each) ?? ["s", 1];
  return `${Math.max(0, Math.floor(seconds / size))} ${unit}`;
}

function number(value) {
  const digits = Math.abs(value) < 10 && !Number.isInteger(value) ? 1 : 0;
  return value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

function bytes(value) {
  if (value < 1024) return `${Math.floor(value)} ${Math.floor(value) === 1 ? "byte" : "bytes"}`;
  const power = Math.min(BYTES.length - 1, Math.floor(Math.log2(value) / 10));
  return `${(value / 1024 ** power).toFixed(1)} ${BYTES[power]}`;
}

const KINDS = {
  text: String,
  node: (value) => value.replace(/-[^-]*$/, ""),
  number,
  bytes,
  ms: (value) => `${number(value)} ms`,
  percent: (value) => `${Math.round(100 * value)} %`,
  counts: (value) => Object.keys(value).sort().map((name) => `${name} ${number(value[name])}`).join(", ") || "0",
  age: (value) => duration(Date.now() / 1000 - value),
};

/** Return a value as its kind is shown. */
export const shown = (value, kind) => (value == null ? "–" : KINDS[kind](value));

/** Return what is at a path such as "worst.delivery_ms.1", or undefined. */
export const at = (content, path) => path.split(".").reduce((value, name) => value?.[name], content);
