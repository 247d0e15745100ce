package jshost_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core/jshost"
)

func TestADeadlineEndsTheCallAndTheNextOneWorks(t *testing.T) {
	// Between two promise jobs there is no line where the script is.
	for name, test := range map[string]struct{ loop, place string }{
		"a loop":           {"for (;;);", "it.js:"},
		"a trap":           {"for (;;) { try { for (;;); } catch (e) {} finally { for (;;); } }", "it.js:"},
		"promise jobs":     {"const again = () => Promise.resolve().then(again); again();", "it.js"},
		"a growing string": {"let s = 'x'; for (;;) { s = 'x' + s.slice(0, 10); }", "it.js:"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, p, err := script(t, "it.js", "export default (event) => {\n  if (event.id === 'stuck') {\n    "+test.loop+"\n  }\n}")
			if err != nil {
				t.Fatal(err)
			}
			s := jshost.NewScript("it", p, 1, jshost.Options{})
			for range 3 {
				ev := sample(t)
				ev.ID = "stuck"
				ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
				err = s.Handle(ctx, ev)
				cancel()
				if err == nil || !strings.Contains(err.Error(), "ms exceeded at ") || !strings.Contains(err.Error(), test.place) || !errors.Is(err, context.DeadlineExceeded) {
					t.Fatalf("error %v", err)
				}
				if err := s.Handle(t.Context(), sample(t)); err != nil {
					t.Fatalf("the next call: %v", err)
				}
			}
		})
	}
}

func TestManyCallsShareFewRuntimes(t *testing.T) {
	_, p, err := script(t, "it.js", "let n = 0; export default () => { n++ }")
	if err != nil {
		t.Fatal(err)
	}
	s := jshost.NewScript("it", p, 2, jshost.Options{})
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 50 {
				if err := s.Handle(t.Context(), sample(t)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func TestASwapGoesToTheNewVersion(t *testing.T) {
	compile := func(word string) *jshost.Program {
		_, p, err := script(t, "it.js", "export default (event, ctx) => ctx.log.info('"+word+"')")
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	var said []string
	first, second := compile("one"), compile("two")
	s := jshost.NewScript("it", first, 1, jshost.Options{Log: slog.New(slog.DiscardHandler), Said: func(l jshost.Line) { said = append(said, l.Text) }})
	for _, p := range []*jshost.Program{nil, second} {
		if p != nil {
			s.Swap(p)
		}
		if err := s.Handle(t.Context(), sample(t)); err != nil {
			t.Fatal(err)
		}
	}
	if strings.Join(said, " ") != "one two" || s.Hash() != second.Hash() || first.Hash() == second.Hash() {
		t.Errorf("said %v, hash %s", said, s.Hash())
	}
}

func TestNoMoreCallsRunThanThePoolHolds(t *testing.T) {
	const size = 3
	var inside, most atomic.Int32
	gate := make(chan struct{})
	_, p, err := script(t, "it.js", "export default () => { console.log('in') }")
	if err != nil {
		t.Fatal(err)
	}
	s := jshost.NewScript("it", p, size, jshost.Options{Said: func(jshost.Line) {
		now := inside.Add(1)
		for seen := most.Load(); now > seen && !most.CompareAndSwap(seen, now); seen = most.Load() {
		}
		<-gate
		inside.Add(-1)
	}})
	var wg sync.WaitGroup
	for range 12 {
		wg.Go(func() {
			if err := s.Handle(t.Context(), sample(t)); err != nil {
				t.Error(err)
			}
		})
	}
	for range 12 {
		gate <- struct{}{}
	}
	wg.Wait()
	if most.Load() > size {
		t.Errorf("%d calls at once, want at most %d", most.Load(), size)
	}
}

// held is a listener with one runtime that is inside a call until the returned function is called.
func held(t *testing.T, said func(jshost.Line)) (s *jshost.Script, release func()) {
	t.Helper()
	_, p, err := script(t, "it.js", "let n = 0; export default (event) => { console.log('one', ++n); console.log('still one') }")
	if err != nil {
		t.Fatal(err)
	}
	gate, entered, result := make(chan struct{}), make(chan struct{}, 10), make(chan error, 1)
	s = jshost.NewScript("it", p, 1, jshost.Options{Said: func(l jshost.Line) {
		entered <- struct{}{}
		<-gate
		said(l)
	}})
	go func() { result <- s.Handle(context.WithoutCancel(t.Context()), sample(t)) }()
	<-entered
	return s, func() {
		close(gate)
		if err := <-result; err != nil {
			t.Error(err)
		}
	}
}

func TestACallWaitsForARuntimeUntilItsDeadline(t *testing.T) {
	s, release := held(t, func(jshost.Line) {})
	defer release()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	err := s.Handle(ctx, sample(t))
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "script it: no runtime was free, all 1 are busy") {
		t.Errorf("error %v", err)
	}
}

func TestACallInFlightFinishesOnTheOldVersion(t *testing.T) {
	var mu sync.Mutex
	var said []string
	s, release := held(t, func(l jshost.Line) {
		mu.Lock()
		defer mu.Unlock()
		said = append(said, l.Text)
	})
	_, second, err := script(t, "it.js", "export default () => console.log('two')")
	if err != nil {
		t.Fatal(err)
	}
	s.Swap(second)
	release()
	if err := s.Handle(t.Context(), sample(t)); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(said, ", "); got != "one 1, still one, two" {
		t.Errorf("said %s", got)
	}
}

func TestStateStaysInARuntimeUntilItIsDiscarded(t *testing.T) {
	var said []string
	_, p, err := script(t, "it.js", "let n = 0; const deep = () => deep(); export default (event) => { console.log(++n); if (event.id === 'deep') deep() }")
	if err != nil {
		t.Fatal(err)
	}
	s := jshost.NewScript("it", p, 1, jshost.Options{Said: func(l jshost.Line) { said = append(said, l.Text) }})
	for _, id := range []string{"a", "b", "deep", "c"} {
		ev := sample(t)
		ev.ID = id
		if err := s.Handle(t.Context(), ev); (err != nil) != (id == "deep") {
			t.Errorf("%s: %v", id, err)
		}
	}
	if got := strings.Join(said, " "); got != "1 2 3 1" {
		t.Errorf("counted %s", got)
	}
}

func TestAnInterruptThatComesLateDoesNotMeetTheNextCall(t *testing.T) {
	_, p, err := script(t, "it.js", "export default () => { for (let i = 0; i < 200; i++); }")
	if err != nil {
		t.Fatal(err)
	}
	s := jshost.NewScript("it", p, 1, jshost.Options{})
	for i := range 300 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i%30)*time.Microsecond)
		_ = s.Handle(ctx, sample(t)) // done or not: it is the next call that counts
		cancel()
		if err := s.Handle(t.Context(), sample(t)); err != nil {
			t.Fatalf("after a deadline: %v", err)
		}
	}
}

func TestWhatAScriptLogs(t *testing.T) {
	for _, test := range []struct{ name, code, want string }{
		{"text and data", `ctx.log.info("moved", { deal: event.objectId, to: 4, open: true, who: { id: 1 }, text: "a b" })`,
			`level=INFO msg=moved listener=it event=id-1 at=PATH:1:53 data.deal=8 data.to=4 data.open=true data.who="{\"id\":1}" data.text="a b"`},
		{"words of every kind", `console.warn("a", 1, null, undefined, [1, { b: 2 }], { c: 3 })`, `level=WARN msg="a 1 null undefined [1,{\"b\":2}] {\"c\":3}" listener=it event=id-1 at=PATH:1:53`},
		{"an error with its place", `console.error(new Error("x"))`, `level=ERROR msg="PATH:1:54: Error: x" listener=it event=id-1 at=PATH:1:54`},
		{"control characters", `console.log("a\n\u001b[31mb")`, `level=INFO msg="a\n\x1b[31mb" listener=it event=id-1 at=PATH:1:52`},
		{"a circle", `const o = {}; o.o = o; console.log(o)`, `level=INFO msg=[Object] listener=it event=id-1 at=PATH:1:75`},
		{"debug", `console.debug("d"); ctx.log.debug("e")`, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			path, p, err := script(t, "it.js", "export default function (event, ctx) { "+test.code+" }")
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
				if a.Key == slog.TimeKey {
					return slog.Attr{}
				}
				return a
			}}))
			if err := jshost.NewScript("it", p, 1, jshost.Options{Log: log}).Handle(t.Context(), sample(t)); err != nil {
				t.Fatal(err)
			}
			if got := strings.ReplaceAll(strings.TrimSpace(out.String()), path, "PATH"); got != test.want {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}

func TestALineAndTheNumberOfLinesAreLimited(t *testing.T) {
	var lines []jshost.Line
	_, p, err := script(t, "it.js", `export default (event, ctx) => {
		ctx.log.info("x".repeat(100_000), { y: "y".repeat(100_000) });
		for (let i = 0; i < 5000; i++) console.log(i);
	}`)
	if err != nil {
		t.Fatal(err)
	}
	s := jshost.NewScript("it", p, 1, jshost.Options{Said: func(l jshost.Line) { lines = append(lines, l) }})
	for range 2 {
		lines = nil
		if err := s.Handle(t.Context(), sample(t)); err != nil {
			t.Fatal(err)
		}
		last := lines[len(lines)-1]
		if len(lines) != 1001 || last.Level != slog.LevelWarn || !strings.Contains(last.Text, "logs too much") {
			t.Errorf("%d lines, the last %q", len(lines), last.Text)
		}
		if len(lines[0].Msg) > 9<<10 || len(fmt.Sprint(lines[0].Attrs)) > 2<<10 {
			t.Errorf("a line of %d bytes with %d of data", len(lines[0].Msg), len(fmt.Sprint(lines[0].Attrs)))
		}
	}
}
