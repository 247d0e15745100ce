package engine_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core/jshost/engine"
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
			_, p, err := compile(t, "it.js", "export default (event) => {\n  if (event.id === 'stuck') {\n    "+test.loop+"\n  }\n}")
			if err != nil {
				t.Fatal(err)
			}
			s := newScript("it", p, 1, options{})
			for range 3 {
				ev := sample(t)
				ev.ID = "stuck"
				ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
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
	_, p, err := compile(t, "it.js", "let n = 0; export default () => { n++ }")
	if err != nil {
		t.Fatal(err)
	}
	s := newScript("it", p, 2, options{})
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

func TestNoMoreCallsRunThanThePoolHolds(t *testing.T) {
	const size = 3
	var inside, most atomic.Int32
	gate := make(chan struct{})
	_, p, err := compile(t, "it.js", "export default () => { console.log('in') }")
	if err != nil {
		t.Fatal(err)
	}
	s := newScript("it", p, size, options{Said: func(engine.Line) {
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
func held(t *testing.T, said func(engine.Line)) (s *script, release func()) {
	t.Helper()
	_, p, err := compile(t, "it.js", "let n = 0; export default (event) => { console.log('one', ++n); console.log('still one') }")
	if err != nil {
		t.Fatal(err)
	}
	gate, entered, result := make(chan struct{}), make(chan struct{}, 10), make(chan error, 1)
	s = newScript("it", p, 1, options{Said: func(l engine.Line) {
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
	s, release := held(t, func(engine.Line) {})
	defer release()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	err := s.Handle(ctx, sample(t))
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "script it: no runtime was free, all 1 are busy") {
		t.Errorf("error %v", err)
	}
}

func TestStateStaysInARuntimeUntilItIsDiscarded(t *testing.T) {
	var said []string
	_, p, err := compile(t, "it.js", "let n = 0; const deep = () => deep(); export default (event) => { console.log(++n); if (event.id === 'deep') deep() }")
	if err != nil {
		t.Fatal(err)
	}
	s := newScript("it", p, 1, options{Said: func(l engine.Line) { said = append(said, l.Text) }})
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
	_, p, err := compile(t, "it.js", "export default () => { for (let i = 0; i < 200; i++); }")
	if err != nil {
		t.Fatal(err)
	}
	s := newScript("it", p, 1, options{})
	for i := range 300 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i%30)*time.Microsecond)
		_ = s.Handle(ctx, sample(t)) // done or not: it is the next call that counts
		cancel()
		if err := s.Handle(t.Context(), sample(t)); err != nil {
			t.Fatalf("after a deadline: %v", err)
		}
	}
}

func TestALineAndTheNumberOfLinesAreLimited(t *testing.T) {
	var lines []engine.Line
	_, p, err := compile(t, "it.js", `export default (event, ctx) => {
		ctx.log.info("x".repeat(100_000), { y: "y".repeat(100_000) });
		for (let i = 0; i < 5000; i++) console.log(i);
	}`)
	if err != nil {
		t.Fatal(err)
	}
	s := newScript("it", p, 1, options{Said: func(l engine.Line) { lines = append(lines, l) }})
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
