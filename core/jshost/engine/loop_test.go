package engine_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/effect"
	"github.com/pipehook/pipehook/core/jshost/engine"
)

// fakeHost keeps values in a map and notes what was emitted.
type fakeHost struct {
	mu      sync.Mutex
	values  map[string]effect.KVEntry
	ops     []effect.KVOp
	emits   []effect.Emit
	by      []effect.Caller
	api     func(*effect.APICall) (*effect.APIAnswer, error)
	before  func(ctx context.Context, op string) error // what an operation waits for
	version int
}

func (h *fakeHost) wait(ctx context.Context, op string) error {
	if h.before == nil {
		return nil
	}
	return h.before(ctx, op)
}

func (h *fakeHost) Fetch(ctx context.Context, _ effect.Caller, r *engine.FetchRequest) (*engine.FetchResponse, error) {
	return nil, &effect.Error{Code: "EHOST", Msg: "not here"}
}

func (h *fakeHost) KV(ctx context.Context, by effect.Caller, op *effect.KVOp) (*effect.KVResult, error) {
	if err := h.wait(ctx, op.Op); err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.values == nil {
		h.values = map[string]effect.KVEntry{}
	}
	h.ops, h.by = append(h.ops, *op), append(h.by, by)
	key := fmt.Sprint(op.Shared, op.Key)
	old, found := h.values[key]
	switch op.Op {
	case "get":
		return &effect.KVResult{OK: found, Entry: old}, nil
	case "list":
		return &effect.KVResult{Entries: []effect.KVEntry{{Key: "a", Value: []byte("1"), Version: "1"}}, More: true}, nil
	}
	if op.IfVersion != nil && *op.IfVersion != old.Version {
		return &effect.KVResult{}, nil
	}
	if op.Op == "delete" {
		delete(h.values, key)
		return &effect.KVResult{OK: found}, nil
	}
	h.version++
	h.values[key] = effect.KVEntry{Key: op.Key, Value: op.Value, Version: fmt.Sprint(h.version)}
	return &effect.KVResult{OK: true}, nil
}

func (h *fakeHost) Emit(ctx context.Context, by effect.Caller, e *effect.Emit) (*effect.Emitted, error) {
	if err := h.wait(ctx, "emit"); err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.emits, h.by = append(h.emits, *e), append(h.by, by)
	return &effect.Emitted{ID: fmt.Sprint("new-", e.Ordinal)}, nil
}

// Pipedrive answers with what it was asked; of a list two pages.
func (h *fakeHost) Pipedrive(ctx context.Context, by effect.Caller, c *effect.APICall) (*effect.APIAnswer, error) {
	if err := h.wait(ctx, "pipedrive"); err != nil {
		return nil, err
	}
	if h.api != nil {
		return h.api(c)
	}
	data := fmt.Sprintf(`{"by":%q,"call":%q,"body":%s}`, by.Name, c.Method+" "+c.Path+"?"+c.Query.Encode(), cmp.Or(string(c.Body), "null"))
	return &effect.APIAnswer{Status: 200, Data: []byte(data)}, nil
}

// pool compiles the body of a function of (event, ctx) and makes a pool of it.
func pool(t testing.TB, o engine.Options, code string) *engine.Pool {
	t.Helper()
	if !strings.Contains(code, "export default") {
		code = "export default async (event, ctx) => {\n" + code + "\n}"
	}
	_, p, err := compile(t, "it.js", code)
	if err != nil {
		t.Fatal(err)
	}
	if o.Name == "" {
		o.Name = "it"
	}
	pool := engine.NewPool(p, o)
	t.Cleanup(pool.Close)
	return pool
}

// call runs a pool's function once. Without a Timeout it has ten seconds.
func call(t testing.TB, p *engine.Pool, c engine.Call) (result engine.Result) {
	t.Helper()
	if c.Event == nil {
		ev := sample(t)
		c.Event = &ev
	}
	if c.Timeout == 0 {
		c.Timeout = 10 * time.Second
	}
	p.Run(t.Context(), []engine.Call{c}, func(_ int, r engine.Result) { result = r })
	return result
}

// value runs code once and is what it returned.
func value(t testing.TB, o engine.Options, code string) string {
	t.Helper()
	r := call(t, pool(t, o, code), engine.Call{Kind: engine.Source})
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	return string(r.Value)
}

const sleep = `const sleep = (ms, v) => new Promise((done) => setTimeout(done, ms, v)); `

func TestACallWaitsForWhatItHasBegun(t *testing.T) {
	for _, test := range []struct{ name, code, want string }{
		{"timers in the order of their time, then of their making", sleep + `const said = []; setTimeout(() => said.push("b"), 20); setTimeout(() => said.push("a"), 1); setTimeout(() => said.push("c"), 20); await sleep(60); return said.join("")`, `"abc"`},
		{"a timer that was cleared", sleep + `const said = []; const id = setTimeout(() => said.push("x"), 1); clearTimeout(id); clearTimeout(id); clearTimeout(undefined); await sleep(5); return said`, `[]`},
		{"an interval", sleep + `let n = 0; const done = new Promise((ok) => { const id = setInterval(() => { if (++n === 3) { clearInterval(id); ok() } }, 1) }); await done; return n`, `3`},
		{"arguments of a timer", `return await new Promise((done) => setTimeout((...all) => done(all), 0, 1, "a"))`, `[1,"a"]`},
		{"microtasks before timers", `const said = []; await new Promise((done) => { setTimeout(() => { said.push("timer"); done() }, 0); queueMicrotask(() => said.push("micro")); Promise.resolve().then(() => said.push("job")) }); return said`, `["micro","job","timer"]`},
		{"all at once", sleep + `return await Promise.all([sleep(3, "a"), sleep(1, "b"), ctx.kv.get("none")])`, `["a","b",null]`},
		{"a race", sleep + `return await Promise.race([sleep(1, "quick"), sleep(60_000, "slow")])`, `"quick"`},
		{"a wait that makes no sense", `return await new Promise((done) => setTimeout(done, "x", 1)) + await new Promise((done) => setTimeout(done, -5, 2))`, `3`},
		{"a thenable", `return { then(ok) { setTimeout(ok, 1, "late") } }`, `"late"`},
		{"async generators and for await", sleep + `async function* many() { yield await sleep(1, 1); yield 2 } let sum = 0; for await (const n of many()) sum += n; return sum`, `3`},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := value(t, engine.Options{Host: &fakeHost{}}, test.code); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestAnOperationThatNobodyWaitsForIsDoneBeforeTheCallEnds(t *testing.T) {
	begun, goOn := make(chan struct{}), make(chan struct{})
	host := &fakeHost{before: func(context.Context, string) error { close(begun); <-goOn; return nil }}
	p := pool(t, engine.Options{Host: host}, `ctx.kv.set("a", 1)`)
	ended := make(chan engine.Result, 1)
	go func() { ended <- call(t, p, engine.Call{}) }()
	<-begun
	select {
	case r := <-ended:
		t.Fatalf("the call ended before its operation: %v", r.Err)
	default:
	}
	close(goOn)
	if r := <-ended; r.Err != nil || len(host.ops) != 1 {
		t.Errorf("%v, %d operations", r.Err, len(host.ops))
	}
}

func TestACallFailsForWhatItLeavesBehind(t *testing.T) {
	refuse := &fakeHost{before: func(context.Context, string) error { return &effect.Error{Code: "EFULL", Msg: "no room"} }}
	broken := &fakeHost{before: func(context.Context, string) error {
		return &core.Error{Kind: core.Unavailable, Msg: "secret of the host"}
	}}
	panics := &fakeHost{before: func(context.Context, string) error { panic("in the host") }}
	for _, test := range []struct {
		name, code, want string
		host             engine.Host
	}{
		{"an operation that nobody handles", `ctx.kv.set("a", 1)`, "it.js:2:12: a promise was rejected and nobody handled it: HostError: no room", refuse},
		{"an operation that is awaited", `await ctx.kv.set("a", 1)`, "it.js:2:18: HostError: no room", refuse},
		{"its code", `try { await ctx.kv.set("a", 1) } catch (e) { throw new Error(e.code + e.name + (e instanceof Error) + ("value" in e)) }`, "EFULLHostErrortruefalse", refuse},
		{"a failure inside pipehook", `await ctx.kv.set("a", 1)`, "HostError: ctx.kv.set: pipehook could not do it; its log says why", broken},
		{"a panic of the host", `await ctx.kv.set("a", 1)`, "HostError: ctx.kv.set: pipehook could not do it", panics},
		{"no host", `await ctx.kv.get("a")`, "ctx.kv.get is not available here", nil},
		{"a timer's callback that throws", `await new Promise((done) => { setTimeout(() => { throw new RangeError("tick") }, 1); setTimeout(done, 50) })`, "it.js:2:56: RangeError: tick", nil},
		{"a microtask that throws", `queueMicrotask(() => { throw new Error("micro") })`, "Error: micro", nil},
		{"a promise that can't settle", `await new Promise(() => {})`, "never settled: nothing is left to run", nil},
		{"a promise whose timer was cleared", `await new Promise((done) => clearTimeout(setTimeout(done, 60_000)))`, "never settled: nothing is left to run", nil},
		{"text as code", `setTimeout("alert()", 1)`, "setTimeout wants a function", nil},
		{"too many timers", `for (let i = 0; i < 20_000; i++) setTimeout(() => {}, 1000)`, "10000 timers wait already", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := call(t, pool(t, engine.Options{Host: test.host}, test.code), engine.Call{})
			if r.Err == nil || !strings.Contains(r.Err.Error(), test.want) {
				t.Errorf("error %v, want %s", r.Err, test.want)
			}
			if test.host == engine.Host(broken) && core.KindOf(r.Err) != core.Unavailable {
				t.Errorf("the kind is lost: %v", core.KindOf(r.Err))
			}
		})
	}
}

func TestADeadlineEndsEveryWait(t *testing.T) {
	host := &fakeHost{before: func(ctx context.Context, op string) error {
		if op == "emit" {
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	}}
	for _, test := range []struct{ name, code, want string }{
		{"a timer", `await new Promise((done) => setTimeout(done, 60_000))`, "deadline of 500ms exceeded at "},
		{"an operation", `await ctx.emit("added.x")`, "deadline of 500ms exceeded, waiting for ctx.emit at "},
		{"a loop of timers", `await new Promise(() => setInterval(() => {}, 0))`, "deadline of 500ms exceeded"},
		{"a loop of promises", `for (;;) await null`, "deadline of 500ms exceeded"},
		{"a loop in a timer", `await new Promise(() => setTimeout(() => { for (;;); }, 1))`, "deadline of 500ms exceeded at "},
		{"a loop after an operation", `await ctx.kv.get("x"); for (;;);`, "deadline of 500ms exceeded at "},
		{"an operation that nobody waits for", `ctx.emit("added.x")`, "deadline of 500ms exceeded, waiting for ctx.emit at "},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p := pool(t, engine.Options{Host: host}, "if (event.id === 'ok') return;\n"+test.code)
			r := call(t, p, engine.Call{Timeout: 500 * time.Millisecond})
			if r.Err == nil || !strings.Contains(r.Err.Error(), test.want) || !errors.Is(r.Err, context.DeadlineExceeded) {
				t.Errorf("error %v, want %s", r.Err, test.want)
			}
			if r := call(t, p, engine.Call{Event: &core.Event{ID: "ok"}}); r.Err != nil {
				t.Errorf("the next call: %v", r.Err)
			}
		})
	}
}

func TestAFailureIsNotHiddenByWhatIsStillToBeWaitedFor(t *testing.T) {
	host := &fakeHost{before: func(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() }}
	for _, code := range []string{
		`export default () => { console.log(1); throw new Error("mine") }`,
		`export default (event, ctx) => { ctx.emit("added.x").catch(() => {}); throw new Error("mine") }`,
		`export default async (event, ctx) => { ctx.emit("added.x"); throw new Error("mine") }`,
	} {
		if r := call(t, pool(t, engine.Options{Host: host}, code), engine.Call{Timeout: 500 * time.Millisecond}); r.Err == nil || !strings.Contains(r.Err.Error(), "Error: mine") {
			t.Errorf("%s: %v", code, r.Err)
		}
	}
}

func TestWhatWasLeftUndoneEndsTheRuntime(t *testing.T) {
	for _, test := range []struct{ name, code, want string }{
		{"nothing left", `return ++n`, "1 2"},
		{"a timer that was cleared", `clearTimeout(setTimeout(() => {}, 1000)); return ++n`, "1 2"},
		{"a timer that was dropped", `setTimeout(() => { n = 100 }, 1000); return ++n`, "1 1"},
	} {
		p := pool(t, engine.Options{}, "let n = 0; export default () => { "+test.code+" }")
		first, second := call(t, p, engine.Call{Kind: engine.Stage}), call(t, p, engine.Call{Kind: engine.Stage})
		if got := string(first.Value) + " " + string(second.Value); got != test.want {
			t.Errorf("%s: %s, want %s (%v, %v)", test.name, got, test.want, first.Err, second.Err)
		}
	}
}

func TestCallsOfOneRunAreReportedInOrderAndOneFailureIsOnlyItsOwn(t *testing.T) {
	p := pool(t, engine.Options{}, `let n = 0; export default (event) => { n++; if (event.id === "1") throw new Error("one"); if (event.id === "2") { const deep = () => deep(); deep() } return n }`)
	var calls []engine.Call
	for i := range 4 {
		calls = append(calls, engine.Call{Kind: engine.Stage, Event: &core.Event{ID: fmt.Sprint(i)}, Timeout: 10 * time.Second})
	}
	var got []string
	p.Run(t.Context(), calls, func(i int, r engine.Result) {
		if r.Hash == "" || r.Took <= 0 {
			t.Errorf("call %d: hash %q, took %s", i, r.Hash, r.Took)
		}
		got = append(got, fmt.Sprint(i, ":", string(r.Value), r.Err != nil))
	})
	if text := strings.Join(got, " "); text != "0:1false 1:true 2:true 3:1false" { // after the third, a new runtime
		t.Errorf("got %s", text)
	}
}

func TestAScriptsTimeIsTheClocks(t *testing.T) {
	clock := &testClock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	got := value(t, engine.Options{Clock: clock}, `const began = Date.now(); await new Promise((done) => setTimeout(done, 3600_000)); return [new Date(began).toISOString(), Date.now() - began]`)
	if got != `["2026-01-02T03:04:05.000Z",3600000]` {
		t.Errorf("got %s", got)
	}
}

// testClock jumps to whatever is waited for.
type testClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *testClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *testClock) AfterFunc(d time.Duration, f func()) func() bool {
	c.mu.Lock()
	c.now = c.now.Add(d)
	c.mu.Unlock()
	f()
	return func() bool { return false }
}

func TestNothingCanBeBegunWhileTheFileIsLoaded(t *testing.T) {
	_, _, err := compile(t, "it.js", "setTimeout(() => {}, 1);\nexport default () => 1")
	if err == nil || !strings.Contains(err.Error(), "it.js:1:12: TypeError: setTimeout can't be used while the file is loaded") {
		t.Errorf("error %v", err)
	}
}

func TestALineSurvivesJSON(t *testing.T) {
	var lines []engine.Line
	p := pool(t, engine.Options{Said: func(l engine.Line) { lines = append(lines, l) }}, `ctx.log.warn("a", { n: 1, f: 1.5, t: true, s: "x", o: { a: 1 }, nan: NaN })`)
	if r := call(t, p, engine.Call{}); r.Err != nil {
		t.Fatal(r.Err)
	}
	text, err := json.Marshal(lines[0])
	if err != nil {
		t.Fatal(err)
	}
	var back engine.Line
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(back), fmt.Sprint(lines[0]); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
