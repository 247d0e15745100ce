// Values as text, and whether two are the same.

const maxDepth = 20;

// format prints a value over as many lines as it needs. Sorted, two equal values have one text.
function format(value, sorted = false) {
  return print(value, "", sorted, []);
}

// brief is a value on one line, for messages.
function brief(value) {
  const text = format(value).replace(/,\n\s*([}\]])/g, " $1").replace(/\n\s*/g, " ");
  return text.length > 120 ? text.slice(0, 119) + "…" : text;
}

function print(value, indent, sorted, above) {
  switch (typeof value) {
    case "string": return JSON.stringify(value);
    case "number": return Object.is(value, -0) ? "-0" : String(value);
    case "bigint": return value + "n";
    case "function": return "[function" + (value.name ? " " + value.name : "") + "]";
    case "object": break;
    default: return String(value);
  }
  if (value === null) return "null";
  if (value[asymmetric]) return value.text;
  if (above.includes(value)) return "[circular]";
  if (above.length >= maxDepth) return "[deeper]";
  if (value instanceof Date) return "Date " + (isNaN(value) ? "invalid" : value.toISOString());
  if (value instanceof RegExp) return String(value);
  if (value instanceof Error) return "[" + value + "]";
  if (value instanceof Promise) return "[promise]";
  const inner = [...above, value], deeper = indent + "  ";
  const one = (v) => print(v, deeper, sorted, inner);
  const block = (open, lines, close) => lines.length === 0 ? open + close : open + "\n" + lines.map((l) => deeper + l + ",\n").join("") + indent + close;
  if (Array.isArray(value)) return block("[", Array.from(value, one), "]");
  if (ArrayBuffer.isView(value) && !(value instanceof DataView)) return block(kindOf(value) + " [", Array.from(value, String), "]");
  if (value instanceof Map) return block("Map {", Array.from(value, ([k, v]) => one(k) + " => " + one(v)), "}");
  if (value instanceof Set) return block("Set {", Array.from(value, one), "}");
  const names = Object.keys(value);
  if (sorted) names.sort();
  const kind = kindOf(value);
  return block(kind === "Object" ? "{" : kind + " {", names.map((n) => (/^[A-Za-z_$][\w$]*$/.test(n) ? n : JSON.stringify(n)) + ": " + one(value[n])), "}");
}

function kindOf(value) {
  const made = Object.getPrototypeOf(value)?.constructor;
  return typeof made === "function" && made.name ? made.name : "Object";
}

// asymmetric marks what stands for many values, such as expect.any(Number).
const asymmetric = Symbol("asymmetric");

// equal compares what is inside. With partial, fields that are not in b may be in a.
function equal(a, b, partial = false, above = []) {
  if (b !== null && typeof b === "object" && b[asymmetric]) return b.matches(a);
  if (a !== null && typeof a === "object" && a[asymmetric]) return a.matches(b);
  if (Object.is(a, b)) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (above.some(([x, y]) => x === a && y === b)) return true; // a circle in both
  const inner = [...above, [a, b]];
  const same = (x, y) => equal(x, y, partial, inner);
  if (a instanceof Date || b instanceof Date) return a instanceof Date && b instanceof Date && Object.is(a.getTime(), b.getTime());
  if (a instanceof RegExp || b instanceof RegExp) return a instanceof RegExp && b instanceof RegExp && String(a) === String(b);
  if (a instanceof Error || b instanceof Error) return a instanceof Error && b instanceof Error && a.name === b.name && a.message === b.message;
  if (Array.isArray(a) !== Array.isArray(b) || ArrayBuffer.isView(a) !== ArrayBuffer.isView(b)) return false;
  if (Array.isArray(a) || ArrayBuffer.isView(a)) {
    if (a.length !== b.length) return false;
    for (let i = 0; i < a.length; i++) if (!same(a[i], b[i])) return false;
    return true;
  }
  if (a instanceof Map || b instanceof Map) return a instanceof Map && b instanceof Map && a.size === b.size && [...b].every(([k, v]) => a.has(k) && same(a.get(k), v));
  if (a instanceof Set || b instanceof Set) return a instanceof Set && b instanceof Set && a.size === b.size && [...b].every((v) => a.has(v) || [...a].some((w) => same(w, v)));
  const given = (o) => Object.keys(o).filter((n) => o[n] !== undefined);
  if (!partial && given(a).some((n) => b[n] === undefined)) return false;
  return (partial ? Object.keys(b) : given(b)).every((n) => same(a[n], b[n]));
}
