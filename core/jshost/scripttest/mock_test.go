package scripttest_test

import "testing"

func TestFetchIsAnsweredAsTheTestSays(t *testing.T) {
	passes(t, runCode(t, `const deal = fixture("updated.deal");
const get = (url: string, init?: RequestInit) => async () => { const r = await fetch(url, init); return [r.status, r.ok, await r.text(), r.headers.get("x-a")]; };
test("JSON, text, headers, a status", async () => {
  mock.fetch("https://a.example/json", { json: { ok: true } });
  mock.fetch("https://a.example/text", { status: 404, body: "no", headers: { "X-A": "b" } });
  mock.fetch("https://a.example/empty");
  expect((await run(get("https://a.example/json"), deal)).value).toEqual([200, true, '{"ok":true}', null]);
  expect((await run(get("https://a.example/text"), deal)).value).toEqual([404, false, "no", "b"]);
  expect((await run(get("https://a.example/empty"), deal)).value).toEqual([200, true, "", null]);
});
test("patterns, methods, and the later one first", async () => {
  mock.fetch("https://a.example/*", { status: 201 });
  mock.fetch("POST https://a.example/*", { status: 202 });
  mock.fetch("https://a.example/one?x=1.5", { status: 203 });
  const status = async (url: string, method = "GET") => (await run(get(url, { method }), deal)).value?.[0];
  expect(await status("https://a.example/two/three?x")).toBe(201);
  expect(await status("https://a.example/two", "POST")).toBe(202);
  expect(await status("https://a.example/one?x=1.5")).toBe(203);
  expect(await status("https://a.example/one?x=105")).toBe(201);
});
test("answers in turn, the last for ever", async () => {
  mock.fetch("https://a.example/", { status: 503 }, { status: 200 });
  const r = await run(async () => [(await fetch("https://a.example/")).status, (await fetch("https://a.example/")).status, (await fetch("https://a.example/")).status], deal);
  expect(r.value).toEqual([503, 200, 200]);
});
test("a function, also a slow one, and a Response", async () => {
  mock.fetch("https://a.example/*", async (request) => {
    await new Promise((r) => setTimeout(r, 1000));
    return { json: { method: request.method, sent: await request.json(), kind: request.headers.get("content-type") } };
  });
  mock.fetch("https://b.example/", () => new Response("made", { status: 418 }));
  const r = await run(async () => (await fetch("https://a.example/x", { method: "PUT", body: '{"a":1}', headers: { "Content-Type": "application/json" } })).json(), deal);
  expect(r.value).toEqual({ method: "PUT", sent: { a: 1 }, kind: "application/json" });
  expect(r.effects).toEqual([{ fetch: "PUT https://a.example/x", headers: { "content-type": "application/json" }, body: { a: 1 }, status: 200 }]);
  expect((await run(get("https://b.example/"), deal)).value).toEqual([418, false, "made", null]);
});
test("an error", async () => {
  mock.fetch("https://a.example/", { error: "the host is down" });
  const r = await run(() => fetch("https://a.example/"), deal);
  expect(r.ok).toBe(false);
  expect(r.error?.message).toContain("the host is down");
  expect(r.effects[0]).toMatchObject({ fetch: "GET https://a.example/", error: "the host is down" });
});
test("nothing answers, and the script does not mind", async () => {
  const r = await run(async () => { try { await fetch("https://nobody.example/x"); } catch {} }, deal);
  expect(r.ok).toBe(false);
  expect(r.error?.message).toContain('add  mock.fetch("https://nobody.example/x", { status: 200, json: {} });');
});
test("a mock that throws", async () => {
  mock.fetch("https://a.example/", () => { throw new Error("a slip"); });
  expect((await run(get("https://a.example/"), deal)).error?.message).toContain("the function that answers failed");
  mock.fetch("https://a.example/", () => 5 as any);
  expect((await run(get("https://a.example/"), deal)).error?.message).toContain("gave 5");
});
test("a deadline ends a fetch", async () => {
  mock.fetch("https://a.example/", () => new Promise(() => {}));
  const r = await run(get("https://a.example/"), deal);
  expect(r.error?.message).toContain("deadline of 5s exceeded");
  const s = await run((event, ctx) => ctx.fetch("https://a.example/", { signal: AbortSignal.timeout(100) }).catch((e) => e.name), deal);
  expect(s.value).toBe("TimeoutError");
});
test("what nobody waits for is waited for", async () => {
  mock.fetch("https://a.example/*", {});
  const r = await run(() => { fetch("https://a.example/1"); fetch("https://a.example/2"); }, deal);
  expect(r.effects.map((e) => e.fetch)).toEqual(["GET https://a.example/1", "GET https://a.example/2"]);
});
test("wrong mocks", () => {
  expect(() => mock.fetch(5 as any)).toThrow("mock.fetch wants a URL");
  expect(() => mock.fetch("https://a.example/", 404 as any)).toThrow("an answer is an object");
  expect(() => mock.secret("A", 5 as any)).toThrow("a secret is text");
});
test("a secret that was not granted", async () => {
  const r = await run((event, ctx) => ctx.secrets.TOKEN, deal);
  expect(r.error?.message).toBe('ReferenceError: ctx.secrets.TOKEN is not granted: add  mock.secret("TOKEN", "…");');
});`))
}
