// test, describe and what runs around a test. The file is loaded for each test anew: the first time
// to list its tests, then to run one of them.

const tests = [];
let group = { name: "", above: null, before: [], after: [], skip: false, only: false };
let loading = true;

function declare(name, body, options, mode) {
  if (!loading) throw new Error("test(" + JSON.stringify(name) + ") stands inside a test: it would never run");
  if (typeof name !== "string") throw new TypeError("test wants a name first: test(\"what is true\", () => { … })");
  if (typeof body !== "function" && mode !== "skip") throw new TypeError("test(" + JSON.stringify(name) + ") has no function");
  let skip = mode === "skip", only = mode === "only";
  const names = [name];
  for (let g = group; g.above; g = g.above) {
    names.unshift(g.name);
    skip ||= g.skip;
    only ||= g.only;
  }
  tests.push({ names, body, group, skip, only });
  host.declared(names, skip, only, Number(options?.timeout ?? 0));
}

const test = (name, body, options) => declare(name, body, options, "");
test.skip = (name, body, options) => declare(name, body, options, "skip");
test.only = (name, body, options) => declare(name, body, options, "only");
test.each = (rows) => (name, body) => rows.forEach((row) => declare(name.replace("%s", () => (typeof row === "string" ? row : brief(row))), () => body(row), undefined, ""));

function grouped(name, body, mode) {
  if (!loading) throw new Error("describe(" + JSON.stringify(name) + ") stands inside a test");
  const outer = group;
  group = { name: String(name), above: outer, before: [], after: [], skip: mode === "skip", only: mode === "only" };
  try {
    if (body() instanceof Promise) throw new TypeError("describe(" + JSON.stringify(name) + ") can't be async: its tests would not be known");
  } finally {
    group = outer;
  }
}
const describe = (name, body) => grouped(name, body, "");
describe.skip = (name, body) => grouped(name, body, "skip");
describe.only = (name, body) => grouped(name, body, "only");

const beforeEach = (body) => void group.before.push(body);
const afterEach = (body) => void group.after.push(body);

// perform runs one test: what comes before it from the outside in, itself, what comes after it from
// the inside out, also when it failed. The first failure is the test's.
async function perform(index) {
  loading = false;
  const { body, group } = tests[index];
  const groups = [];
  for (let g = group; g; g = g.above) groups.unshift(g);
  let failed = false;
  const attempt = async (f) => {
    try {
      await f();
    } catch (e) {
      if (!failed) host.failed(e, e instanceof AssertionError ? e.detail : undefined);
      failed = true;
    }
  };
  for (const before of groups.flatMap((g) => g.before)) if (!failed) await attempt(before);
  if (!failed) await attempt(body);
  for (const after of groups.reverse().flatMap((g) => g.after)) await attempt(after);
}
