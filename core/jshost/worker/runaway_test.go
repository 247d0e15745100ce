//go:build unix

package worker_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/jshost/engine"
	"github.com/pipehook/pipehook/core/jshost/worker"
)

const (
	tooLong = "deadline of 500ms exceeded"
	tooMuch = "memory limit of 64MiB exceeded"
	tooDeep = "nested too deep"
	done    = "" // it succeeds
)

// runaways are what scripts do by mistake or on purpose, and the reason that people are given.
// Where there are several, the machine decides which limit is met first.
var runaways = []struct {
	name, code string
	reasons    []string
}{
	{"an endless loop", `for (;;);`, []string{tooLong}},
	{"a loop that catches everything", `while (true) { try { while (true) {} } catch (e) {} finally { for (;;); } }`, []string{tooLong}},
	{"an endless generator", `function* g() { for (;;) yield 1 } for (const x of g());`, []string{tooLong}},
	{"spreading an endless generator", `function* g() { for (;;) yield 1 } [...g()]`, []string{tooLong, tooMuch}},
	{"promise jobs without end", `const again = () => Promise.resolve().then(again); return again()`, []string{tooLong, tooMuch}},
	{"awaiting in a loop", `return (async () => { for (;;) await null })()`, []string{tooLong, tooMuch}},
	{"a sort with an endless comparator", `[3, 1, 2].sort(() => { for (;;); })`, []string{tooLong}},
	{"a getter without end", `const o = { get a() { for (;;); } }; o.a`, []string{tooLong}},
	{"a proxy without end", `new Proxy({}, { get() { for (;;); } }).a`, []string{tooLong}},
	{"a toString without end", `String({ toString() { for (;;); } })`, []string{tooLong}},
	{"a valueOf without end", `1 + { valueOf() { for (;;); } }`, []string{tooLong}},
	{"a toJSON without end", `JSON.stringify({ toJSON() { for (;;); } })`, []string{tooLong}},
	{"a regular expression that looks ahead", `if (!/(?=a)(a+)+$/.test("a".repeat(40) + "!")) console.log("no match")`, []string{tooLong}},
	{"a regular expression that refers back", `if (!/(a+)+\1$/.test("a".repeat(40) + "!")) console.log("no match")`, []string{tooLong}},
	{"replacing by a regular expression", `"a".repeat(40).concat("!").replace(/(?=a)(a+)+$/g, "b"); console.log("no match")`, []string{tooLong}},
	{"recursion", `function f() { return f() + 1 } f()`, []string{tooDeep}},
	{"recursion by a getter", `const o = { get a() { return this.a } }; o.a`, []string{tooDeep}},
	{"recursion by a proxy", `const p = new Proxy({}, { get(t, k, r) { return r[k] } }); p.a`, []string{tooDeep}},
	{"recursion by toJSON", `const o = { toJSON() { return JSON.stringify(o) } }; JSON.stringify(o)`, []string{tooDeep}},
	{"recursion by toString", `const o = { toString() { return "" + o } }; "" + o`, []string{tooDeep}},
	{"recursion in a callback", `const f = () => [1].map(f); f()`, []string{tooDeep}},
	{"parsing JSON that is deep", `JSON.parse("[".repeat(1e6) + "]".repeat(1e6))`, []string{"SyntaxError"}},
	{"text of an array that is deep", `let a = []; for (let i = 0; i < 1e6; i++) a = [a]; String(a)`, []string{tooDeep, tooMuch, tooLong}},
	{"JSON of an object that is deep", `let a = {}; for (let i = 0; i < 1e6; i++) a = { a }; JSON.stringify(a)`, []string{tooDeep, tooMuch, tooLong}},
	{"a string that is far too long", `"x".repeat(2 ** 40)`, []string{"RangeError"}},
	{"padding that is far too long", `"x".padEnd(2 ** 40, "y")`, []string{"RangeError"}},
	{"a buffer that is far too large", `new ArrayBuffer(2 ** 40)`, []string{tooMuch, "RangeError"}},
	{"a buffer that is too large", `new Uint8Array(1 << 30).fill(1)`, []string{tooMuch, "RangeError"}},
	{"a number that is far too large", `let n = 1n; n << (n << 40n)`, []string{tooMuch, "RangeError"}},
	{"a power that is far too large", `let n = 2n; (n ** 64n) ** (n ** 24n)`, []string{tooMuch, tooLong, "RangeError"}},
	{"a string that doubles", `let s = "x"; for (;;) s += s`, []string{tooMuch}},
	{"an array that grows", `const a = []; for (;;) a.push({})`, []string{tooMuch, tooLong}},
	{"an array that is filled", `new Array(1e8).fill(0)`, []string{tooMuch, tooLong}},
	{"joining an array that is long", `new Array(2e7).join("abc")`, []string{tooMuch, tooLong}},
	{"a map that grows", `const m = new Map(); for (let i = 0; ; i++) m.set(i, {})`, []string{tooMuch, tooLong}},
	{"a set that grows", `const s = new Set(); for (let i = 0; ; i++) s.add("x" + i)`, []string{tooMuch, tooLong}},
	{"typed arrays without end", `const a = []; for (;;) a.push(new Float64Array(1e6).fill(1))`, []string{tooMuch, tooLong}},
	{"JSON that nests itself", `let o = { a: 1 }; for (;;) o = JSON.parse(JSON.stringify({ a: o, b: o, c: o }))`, []string{tooMuch, tooLong}},
	{"memory kept between calls", `for (;;) kept.push(new Array(1000).fill("x"))`, []string{tooMuch, tooLong}},
	{"an Error", `throw new Error("on purpose")`, []string{"Error: on purpose"}},
	{"a thrown string", `throw "text"`, []string{`threw "text"`}},
	{"a thrown undefined", `throw undefined`, []string{"threw undefined"}},
	{"a thrown null", `throw null`, []string{"threw null"}},
	{"a thrown symbol", `throw Symbol("s")`, []string{"threw"}},
	{"a thrown frozen object", `throw Object.freeze({ a: 1 })`, []string{`threw {"a":1}`}},
	{"a thrown object whose toString throws", `throw { toString() { throw 1 } }`, []string{"threw"}},
	{"a thrown error whose message throws", `throw Object.defineProperty(new Error(), "message", { get() { throw 1 } })`, []string{"it.js"}},
	{"a thrown error whose stack never ends", `throw Object.defineProperty(new Error("x"), "stack", { get() { for (;;); } })`, []string{"x", tooLong}},
	{"a thrown proxy", `throw new Proxy({}, { get() { throw 1 }, ownKeys() { throw 2 } })`, []string{"threw"}},
	{"a thrown proxy without end", `throw new Proxy({}, { get() { for (;;); }, ownKeys() { for (;;); } })`, []string{"threw", tooLong}},
	{"a thrown promise", `throw Promise.reject(new Error("inner"))`, []string{"threw", "inner"}},
	{"a rejected promise", `return Promise.reject(new Error("refused"))`, []string{"refused"}},
	{"a promise rejected with nothing", `return Promise.reject()`, []string{"undefined"}},
	{"a rejection that nobody handles", `Promise.reject(new Error("dropped"))`, []string{"dropped"}},
	{"a promise that never settles", `return new Promise(() => {})`, []string{"never settled"}},
	{"a thenable that never calls back", `return { then() {} }`, []string{"never settled"}},
	{"a thenable that never returns", `return { then() { for (;;); } }`, []string{tooLong}},
	{"a thenable whose getter throws", `return { get then() { throw new Error("not then") } }`, []string{"not then"}},
	{"a result whose getter throws", `return { get a() { throw new Error("not yet") } }`, []string{done, "not yet"}},
	{"a cyclic result", `const o = {}; o.o = o; return o`, []string{done, "circular"}},
	{"a huge result", `return "x".repeat(4 << 20)`, []string{done, "1 MiB"}},
	{"a result that is no JSON", `return 1n`, []string{done, "BigInt"}},
	{"a huge line of log", `console.log("x".repeat(4 << 20))`, []string{done}},
	{"many lines of log", `for (let i = 0; i < 1e5; i++) console.log("line " + i)`, []string{done}},
	{"log lines without end", `for (;;) console.log("x".repeat(8000))`, []string{tooLong}},
	{"logging what never ends", `console.log({ toJSON() { for (;;); } })`, []string{tooLong, done}},
}

// figures are what a test has measured.
type figures struct {
	mu              sync.Mutex
	late, replaced  time.Duration
	lateBy, against string
}

func TestNoScriptCanHurtWhatRunsIt(t *testing.T) {
	var worst figures
	t.Run("each", func(t *testing.T) {
		for _, c := range runaways {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				runaway(t, c.code, c.reasons, &worst)
			})
		}
	})
	t.Logf("%d cases; latest %s after the deadline (%s); slowest next call %s (%s)", len(runaways),
		worst.late.Round(time.Millisecond), worst.lateBy, worst.replaced.Round(time.Millisecond), worst.against)
}

// runaway makes a call of the code and then one that must work.
func runaway(t *testing.T, code string, reasons []string, worst *figures) {
	deadline := 500 * time.Millisecond
	if !slices.Contains(reasons, tooLong) { // it comes to an end by itself, but on any machine
		deadline = time.Minute
	}
	handler := fmt.Sprintf("const kept = [];\nexport default (event, ctx) => {\n  if (event.id === 'bad') {\n    %s\n  }\n}", code)
	p, j := start(t, handler, func(o *worker.Options) { o.Memory = 64 << 20 })
	if r := run(t, p, sample(t, "first"), time.Minute); r.Err != nil {
		t.Fatal(r.Err)
	}
	began := time.Now()
	err := run(t, p, sample(t, "bad"), deadline).Err
	took := time.Since(began)
	again := time.Now()
	if r := run(t, p, sample(t, "good"), time.Minute); r.Err != nil {
		t.Errorf("the next event: %v", r.Err)
	}
	worst.note(t.Name(), took-deadline, time.Since(again))
	if took > deadline+10*time.Second {
		t.Errorf("it took %s", took)
	}
	text := ""
	if err != nil {
		text = err.Error()
	}
	t.Logf("%s, next %s: %.200q %s", took.Round(time.Millisecond), time.Since(again).Round(time.Millisecond), text, core.KindOf(err))
	fits := false
	for _, reason := range reasons {
		fits = fits || (reason == done) == (err == nil) && strings.Contains(text, reason)
	}
	if !fits {
		t.Errorf("error %.300q, want one of %q", text, reasons)
	}
	for _, line := range j.said() {
		if line == "no match" {
			t.Error("a match that was broken off counts as none")
		}
	}
	checkKind(t, err, text)
}

// checkKind looks at what the error says to who delivers.
func checkKind(t *testing.T, err error, text string) {
	t.Helper()
	_, script := err.(*engine.ScriptError)
	if err != nil && !script {
		t.Errorf("the error is a %T", err)
	}
	if crashed := strings.Contains(text, tooMuch) || strings.Contains(text, "ended its process"); crashed != (core.KindOf(err) == core.Crashed) {
		t.Errorf("the error's kind is %s", core.KindOf(err))
	}
}

func (f *figures) note(name string, late, replaced time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if late > f.late {
		f.late, f.lateBy = late, name
	}
	if replaced > f.replaced {
		f.replaced, f.against = replaced, name
	}
}
