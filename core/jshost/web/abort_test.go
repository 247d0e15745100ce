package web_test

import (
	"errors"
	"testing"

	"github.com/dop251/goja"
)

func TestSignals(t *testing.T) {
	check(t, []row{
		{"a controller aborts once", `const c = new AbortController(); const got = [c.signal.aborted]; c.signal.onabort = (e) => got.push("on " + e.type, e.target === c.signal); c.signal.addEventListener("abort", () => got.push("listener")); c.abort(new Error("first")); c.abort(new Error("second")); return [...got, c.signal.aborted, c.signal.reason.message]`,
			`[false,"listener","on abort",true,true,"first"]`},
		{"without a reason", `const c = new AbortController(); c.abort(); return [c.signal.reason.name, c.signal.reason.message]`, `["AbortError","This operation was aborted"]`},
		{"listeners: once each, other events not, objects too, removed ones not", `const c = new AbortController(); let n = 0; const f = () => n++; c.signal.addEventListener("abort", f); c.signal.addEventListener("abort", f); c.signal.addEventListener("other", () => n += 10); c.signal.addEventListener("abort", { handleEvent() { n += 100 } }); const g = () => n += 1000; c.signal.addEventListener("abort", g); c.signal.removeEventListener("abort", g); c.abort(); return n`, "101"},
		{"aborted from the beginning", `const s = AbortSignal.abort(5); return [s.aborted, s.reason]`, "[true,5]"},
		{"timeout", `const s = AbortSignal.timeout(20); const before = s.aborted; await new Promise((f) => s.addEventListener("abort", f)); return [before, s.aborted, s.reason.name, s.reason.code, s.reason.message]`,
			`[false,true,"TimeoutError",23,"The operation took longer than 20 ms"]`},
		{"a timeout below nothing", `AbortSignal.timeout(-1)`, "TypeError: AbortSignal.timeout"},
		{"a timeout of a word", `AbortSignal.timeout("soon")`, "TypeError: AbortSignal.timeout"},
		{"any of several", `const a = new AbortController(), b = new AbortController(); const s = AbortSignal.any([a.signal, b.signal, b.signal]); const before = s.aborted; b.abort("b"); a.abort("a"); return [before, s.aborted, s.reason]`, `[false,true,"b"]`},
		{"any of one that is aborted", `AbortSignal.any([new AbortController().signal, AbortSignal.abort("x")]).reason`, `"x"`},
		{"any of none", `AbortSignal.any([]).aborted`, "false"},
		{"any of what is none", `AbortSignal.any([{}])`, "TypeError: AbortSignal.any"},
		{"signals are not made by hand", `new AbortSignal()`, "TypeError: AbortSignal can't be made"},
		{"an exception", "const e = new DOMException('m', 'DataCloneError'); return [`${e}`, e.code, new DOMException().name, typeof e.stack, Object.keys(e)]", `["DataCloneError: m",25,"Error","string",[]]`},
	})
	check(t, []row{
		{"throwIfAborted", `const c = new AbortController(); c.signal.throwIfAborted(); c.abort(new RangeError("x")); c.signal.throwIfAborted(); return 1`, "RangeError: x"},
	})
}

func TestAListenerThatThrowsIsReportedAndTheOthersAreCalled(t *testing.T) {
	w := newWorld(t, nil)
	got := w.run(`const c = new AbortController(); let n = 0; c.signal.addEventListener("abort", () => { throw new Error("mine"); }); c.signal.addEventListener("abort", () => n++); c.abort(); return n`)
	if got != "1" || w.unhandled() != 1 {
		t.Error(got, w.unhandled())
	}
}

func TestGoAbortsASignal(t *testing.T) {
	w := newWorld(t, nil)
	s, err := w.globals.NewSignal()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.vm.Set("signal", s.Value()); err != nil {
		t.Fatal(err)
	}
	w.waits = append(w.waits, wait{f: func() error { return s.Abort("TimeoutError", "the deadline of 5s") }}, wait{f: func() error { return s.Abort("AbortError", "too late") }})
	got := w.run(`const before = signal instanceof AbortSignal && signal.aborted; await new Promise((f) => signal.onabort = f); return [before, signal.aborted, signal.reason.name, signal.reason.message]`)
	if want := `[false,true,"TimeoutError","the deadline of 5s"]`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestWhatStopsAListenerReachesTheLoop(t *testing.T) {
	w := newWorld(t, nil)
	s, err := w.globals.NewSignal()
	if err != nil {
		t.Fatal(err)
	}
	_ = w.vm.Set("signal", s.Value())
	if _, err := w.vm.RunString(`
		const deep = () => deep();
		signal.onabort = deep;
		AbortSignal.timeout(1).onabort = deep;`); err != nil {
		t.Fatal(err)
	}
	if _, ok := errors.AsType[*goja.StackOverflowError](s.Abort("AbortError", "x")); !ok {
		t.Error("Abort does not say that its listener was stopped")
	}
	if _, ok := errors.AsType[*goja.StackOverflowError](w.waits[0].f()); !ok {
		t.Error("a timeout does not say that its listener was stopped")
	}
}
