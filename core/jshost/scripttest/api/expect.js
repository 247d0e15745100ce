// expect(value).toBe(…) and its like. What is not as expected throws, with what to show.

class AssertionError extends Error {
  constructor(message, detail) {
    super(message);
    this.name = "AssertionError";
    Object.defineProperty(this, "detail", { value: detail });
  }
}

// wanted and got, as two texts whose difference is shown.
const both = (expected, received) => ({ expected: format(expected, true), received: format(received, true) });
const note = (...lines) => ({ note: lines.join("\n") });

const count = (received, name) => {
  if (typeof received !== "number" && typeof received !== "bigint") throw new AssertionError(name + " compares numbers", note("received: " + brief(received)));
};

const comparison = (name, holds) => (received, [than]) => {
  count(received, name);
  return { pass: holds(received, than), detail: note("expected: " + name.replace("toBe", "").replace(/[A-Z]/g, (c) => " " + c.toLowerCase()).trim() + " " + brief(than), "received: " + brief(received)) };
};

const being = (text, holds) => (received) => ({ pass: holds(received), detail: note("expected: " + text, "received: " + brief(received)) });

function at(value, path) {
  for (const name of path.split(".")) {
    if (value === null || value === undefined || !(name in Object(value))) return { found: false };
    value = value[name];
  }
  return { found: true, value };
}

function fits(text, expected) {
  return expected instanceof RegExp ? new RegExp(expected.source, expected.flags.replace(/[gy]/g, "")).test(text) : text.includes(expected);
}

function thrownFits(thrown, expected) {
  if (expected === undefined) return true;
  if (typeof expected === "function") return thrown instanceof expected;
  return fits(String(thrown instanceof Error ? thrown.message : thrown), expected);
}

const matchers = {
  toBe: (received, [expected]) => ({
    pass: Object.is(received, expected),
    detail: equal(received, expected) && typeof expected === "object" ? note("they look the same and are two objects: use toEqual") : both(expected, received),
  }),
  toEqual: (received, [expected]) => ({ pass: equal(received, expected), detail: both(expected, received) }),
  toMatchObject: (received, [expected]) => ({ pass: typeof received === "object" && received !== null && equal(received, expected, true), detail: both(expected, picked(received, expected)) }),
  toContain: (received, [part]) => ({
    pass: typeof received === "string" ? received.includes(part) : [...received].includes(part),
    detail: note("expected part: " + brief(part), "received: " + format(received)),
  }),
  toContainEqual: (received, [element]) => ({ pass: [...received].some((v) => equal(v, element)), detail: note("expected element: " + format(element), "received: " + format(received)) }),
  toMatch: (received, [expected]) => ({ pass: typeof received === "string" && fits(received, expected), detail: note("expected: " + brief(expected), "received: " + format(received)) }),
  toThrow: (received, [expected], settled) => {
    let thrown = received, threw = settled;
    if (!settled) {
      if (typeof received !== "function") throw new AssertionError("toThrow needs a function: expect(() => …).toThrow()", note("received: " + brief(received)));
      try { received(); } catch (e) { threw = true; thrown = e; }
    }
    const what = expected === undefined ? "an error" : typeof expected === "function" ? expected.name : brief(expected);
    return { pass: threw && thrownFits(thrown, expected), detail: note("expected: " + what, threw ? "thrown: " + brief(thrown) : "nothing was thrown") };
  },
  toHaveLength: (received, [length]) => ({
    pass: received?.length === length,
    detail: note("expected length: " + length, "received length: " + brief(received?.length), "received: " + format(received)),
  }),
  toHaveProperty: (received, args) => {
    const { found, value } = at(received, args[0]);
    return { pass: found && (args.length < 2 || equal(value, args[1])), detail: found && args.length > 1 ? both(args[1], value) : note("expected field: " + args[0], "received: " + format(received)) };
  },
  toBeDefined: being("anything but undefined", (v) => v !== undefined),
  toBeUndefined: being("undefined", (v) => v === undefined),
  toBeNull: being("null", (v) => v === null),
  toBeTruthy: being("what is as true", (v) => !!v),
  toBeFalsy: being("what is as false", (v) => !v),
  toBeNaN: being("NaN", (v) => Number.isNaN(v)),
  toBeGreaterThan: comparison("toBeGreaterThan", (a, b) => a > b),
  toBeGreaterThanOrEqual: comparison("toBeGreaterThanOrEqual", (a, b) => a >= b),
  toBeLessThan: comparison("toBeLessThan", (a, b) => a < b),
  toBeLessThanOrEqual: comparison("toBeLessThanOrEqual", (a, b) => a <= b),
  toBeCloseTo: (received, [to, digits = 2]) => ({ pass: received === to || Math.abs(received - to) < 10 ** -digits / 2, detail: note("expected: " + to + " to " + digits + " digits", "received: " + brief(received)) }),
  toBeInstanceOf: (received, [of]) => ({ pass: received instanceof of, detail: note("expected: " + of.name, "received: " + brief(received)) }),
  toMatchSnapshot: (received, [hint]) => {
    const wrong = host.snapshot(format(received), hint === undefined ? "" : String(hint));
    return { pass: !wrong, detail: wrong };
  },
};

// picked are the fields of a value that an expectation speaks of, so that the difference is short.
function picked(value, like) {
  if (typeof value !== "object" || value === null || typeof like !== "object" || like === null || like[asymmetric] || Array.isArray(value) !== Array.isArray(like)) return value;
  if (Array.isArray(value)) return value.map((v, i) => (i < like.length ? picked(v, like[i]) : v));
  return Object.fromEntries(Object.keys(like).filter((n) => n in value).map((n) => [n, picked(value[n], like[n])]));
}

function check(name, received, args, not, settled) {
  if (not && name === "toMatchSnapshot") throw new AssertionError("a snapshot can't be expected not to match");
  const { pass, detail } = matchers[name](received, args, settled);
  if (pass !== not) return;
  const given = args.map((a) => brief(a)).join(", ");
  throw new AssertionError("expect(…)" + (not ? ".not" : "") + "." + name + "(" + (given.length > 60 ? "…" : given) + ")", not ? note("received: " + format(received)) : detail);
}

function settling(promise, wanted, not) {
  const one = (name) => async (...args) => {
    let value, kind = "fulfilled";
    try { value = await promise; } catch (e) { value = e; kind = "rejected"; }
    if (kind !== wanted) throw new AssertionError("expect(…)." + (wanted === "fulfilled" ? "resolves" : "rejects") + ": the promise was " + kind, note((kind === "rejected" ? "with: " : "value: ") + brief(value)));
    check(name, value, args, not, kind === "rejected");
  };
  const made = Object.fromEntries(Object.keys(matchers).map((name) => [name, one(name)]));
  if (!not) Object.defineProperty(made, "not", { get: () => settling(promise, wanted, true) });
  return made;
}

function expect(received) {
  const side = (not) => Object.fromEntries(Object.keys(matchers).map((name) => [name, (...args) => check(name, received, args, not, false)]));
  return Object.defineProperties(side(false), {
    not: { get: () => side(true) },
    resolves: { get: () => settling(received, "fulfilled", false) },
    rejects: { get: () => settling(received, "rejected", false) },
  });
}

const standIn = (text, matches) => ({ [asymmetric]: true, text, matches });
const primitives = new Map([[String, "string"], [Number, "number"], [Boolean, "boolean"], [BigInt, "bigint"], [Object, "object"]]);
Object.assign(expect, {
  any: (kind) => standIn("any " + kind.name, (v) => (primitives.has(kind) ? typeof v === primitives.get(kind) && v !== null : v instanceof kind)),
  anything: () => standIn("anything", (v) => v !== null && v !== undefined),
  objectContaining: (part) => standIn("an object with " + brief(part), (v) => typeof v === "object" && v !== null && equal(v, part, true)),
  arrayContaining: (part) => standIn("a list with " + brief(part), (v) => Array.isArray(v) && part.every((p) => v.some((w) => equal(w, p)))),
  stringContaining: (part) => standIn("text with " + brief(part), (v) => typeof v === "string" && v.includes(part)),
  stringMatching: (pattern) => standIn("text like " + brief(pattern), (v) => typeof v === "string" && fits(v, pattern)),
});
