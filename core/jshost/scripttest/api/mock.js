// What a test sets up around a function: fetch, the clock, secrets, kv.

const answering = []; // the newest first

function mockFetch(url, ...answers) {
  if (typeof url !== "string") throw new TypeError("mock.fetch wants a URL first, which may hold *");
  if (answers.length === 0) answers = [{}];
  for (const a of answers) if (a === null || typeof a !== "object" && typeof a !== "function") throw new TypeError("mock.fetch: an answer is an object such as { status: 200, json: {} }, or a function that gives one");
  const [, method, pattern] = /^(?:([A-Z]+) +)?(.*)$/s.exec(url);
  const parts = pattern.split("*").map((p) => p.replace(/[\\^$.|?+()[\]{}]/g, "\\$&"));
  answering.unshift({ method, pattern: new RegExp("^" + parts.join("[^]*") + "$"), answers, asked: 0 });
}

// answer is what the host calls for every fetch. done gets the answer as JSON, null when nothing was
// set up for it.
function answer(method, url, headers, body, done, failed) {
  answered(method, url, headers, body).then((a) => done(a && JSON.stringify(a)), failed);
}

async function answered(method, url, headers, body) {
  const found = answering.find((a) => (!a.method || a.method === method) && a.pattern.test(url));
  if (!found) return null;
  let given = found.answers[Math.min(found.asked++, found.answers.length - 1)];
  if (typeof given === "function") given = await given(new Request(url, { method, headers, body: method === "GET" || method === "HEAD" ? undefined : body }));
  if (given instanceof Response) return { status: given.status, headers: [...given.headers], body: await given.text() };
  if (given === null || typeof given !== "object") throw new TypeError("mock.fetch: the function gave " + brief(given) + " and not an answer such as { status: 200, json: {} }");
  const { status = 200, json, error } = given;
  const sent = Object.entries(given.headers ?? {}).map(([name, value]) => [name, String(value)]);
  if (json !== undefined && !sent.some(([name]) => name.toLowerCase() === "content-type")) sent.push(["content-type", "application/json"]);
  return { status, headers: sent, body: json !== undefined ? JSON.stringify(json) : String(given.body ?? ""), error: error === undefined ? undefined : String(error) };
}

const wait = globalThis.setTimeout;

const mock = {
  fetch: mockFetch,
  now(time) {
    const at = time instanceof Date ? time.getTime() : typeof time === "number" ? time : Date.parse(time);
    if (!Number.isFinite(at)) throw new TypeError("mock.now wants a time such as \"2026-01-05T09:00:00Z\"; it got " + brief(time));
    host.now(at);
  },
  advance: (time) => new Promise((done) => wait(done, host.milliseconds(time))),
  secret(name, value) {
    if (typeof value !== "string") throw new TypeError("mock.secret: a secret is text");
    host.secret(String(name), value);
  },
  kv(entries, options) {
    for (const [key, value] of Object.entries(entries)) host.kv(key, JSON.stringify(value), options?.shared === true);
  },
};

// fixture gives undefined fields no place in the change.
const fixture = (of, change) => (typeof of === "string" ? host.fixture(of, JSON.stringify(change ?? {})) : host.event(JSON.stringify(of), JSON.stringify(change ?? {})));

const request = (body, headers) => host.request(typeof body === "string" ? body : JSON.stringify(body), headers ?? {});

let before = Promise.resolve(); // the run that a new one waits for: a script's runtime does one at a time

function run(f, of, options = {}) {
  if (typeof f !== "function") throw new TypeError("run wants the function of a script first: import handler from \"./file\"; it got " + brief(f));
  host.checkRun(f, of, options);
  const result = before.then(() => host.run(f, of, options)).then(JSON.parse);
  before = result.then(() => {}, () => {});
  return result;
}
