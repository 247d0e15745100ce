package scripttest_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pipehook/pipehook/core/jshost/scripttest"
)

const handler = `import type { Context, Event } from "pipehook";
export default async function (event: Event, ctx: Context) {
  ctx.log.info("moved", { id: event.objectId, to: event.current.stage_id });
  const seen = (await ctx.kv.get<number>("seen")) ?? 0;
  await ctx.kv.set("seen", seen + 1, { ttl: "5m" });
  await ctx.emit("added.invoice", { objectId: event.objectId, current: { token: ctx.secrets.TOKEN, seen } });
}
`

func TestARunSaysAllThatTheScriptDid(t *testing.T) {
	passes(t, runCode(t, `import handler from "./handler";
test("it", async () => {
  mock.secret("TOKEN", "s3cret-value");
  const r = await run(handler, fixture("updated.deal", { current: { stage_id: 44 } }));
  expect(r).toEqual({
    ok: true,
    logs: [{ level: "info", text: "moved", data: { id: "8", to: 44 } }],
    effects: [
      { kv: "set", key: "seen", value: 1, ttl: 300 },
      { emit: "added.invoice", objectId: "8", current: { token: "[secret TOKEN]", seen: 0 } },
    ],
  });
  const again = await run(handler, fixture("updated.deal", { objectId: 9 }));
  expect(again.effects[0].value).toBe(2);
});`, "handler.ts", handler))
}

func TestARunNeverThrowsWhatTheScriptThrows(t *testing.T) {
	passes(t, runCode(t, `const deal = fixture("updated.deal");
test("an error", async () => {
  const r = await run(() => { throw new Error("no title"); }, deal);
  expect(r.ok).toBe(false);
  expect(r.error).toMatchObject({ message: "Error: no title", permanent: false, at: expect.stringMatching(/it\.test\.ts:4:/) });
});
test("for good", async () => {
  expect((await run((event, ctx) => ctx.fail("gone"), deal)).error).toMatchObject({ message: expect.stringContaining("gone"), permanent: true });
});
test("later", async () => {
  expect((await run(async (event, ctx) => ctx.retryAfter("5m", "busy"), deal)).error).toMatchObject({ retryAfter: 300, permanent: false });
});
test("dropped", async () => {
  const r = await run((event, ctx) => ctx.drop("spam"), deal);
  expect(r).toMatchObject({ ok: true, dropped: "spam" });
});
test("rejected", async () => {
  expect((await run((event, ctx) => ctx.reject(422, "no"), deal)).rejected).toEqual({ status: 422, message: "no" });
});
test("a value", async () => {
  expect((await run(() => ({ labels: { a: "b" } }), deal)).value).toEqual({ labels: { a: "b" } });
  expect((await run(() => {}, deal)).value).toBe(undefined);
});
test("a promise that never settles", async () => {
  expect((await run(() => new Promise(() => {}), deal)).error?.message).toContain("never settled");
});
test("a promise that nobody handles", async () => {
  expect((await run(() => { Promise.reject(new Error("lost")); }, deal)).error?.message).toContain("lost");
});
test("the attempt", async () => {
  expect((await run((event, ctx) => ctx.attempt, deal)).value).toBe(1);
  expect((await run((event, ctx) => ctx.attempt, deal, { attempt: 3 })).value).toBe(3);
});
test("one after another", async () => {
  const order: string[] = [];
  const slow = (name: string) => async () => { order.push(name); await new Promise((r) => setTimeout(r, 1000)); order.push(name); };
  await Promise.all([run(slow("a"), deal), run(slow("b"), deal)]);
  expect(order).toEqual(["a", "a", "b", "b"]);
});
test("a source", async () => {
  const source = (r: any) => ({ action: r.json().do, object: r.headers["x-kind"], raw: r.body });
  expect((await run(source, request({ do: "added" }, { "X-Kind": "order" }))).value).toEqual({ action: "added", object: "order", raw: '{"do":"added"}' });
  expect((await run(source, request("nonsense"))).ok).toBe(false);
});`))
}

func TestTheClockMovesOnlyWhenThereIsNothingElseToDo(t *testing.T) {
	passes(t, runCode(t, `const deal = fixture("updated.deal");
const sleep = (ms: number) => new Promise((r) => setTimeout(r, ms));
test("it begins at the same time always", () => {
  expect(new Date().toISOString()).toBe("2026-01-01T00:00:00.000Z");
  mock.now("2026-01-05T09:00:00Z");
  expect(new Date().toISOString()).toBe("2026-01-05T09:00:00.000Z");
  mock.now(5);
  expect(Date.now()).toBe(5);
});
test("timers jump", async () => {
  const order: number[] = [];
  setTimeout(() => order.push(2), 2000);
  setTimeout(() => order.push(1), 1000);
  await mock.advance("1500ms");
  expect(order).toEqual([1]);
  await mock.advance(500);
  expect(order).toEqual([1, 2]);
  expect(Date.now()).toBe(Date.parse("2026-01-01T00:00:02Z"));
});
test("a run has its deadline", async () => {
  let seen;
  const r = await run(async (event, ctx) => { seen = ctx.deadline; await sleep(3600_000); }, deal);
  expect(r.error?.message).toBe("deadline of 5s exceeded");
  expect(seen).toBe(Date.parse("2026-01-01T00:00:05Z"));
  expect(Date.now()).toBe(Date.parse("2026-01-01T00:00:05Z"));
  expect((await run(() => sleep(50_000), deal, { timeout: 60_000 })).ok).toBe(true);
});
test("what kv keeps expires", async () => {
  await run((event, ctx) => ctx.kv.set("a", 1, { ttl: "5m" }), deal);
  await mock.advance("4m");
  expect((await run((event, ctx) => ctx.kv.get("a"), deal)).value).toBe(1);
  await mock.advance("1m");
  expect((await run((event, ctx) => ctx.kv.get("a"), deal)).value).toBe(undefined);
});
test("wrong times", () => {
  expect(() => mock.now("yesterday")).toThrow("mock.now wants a time");
  expect(() => mock.now(NaN)).toThrow("mock.now wants a time");
});`))
}

func TestEachTestHasAWorldOfItsOwn(t *testing.T) {
	passes(t, runCode(t, `let n = 0;
const count = (event: any, ctx: any) => ctx.kv.update("n", (v = 0) => v + 1);
for (const name of ["one", "two"]) test(name, async () => {
  expect(++n).toBe(1);
  expect((await run(count, fixture("updated.deal"))).value).toBe(1);
});`))
}

func TestKVCanBeFilledAndIsTheScriptsOwn(t *testing.T) {
	passes(t, runCode(t, `test("it", async () => {
  mock.kv({ a: { x: 1 }, b: 2 });
  mock.kv({ a: "all" }, { shared: true });
  const r = await run(async (event, ctx) => [await ctx.kv.get("a"), await ctx.kv.shared.get("a"), (await ctx.kv.list()).entries.map((e) => e.key)], fixture("updated.deal"));
  expect(r.value).toEqual([{ x: 1 }, "all", ["a", "b"]]);
  expect(r.effects).toEqual([]); // what is only read is no effect
  const c = await run(async (event, ctx) => [await ctx.kv.set("a", 1, { ifVersion: null }), await ctx.kv.delete("nothing")], fixture("updated.deal"));
  expect(c.value).toEqual([false, false]);
  expect(c.effects).toEqual([{ kv: "set", key: "a", value: 1, conflict: true }, { kv: "delete", key: "nothing" }]);
});`))
}

func TestEffectsStandInTheOrderOfTheScript(t *testing.T) {
	passes(t, runCode(t, `test("it", async () => {
  const r = await run((event, ctx) => Promise.all(Array.from({ length: 40 }, (_, i) => (i % 2 ? ctx.emit("added.thing", { objectId: i }) : ctx.kv.set("k" + i, i)))), fixture("updated.deal"));
  expect(r.effects.map((e) => e.objectId ?? e.key)).toEqual(Array.from({ length: 40 }, (_, i) => (i % 2 ? String(i) : "k" + i)));
});
test("an event that is emitted again is a duplicate", async () => {
  const emit = (event: any, ctx: any) => ctx.emit("added.thing");
  const deal = fixture("updated.deal");
  const first = await run(emit, deal), second = await run(emit, deal), other = await run(emit, fixture("updated.deal"));
  expect([first, second, other].map((r) => r.value.duplicate)).toEqual([false, true, false]);
  expect(second.value.id).toBe(first.value.id);
  expect(second.effects[0].duplicate).toBe(true);
});`))
}

func TestFixturesAreEventsAsTheSourceReadsThem(t *testing.T) {
	passes(t, runCode(t, `test("recorded, and changed", () => {
  const deal = fixture("change.deal", { current: { stage_id: 44, custom_fields: { own: 1 } }, previous: { stage_id: 43 }, meta: { change_source: "api" }, objectId: 77, attempt: 3, receivedAt: "2026-02-01T00:00:00Z" });
  expect(deal.action + "." + deal.object).toBe("updated.deal");
  expect(deal.objectId).toBe("77");
  expect(deal.changes()).toEqual({ stage_id: { was: 43, is: 44 } });
  expect(deal.current.title).toBe("Annual licence, 40 seats");
  expect(Object.keys(deal.current.custom_fields).length).toBeGreaterThan(1);
  expect(deal.isFromApi()).toBe(true);
  expect(deal.attempt).toBe(3);
  expect(deal.receivedAt).toBe("2026-02-01T00:00:00.000Z");
  expect(JSON.parse(deal.raw).data).toMatchObject({ stage_id: 44, id: 77 });
});
test("described", () => {
  const order = fixture({ action: "create", object: "order", objectId: "o-1", current: { total: 5 } }, { current: { paid: true } });
  expect(order).toMatchObject({ action: "added", object: "order", objectId: "o-1", current: { total: 5, paid: true }, previous: null });
  expect(() => fixture({ object: "order" } as any)).toThrow("needs an action and an object");
});
test("of a file", () => {
  expect(fixture("./body.json").current.title).toBe("from a file");
  expect(fixture("./stored.json", { attempt: 2 })).toMatchObject({ id: "0199", pipeline: "crm", objectId: "5", attempt: 2, receivedAt: "2026-03-01T10:00:00.000Z" });
  expect(() => fixture("./nosuch.json")).toThrow("no such file");
  expect(() => fixture("./broken.json")).toThrow("broken.json: it is not JSON");
});
test("each has an id", () => expect(fixture("added.deal").id).not.toBe(fixture("added.deal").id));
test("a large number keeps its digits", () => expect(fixture("added.deal", { objectId: "9007199254740993" }).objectId).toBe("9007199254740993"));
`,
		"body.json", `{"data":{"id":5,"title":"from a file"},"previous":null,"meta":{"action":"create","entity":"deal","version":"2.0","entity_id":"5","id":"m"}}`,
		"stored.json", `{"id":"0199","pipeline":"crm","source":"pipedrive","receivedAt":"2026-03-01T10:00:00Z","raw":"{\"data\":{\"id\":5},\"meta\":{\"action\":\"create\",\"entity\":\"deal\",\"version\":\"2.0\",\"entity_id\":\"5\"}}"}`,
		"broken.json", `{"data":`))
}

func TestTestsAreGroupedSkippedAndChosen(t *testing.T) {
	code := `const order: string[] = [];
beforeEach(() => void order.push("outer"));
afterEach(() => { if (order.at(-1) !== "after") throw new Error("the inner one comes first: " + order); });
describe("a group", () => {
  beforeEach(() => void order.push("inner"));
  afterEach(() => void order.push("after"));
  test("runs what is around it", () => expect(order).toEqual(["outer", "inner"]));
  test.each([1, 2])("has a row %s", (n) => expect(n).toBeLessThan(3));
});
describe.skip("another", () => test("is skipped", () => { throw 1; }));
test.skip("not yet");
`
	f := runCode(t, code)
	if got := names(f, scripttest.Passed); got != "a group › runs what is around it, a group › has a row 1, a group › has a row 2" {
		t.Errorf("passed: %s", got)
	}
	if got := names(f, scripttest.Skipped); got != "another › is skipped, not yet" {
		t.Errorf("skipped: %s", got)
	}
	f = runCode(t, "test('one', () => {}); test.only('two', () => {}); describe.only('three', () => test('four', () => {}));")
	if got := names(f, scripttest.Passed); got != "two, three › four" {
		t.Errorf("only: %s", got)
	}
	path := write(t, "a.test.ts", imports+"test('moved', () => {}); test('won', () => {});")
	f = scripttest.RunFile(t.Context(), path, scripttest.Options{Events: events(), Filter: "won"})
	if got := names(f, scripttest.Passed); got != "won" {
		t.Errorf("filtered: %s", got)
	}
}

func TestATestThatHangsEndsAtItsDeadline(t *testing.T) {
	for name, code := range map[string]string{
		"a loop":               `test("it", () => { for (;;); }, { timeout: 200 });`,
		"a loop in a run":      `test("it", async () => { await run(() => { for (;;); }, fixture("updated.deal")); }, { timeout: 200 });`,
		"an interval for ever": `test("it", async () => { setInterval(() => {}, 1000); await new Promise(() => {}); }, { timeout: 200 });`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if f := fails(t, runCode(t, code)); f.Message != "the test was not done in 200ms" {
				t.Errorf("%s: %s", f.Place(), f.Message)
			}
		})
	}
	if f := fails(t, runCode(t, `test("it", () => new Promise(() => {}));`)); !strings.HasPrefix(f.Message, "the test's promise never settled") {
		t.Errorf("%s: %s", f.Place(), f.Message)
	}
}

func TestAFileThatCantBeLoadedIsAFailure(t *testing.T) {
	for name, test := range map[string]struct{ code, want string }{
		"it does not compile":  {"test('x', () => {", "it.test.ts:2:"},
		"its top level throws": {"null.x;", "it.test.ts:2:6: TypeError"},
		"an import is missing": {"import x from './nosuch';\nx();", `Could not resolve "./nosuch"`},
		"it has no test":       {"", "it has no test"},
		"an async group":       {"describe('x', async () => {});", "can't be async"},
		"a value of pipehook":  {"import * as p from 'pipehook';\nconsole.log(p.Event);", `"pipehook" has types only`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := runCode(t, test.code)
			if f.Failure == nil || !strings.Contains(f.Failure.Place()+": "+f.Failure.Message, test.want) {
				t.Errorf("%+v", f.Failure)
			}
			if _, failed, _ := scripttest.Totals([]scripttest.File{f}); failed != 1 {
				t.Errorf("%d failed", failed)
			}
		})
	}
}

func TestManyFilesAreReportedInTheirOrder(t *testing.T) {
	dir := filepath.Dir(write(t, "a.test.ts", imports+"test('slow', () => { const end = 2e5; let n = 0; while (n < end) n++; });"))
	for _, name := range []string{"b", "c", "d"} {
		if err := os.WriteFile(filepath.Join(dir, name+".test.ts"), []byte(imports+"test('x', () => {});"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	paths, err := filepath.Glob(filepath.Join(dir, "*.test.ts"))
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	all := scripttest.RunFiles(t.Context(), paths, 3, scripttest.Options{Events: events()}, func(f scripttest.File) { order = append(order, filepath.Base(f.Path)) })
	if got := strings.Join(order, " "); got != "a.test.ts b.test.ts c.test.ts d.test.ts" || len(all) != 4 {
		t.Errorf("order %s", got)
	}
	if passed, failed, _ := scripttest.Totals(all); passed != 4 || failed != 0 {
		t.Errorf("%d passed, %d failed", passed, failed)
	}
}
