package web_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/dop251/goja"

	"github.com/pipehook/pipehook/core/jshost/web"
)

// freeze is what an engine does before a script runs: nobody can change the language's own objects.
var freeze = goja.MustCompile("freeze.js", `(function () {
  "use strict";
  const seen = new Set();
  const walk = (v) => {
    if ((typeof v !== "object" && typeof v !== "function") || v === null || v === globalThis || seen.has(v)) return;
    seen.add(v);
    Object.freeze(v);
    walk(Object.getPrototypeOf(v));
    for (const key of Reflect.ownKeys(v)) {
      const d = Reflect.getOwnPropertyDescriptor(v, key);
      walk(d.value); walk(d.get); walk(d.set);
    }
  };
  for (const key of Reflect.ownKeys(globalThis)) {
    const d = Reflect.getOwnPropertyDescriptor(globalThis, key);
    if (!d.get) walk(d.value);
  }
  for (const v of [function* () {}, async function () {}, [][Symbol.iterator](), new Map().entries(), new Set().values(), "".matchAll(/x/g), ""[Symbol.iterator]()]) walk(v);
})()`, true)

// world is a runtime with the globals and the smallest loop that serves them.
type world struct {
	t         *testing.T
	vm        *goja.Runtime
	globals   *web.World
	tasks     chan func()
	waits     []wait
	rejected  map[*goja.Promise]bool
	operation int
}

type wait struct {
	d time.Duration
	f func() error
}

type fetchFunc func(ctx context.Context, r *web.FetchRequest) (*web.FetchResponse, error)

func newWorld(t *testing.T, fetch fetchFunc) *world {
	w := &world{t: t, vm: goja.New(), tasks: make(chan func()), rejected: map[*goja.Promise]bool{}}
	w.vm.SetMaxCallStackSize(1000)
	w.vm.SetPromiseRejectionTracker(func(p *goja.Promise, op goja.PromiseRejectionOperation) {
		w.rejected[p] = op == goja.PromiseRejectionReject
	})
	if _, err := w.vm.RunProgram(freeze); err != nil {
		t.Fatal(err)
	}
	var err error
	w.globals, err = web.Install(w.vm, web.Deps{
		Async:  w.async,
		Fetch:  fetch,
		Random: rand.NewChaCha8([32]byte{1}),
		After: func(d time.Duration, f func() error) func() {
			w.waits = append(w.waits, wait{d, f})
			return func() {}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) async(op func(context.Context) (func(*goja.Runtime) goja.Value, error)) goja.Value {
	promise, resolve, reject := w.vm.NewPromise()
	w.operation++
	go func() {
		result, err := op(w.t.Context())
		w.tasks <- func() {
			w.operation--
			if err != nil {
				_ = reject(w.vm.NewGoError(err))
				return
			}
			_ = resolve(result(w.vm))
		}
	}()
	return w.vm.ToValue(promise)
}

// run is the JSON of what the body of an async function returns, or the error it throws.
func (w *world) run(body string) string {
	w.t.Helper()
	v, err := w.vm.RunScript("test.js", "(async () => {\n"+body+"\n})()")
	if err != nil {
		return "run: " + err.Error()
	}
	p := v.Export().(*goja.Promise)
	for p.State() == goja.PromiseStatePending || w.operation > 0 {
		switch {
		case w.operation > 0:
			(<-w.tasks)()
		case len(w.waits) > 0: // the next thing that can happen
			next := w.waits[0]
			w.waits = w.waits[1:]
			if err := next.f(); err != nil {
				return "wait: " + err.Error()
			}
		default:
			return "it never settles"
		}
	}
	delete(w.rejected, p)
	if p.State() == goja.PromiseStateRejected {
		return p.Result().String()
	}
	return w.json(p.Result())
}

func (w *world) json(v goja.Value) string {
	stringify, _ := goja.AssertFunction(w.vm.Get("JSON").ToObject(w.vm).Get("stringify"))
	text, err := stringify(goja.Undefined(), v)
	if err != nil {
		return err.Error()
	}
	return text.String()
}

func (w *world) unhandled() (n int) {
	for _, open := range w.rejected {
		if open {
			n++
		}
	}
	return n
}

// row is a piece of a script and what it returns as JSON, or the beginning of the error it throws.
type row struct{ name, code, want string }

// body returns the value of an expression.
func (r row) body() string {
	if strings.Contains(r.code, "return ") {
		return r.code
	}
	return "return " + r.code
}

func check(t *testing.T, rows []row) {
	t.Helper()
	w := newWorld(t, nil) // one for all: a row can't change what the next one sees
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			got := w.run(r.body())
			if got != r.want && (!strings.Contains(r.want, "Error: ") || !strings.HasPrefix(got, r.want)) {
				t.Errorf("%s\ngot  %s\nwant %s", r.code, got, r.want)
			}
		})
	}
}

func quoted(s string) string {
	text, _ := json.Marshal(s)
	return string(text)
}

func TestWhatIsInstalledCanNotBeChanged(t *testing.T) {
	w := newWorld(t, nil)
	got := w.run(`"use strict";
		const open = [];
		const seen = new Set();
		const attempt = (where, f) => { try { f(); open.push(where); } catch (e) { if (!(e instanceof TypeError)) throw e; } };
		const walk = (where, v) => {
			if ((typeof v !== "object" && typeof v !== "function") || v === null || seen.has(v)) return;
			seen.add(v);
			if (!Object.isFrozen(v)) open.push(where);
			walk(where + ".__proto__", Object.getPrototypeOf(v));
			for (const key of Reflect.ownKeys(v)) {
				const d = Reflect.getOwnPropertyDescriptor(v, key);
				for (const part of [d.value, d.get, d.set]) walk(where + "." + String(key), part);
			}
		};
		for (const name of ` + w.json(w.vm.ToValue(web.Globals())) + `) {
			if (typeof globalThis[name] === "undefined") open.push(name + " is missing");
			if (globalThis[name] !== globalThis[name]) open.push(name + " is made twice");
			attempt(name + " is replaced", () => { globalThis[name] = 1; });
			attempt(name + " is deleted", () => { delete globalThis[name]; });
			attempt(name + " is defined", () => { Object.defineProperty(globalThis, name, { value: 1 }); });
			walk(name, globalThis[name]);
		}
		return open;`)
	if got != "[]" {
		t.Errorf("a script can change %s", got)
	}
}

func TestOurOwnFramesAreKnownInAStack(t *testing.T) {
	w := newWorld(t, nil)
	_, err := w.vm.RunScript("user.js", "function place() {\n  new Headers({ 'a b': 1 });\n}\nplace()")
	exception, ok := errors.AsType[*goja.Exception](err)
	if !ok {
		t.Fatal(err)
	}
	for _, frame := range exception.Stack() {
		if name := frame.Position().Filename; name != "" && !web.Frame(name) && !web.Frame(frame.SrcName()) {
			if place := fmt.Sprintf("%s:%d", name, frame.Position().Line); place != "user.js:2" {
				t.Errorf("the place of the mistake is %s", place)
			}
			return
		}
	}
	t.Errorf("no frame of the user's in %v", exception.Stack())
}

func TestAnInterruptedFirstUseWorksTheNextTime(t *testing.T) {
	w := newWorld(t, nil)
	w.vm.Interrupt("stop")
	if _, err := w.vm.RunString("new URL('https://a.example')"); err == nil {
		t.Fatal("it was not interrupted")
	}
	w.vm.ClearInterrupt()
	w.vm.Interrupt("stop")
	if _, err := w.globals.NewSignal(); err == nil {
		t.Fatal("it was not interrupted")
	}
	w.vm.ClearInterrupt()
	if got := w.run("return [new URL('https://a.example').host, new AbortController().signal.aborted]"); got != `["a.example",false]` {
		t.Error(got)
	}
}

func bytesEach(setup func(vm *goja.Runtime)) uint64 {
	const n = 20
	all := make([]*goja.Runtime, n)
	before := heap()
	for i := range all {
		all[i] = goja.New()
		setup(all[i])
	}
	after := heap()
	runtime.KeepAlive(all)
	return (after - min(before, after)) / n
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestARuntimeThatUsesNothingIsSmall(t *testing.T) {
	install := func(vm *goja.Runtime) {
		_, err := web.Install(vm, web.Deps{
			Async:  func(func(context.Context) (func(*goja.Runtime) goja.Value, error)) goja.Value { return nil },
			Random: rand.NewChaCha8([32]byte{}),
			After:  func(time.Duration, func() error) func() { return nil },
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	touch := func(code string) func(vm *goja.Runtime) {
		return func(vm *goja.Runtime) {
			install(vm)
			if _, err := vm.RunString(code); err != nil {
				t.Fatal(err)
			}
		}
	}
	touch("fetch; crypto; structuredClone; atob; URL")(goja.New()) // compiles all
	bare, none := bytesEach(func(*goja.Runtime) {}), bytesEach(install)
	t.Logf("bytes of a runtime: %d alone, %d with the globals, %d with fetch touched, %d with crypto, %d with all", bare, none,
		bytesEach(touch("fetch")), bytesEach(touch("crypto")),
		bytesEach(touch("fetch; crypto; structuredClone; atob; new URL('https://a.example'); AbortSignal")))
	frozen := func(code string) uint64 {
		return bytesEach(func(vm *goja.Runtime) {
			if _, err := vm.RunProgram(freeze); err != nil {
				t.Fatal(err)
			}
			touch(code)(vm)
		})
	}
	t.Logf("where the language's own objects are frozen: %d with the globals, %d with all touched", frozen(""), frozen("fetch; crypto; structuredClone; atob; new URL('https://a.example'); AbortSignal"))
	if none > 20<<10 {
		t.Errorf("untouched, the globals take %d bytes of each runtime", none-bare)
	}
}

func BenchmarkInstall(b *testing.B) {
	deps := web.Deps{
		Async:  func(func(context.Context) (func(*goja.Runtime) goja.Value, error)) goja.Value { return nil },
		Random: rand.NewChaCha8([32]byte{}),
		After:  func(time.Duration, func() error) func() { return nil },
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := web.Install(goja.New(), deps); err != nil {
			b.Fatal(err)
		}
	}
}
