package engine_test

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/jshost/engine"
)

func TestAScriptRemembersThroughKV(t *testing.T) {
	for _, test := range []struct{ name, code, want string }{
		{"what is not there", `return [await ctx.kv.get("a") === undefined, await ctx.kv.entry("a") === undefined]`, `[true,true]`},
		{"a value", `await ctx.kv.set("a", { n: 1, list: [1, null], s: "ü😀" }); const v = await ctx.kv.get("a"); v.n++; return v`, `{"n":2,"list":[1,null],"s":"ü😀"}`},
		{"an entry", `await ctx.kv.set("a", 1); return await ctx.kv.entry("a")`, `{"value":1,"version":"1","expiresAt":null}`},
		{"large numbers stay text", `await ctx.kv.set("a", { id: event.current.big, safe: 9007199254740991 }); return await ctx.kv.get("a")`, `{"id":"9007199254740993","safe":9007199254740991}`},
		{"only when absent", `return [await ctx.kv.set("a", 1, { ifVersion: null }), await ctx.kv.set("a", 2, { ifVersion: null }), await ctx.kv.get("a")]`, `[true,false,1]`},
		{"only a version", `await ctx.kv.set("a", 1); const { version } = await ctx.kv.entry("a"); return [await ctx.kv.set("a", 2, { ifVersion: version }), await ctx.kv.set("a", 3, { ifVersion: version })]`, `[true,false]`},
		{"deleted", `await ctx.kv.set("a", 1); return [await ctx.kv.delete("a"), await ctx.kv.delete("a"), await ctx.kv.get("a") === undefined]`, `[true,false,true]`},
		{"updated", `const add = () => ctx.kv.update("n", (n = 0) => n + 1); return [await add(), await add(), ...await Promise.all([add(), add()])].sort()`, `[1,2,3,4]`},
		{"shared apart from its own", `await ctx.kv.set("a", 1); await ctx.kv.shared.set("a", 2); return [await ctx.kv.get("a"), await ctx.kv.shared.get("a"), await ctx.kv.shared.update("a", (n) => n + 1)]`, `[1,2,3]`},
		{"listed", `return await ctx.kv.list({ prefix: "a", limit: 5 })`, `{"entries":[{"key":"a","value":1,"version":"1","expiresAt":null}],"more":true}`},
		{"taken off", `const { get, set } = ctx.kv; await set("a", 5); return await get("a")`, `5`},
	} {
		t.Run(test.name, func(t *testing.T) {
			ev := sample(t)
			ev.Current = []byte(`{"big":9007199254740993}`)
			r := call(t, pool(t, engine.Options{Host: &fakeHost{}}, test.code), engine.Call{Kind: engine.Stage, Event: &ev})
			if r.Err != nil || string(r.Value) != test.want {
				t.Errorf("got %s (%v), want %s", r.Value, r.Err, test.want)
			}
		})
	}
}

func TestTheHostIsToldWhatAndWho(t *testing.T) {
	host := &fakeHost{}
	p := pool(t, engine.Options{Name: "mine", Host: host}, `
		await ctx.kv.set("a", 1, { ttl: "5m" }); await ctx.kv.set("b", 1, { ttl: 1.5 }); await ctx.kv.list({ after: "x" });
		await Promise.all([ctx.emit("create.invoice", { objectId: 7, current: { id: event.current.id }, previous: null, meta: { a: 1 }, key: "k" }), ctx.emit("x.y")]);
		return (await ctx.emit("x.z")).id`)
	r := call(t, p, engine.Call{Kind: engine.Source, Event: &core.Event{ID: "e1"}})
	if r.Err == nil { // a source has a request, which has no current
		t.Fatal("no error")
	}
	r = call(t, p, engine.Call{Kind: engine.Stage})
	if r.Err != nil || string(r.Value) != `"new-2"` {
		t.Fatalf("%s (%v)", r.Value, r.Err)
	}
	got := fmt.Sprintln(host.ops[3].TTL, host.ops[4].TTL, host.ops[5].After, host.ops[5].Limit)
	if want := "5m0s 1.5s x 100\n"; got != want {
		t.Errorf("operations %s, want %s", got, want)
	}
	var emits []string
	for _, e := range host.emits {
		emits = append(emits, fmt.Sprintf("%s.%s %s %s %s %s %s %d", e.Action, e.Object, e.ObjectID, e.Current, e.Previous, e.Meta, e.Key, e.Ordinal))
	}
	for _, want := range []string{`added.invoice 7 {"id":8}  {"a":1} k 0`, `x.y      1`, `x.z      2`} {
		if !strings.Contains(strings.Join(emits, "\n"), want) {
			t.Errorf("%q is not in\n%s", want, strings.Join(emits, "\n"))
		}
	}
	for _, by := range host.by {
		if by.Name != "mine" || by.Event == nil {
			t.Errorf("by %+v", by)
		}
	}
}

func TestArgumentsThatCannotBeUsedAreRefusedWhereTheyAreGiven(t *testing.T) {
	for _, test := range []struct{ code, want string }{
		{`ctx.kv.get()`, "the key must be text"},
		{`ctx.kv.get("")`, "a key has 1 to 512 bytes"},
		{`ctx.kv.set("k".repeat(513), 1)`, "a key has 1 to 512 bytes"},
		{`ctx.kv.set("a", 10n)`, "JSON has no BigInt: keep it as text"},
		{`ctx.kv.set("a", undefined)`, "undefined and functions can't be kept"},
		{`ctx.kv.set("a", () => 1)`, "undefined and functions can't be kept"},
		{`ctx.kv.set("a", "x".repeat(300_000))`, "longer than 256 KiB"},
		{`const o = {}; o.o = o; ctx.kv.set("a", o)`, "leads in a circle"},
		{`ctx.kv.set("a", { get x() { throw new RangeError("mine") } })`, "RangeError: mine"},
		{`let a = [1]; for (let i = 0; i < 60; i++) a = [a, a]; ctx.kv.set("a", a)`, "longer than 256 KiB"},
		{`let a = []; for (let i = 0; i < 1e5; i++) a = [a]; ctx.kv.set("a", a)`, "nested deeper than 200"},
		{`ctx.kv.set("a", new Proxy({}, { ownKeys() { throw new Error("trap") } }))`, "Error: trap"},
		{`ctx.kv.set("a", 1, { ttl: -1 })`, "seconds above 0"},
		{`ctx.kv.set("a", 1, { ttl: "soon" })`, `"soon" is not a duration`},
		{`ctx.kv.set("a", 1, { ifVersion: 3 })`, "ifVersion must be the version of an entry"},
		{`ctx.kv.set("a", 1, 5)`, "the options must be an object"},
		{`ctx.kv.list({ limit: 5000 })`, "limit must be 1 to 1000"},
		{`ctx.kv.list({ prefix: 5 })`, "prefix must be text"},
		{`await ctx.kv.update("a")`, "wants a function"},
		{`await ctx.kv.update("a", () => {})`, "returned undefined"},
		{`ctx.emit()`, "ctx.emit wants the type first"},
		{`ctx.emit("added")`, "ctx.emit wants the type first"},
		{`ctx.emit("*.deal")`, "ctx.emit wants the type first"},
		{`ctx.emit("added.x", { current: [1] })`, "current must be an object"},
		{`ctx.emit("added.x", { objectId: {} })`, "objectId must be text"},
		{`ctx.emit("added.x", { current: { n: 5n } })`, "ctx.emit: current: JSON has no BigInt"},
		{`ctx.secrets.TOKEN`, `ctx.secrets.TOKEN is not granted to it: in the configuration, add secrets = { TOKEN = "${TOKEN}" }`},
		{`ctx.secrets.X = 1`, "ctx.secrets can't be changed"},
	} {
		r := call(t, pool(t, engine.Options{Host: &fakeHost{}, Secrets: map[string]string{"X": "1"}}, test.code), engine.Call{})
		if r.Err == nil || !strings.Contains(r.Err.Error(), test.want) || !strings.Contains(r.Err.Error(), "it.js:2:") && !strings.Contains(test.code, "update") {
			t.Errorf("%s: error %v, want %s", test.code, r.Err, test.want)
		}
	}
}

func TestUpdateGivesUpWhenOthersAreAlwaysFaster(t *testing.T) {
	r := call(t, pool(t, engine.Options{Host: &fakeHost{}}, `await ctx.kv.update("a", async (n) => { await ctx.kv.set("a", Math.random()); return 1 })`), engine.Call{})
	if r.Err == nil || !strings.Contains(r.Err.Error(), "others changed a 50 times meanwhile") {
		t.Errorf("error %v", r.Err)
	}
}

func TestASecretIsForItsScriptAndForNoLog(t *testing.T) {
	var said []string
	o := engine.Options{Secrets: map[string]string{"TOKEN": `s3cr3t"x`}, Said: func(l engine.Line) { said = append(said, l.Text) }}
	got := value(t, o, `const t = ctx.secrets.TOKEN; console.log(t, { t }, ctx.secrets); ctx.log.info("is", { t, [t]: 1 }); return [t.length, "TOKEN" in ctx.secrets, "NO" in ctx.secrets, Object.keys(ctx.secrets), await ctx.secrets === ctx.secrets]`)
	if got != `[8,true,false,[],true]` {
		t.Errorf("got %s", got)
	}
	if text := strings.Join(said, "\n"); strings.Contains(text, "s3cr3t") || !strings.Contains(text, "[redacted]") {
		t.Errorf("said %s", text)
	}
	for _, code := range []string{
		`throw new Error("bad " + ctx.secrets.TOKEN)`, `throw ctx.secrets.TOKEN`, `throw { t: [ctx.secrets.TOKEN] }`, `Promise.reject(ctx.secrets.TOKEN)`,
		`ctx.fail(ctx.secrets.TOKEN)`, `ctx.retryAfter(1, ctx.secrets.TOKEN)`, `ctx.drop(ctx.secrets.TOKEN)`, `ctx.reject(400, ctx.secrets.TOKEN)`,
	} {
		r := call(t, pool(t, o, code), engine.Call{Kind: engine.Stage})
		if r.Err == nil {
			t.Errorf("%s: no error", code)
		}
		for err := r.Err; err != nil; err = errors.Unwrap(err) { // each may be shown
			if text := fmt.Sprintf("%+v", err); strings.Contains(text, "s3cr3t") {
				t.Errorf("%s: error %s", code, text)
			}
		}
	}
}

func TestWhatAStageMaySay(t *testing.T) {
	type stop struct {
		status int
		text   string
	}
	for _, test := range []struct {
		name, code, value, err string
		want                   stop
	}{
		{name: "nothing", code: ``},
		{name: "a change", code: `return { labels: ["vip"], current: { ...event.current, title: "x" }.title }`, value: `{"labels":["vip"],"current":"x"}`},
		{name: "dropped", code: `ctx.drop("spam")`, err: "Dropped: spam", want: stop{0, "spam"}},
		{name: "dropped after an await", code: `await null; ctx.drop()`, err: "the stage dropped it", want: stop{0, "the stage dropped it"}},
		{name: "rejected", code: `ctx.reject(422, "no id")`, err: "Rejected: no id", want: stop{422, "no id"}},
		{name: "rejected with another status", code: `ctx.reject(200, "ok")`, err: "wants one of the statuses 400 401 403 409 413 415 422 429 503"},
		{name: "rejected with text", code: `ctx.reject("400")`, err: "wants one of the statuses"},
		{name: "a circle", code: `const o = {}; o.o = o; return o`, err: "what the function returned can't be used: it is nested deeper than 200, or leads in a circle"},
		{name: "too much", code: `return "x".repeat(1 << 20)`, err: "longer than 1 MiB"},
		{name: "a BigInt", code: `return { n: 1n }`, err: "JSON has no BigInt"},
		{name: "a getter that throws", code: `return { get x() { throw new Error("mine") } }`, err: "Error: mine"},
		{name: "a toJSON that never ends", code: `return { toJSON() { return this } }`, value: `{}`},
		{name: "a proxy of proxies", code: `const p = new Proxy({}, { ownKeys: () => ["a"], getOwnPropertyDescriptor: () => ({ value: 1, enumerable: true, configurable: true }), get: (t, k) => k === "a" ? p : undefined }); return p`, err: "leads in a circle"},
		{name: "a revoked proxy", code: `const { proxy, revoke } = Proxy.revocable({}, {}); revoke(); return { proxy }`, err: "TypeError"},
		{name: "a sparse list", code: `const a = []; a.length = 4e9; return a`, err: "longer than 1 MiB"},
		{name: "everything JSON has not", code: `return { u: undefined, f() {}, s: Symbol("x"), n: NaN, i: -Infinity, z: -0, d: new Date(0), list: [undefined, () => 1], b: new Boolean(false), t: new String("t"), nr: new Number(3) }`,
			value: `{"n":null,"i":null,"z":0,"d":"1970-01-01T00:00:00.000Z","list":[null,null],"b":false,"t":"t","nr":3}`},
		{name: "large numbers of the event", code: `return { id: event.current.big, max: 2 ** 53 - 1 }`, value: `{"id":"9007199254740993","max":9007199254740991}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			ev := sample(t)
			ev.Current = []byte(`{"big":9007199254740993}`)
			r := call(t, pool(t, engine.Options{}, test.code), engine.Call{Kind: engine.Stage, Event: &ev})
			if string(r.Value) != test.value || (r.Err == nil) != (test.err == "") || r.Err != nil && !strings.Contains(r.Err.Error(), test.err) {
				t.Fatalf("got %s (%v), want %s (%s)", r.Value, r.Err, test.value, test.err)
			}
			var got stop
			if d, ok := errors.AsType[*engine.Dropped](r.Err); ok {
				got = stop{0, d.Reason}
			}
			if d, ok := errors.AsType[*engine.Rejected](r.Err); ok {
				got = stop{d.Status, d.Msg}
			}
			if got != test.want {
				t.Errorf("it says %v, want %v", got, test.want)
			}
		})
	}
	if r := call(t, pool(t, engine.Options{}, `ctx.drop("x")`), engine.Call{}); r.Err == nil || !strings.Contains(r.Err.Error(), "TypeError") {
		t.Errorf("a listener that drops: %v", r.Err)
	}
}

func TestASourceSeesTheRequest(t *testing.T) {
	ev := core.Event{ID: "e", Body: []byte(`{"id":9007199254740993,"n":1}`), Header: map[string][]string{"X-Kind": {"a", "b"}, "Content-Type": {"application/json"}}}
	r := call(t, pool(t, engine.Options{}, `export default (request) => { const b = request.json(); b.n++; return { ...b, kind: request.headers["x-kind"], other: request.headers["X-Kind"], names: Object.keys(request.headers), length: request.body.length } }`), engine.Call{Kind: engine.Source, Event: &ev})
	if want := `{"id":"9007199254740993","n":2,"kind":"a, b","names":["content-type","x-kind"],"length":29}`; r.Err != nil || string(r.Value) != want {
		t.Errorf("got %s (%v), want %s", r.Value, r.Err, want)
	}
	for body, want := range map[string]string{`{"id":`: "SyntaxError: ", strings.Repeat("[", 1<<19) + strings.Repeat("]", 1<<19): "SyntaxError: the JSON is nested deeper than 512"} {
		ev.Body = []byte(body)
		r = call(t, pool(t, engine.Options{}, `export default (request) => request.json()`), engine.Call{Kind: engine.Source, Event: &ev})
		if r.Err == nil || !strings.Contains(r.Err.Error(), want) {
			t.Errorf("error %v, want %s", r.Err, want)
		}
	}
}

func TestTheAmountThatIsLoggedIsLimited(t *testing.T) {
	var lines []engine.Line
	o := engine.Options{Said: func(l engine.Line) { lines = append(lines, l) }}
	if r := call(t, pool(t, o, `for (let i = 0; i < 100; i++) console.log("x".repeat(5000))`), engine.Call{}); r.Err != nil {
		t.Fatal(r.Err)
	}
	if last := lines[len(lines)-1]; len(lines) > 20 || last.Level != slog.LevelWarn || !strings.Contains(last.Text, "logs too much") {
		t.Errorf("%d lines, the last %q", len(lines), last.Text)
	}
	lines = nil
	if r := call(t, pool(t, o, `let a = [1]; for (let i = 0; i < 60; i++) a = [a, a]; console.log(a); const o = {}; o.o = o; console.log(o)`), engine.Call{}); r.Err != nil {
		t.Fatal(r.Err)
	}
	if len(lines[0].Text) > 9<<10 || lines[1].Text != "[Object]" {
		t.Errorf("%d bytes, then %q", len(lines[0].Text), lines[1].Text)
	}
}
