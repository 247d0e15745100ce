package jshost_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/jshost"
	"github.com/pipehook/pipehook/core/jshost/engine"
	"github.com/pipehook/pipehook/core/jshost/worker"
	"github.com/pipehook/pipehook/core/samples"
	"github.com/pipehook/pipehook/core/source/pipedrive"
)

func TestMain(m *testing.M) {
	worker.Main()
	goleak.VerifyTestMain(m)
}

func sample(t testing.TB) core.Event {
	t.Helper()
	_, body, _ := samples.For("updated.deal")
	ev := core.Event{ID: "id-1", Pipeline: "crm", Source: "pipedrive", Body: body, ReceivedAt: time.Date(2026, 6, 1, 10, 0, 1, 0, time.UTC)}
	if err := (pipedrive.Source{}).Name(&ev); err != nil {
		t.Fatal(err)
	}
	return ev
}

// built is a file as code.
func built(t testing.TB, path string) jshost.Compiled {
	t.Helper()
	all, err := jshost.Build(t.Context(), false, path)
	if err == nil {
		err = all[0].Err
	}
	if err != nil {
		t.Fatal(err)
	}
	return all[0]
}

// compile makes code of text, as a file it.js.
func compile(t testing.TB, text string) engine.Code {
	t.Helper()
	path := filepath.Join(t.TempDir(), "it.js")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return built(t, path).Code
}

// start runs code as the listener it, until the test ends.
func start(t testing.TB, code engine.Code, isolated bool, opts jshost.Options) *jshost.Script {
	t.Helper()
	s, err := jshost.NewScript(code, jshost.Setup{Name: "it", Size: 1, Isolated: isolated, Memory: 64 << 20}, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// each runs a test in both ways in which scripts can be run.
func each(t *testing.T, test func(t *testing.T, isolated bool)) {
	t.Run("here", func(t *testing.T) { test(t, false) })
	t.Run("in a process", func(t *testing.T) { test(t, true) })
}

func TestASwapGoesToTheNewVersion(t *testing.T) {
	each(t, func(t *testing.T, isolated bool) {
		code := func(word string) engine.Code {
			return compile(t, "export default (event, ctx) => ctx.log.info('"+word+"')")
		}
		var said []string
		first, second := code("one"), code("two")
		s := start(t, first, isolated, jshost.Options{Said: func(l jshost.Line) { said = append(said, l.Text) }})
		for _, next := range []*engine.Code{nil, &second} {
			if next != nil {
				if err := s.Swap(*next); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Handle(t.Context(), sample(t)); err != nil {
				t.Fatal(err)
			}
		}
		if strings.Join(said, " ") != "one two" || s.Hash() != second.Hash || first.Hash == second.Hash {
			t.Errorf("said %v, hash %s", said, s.Hash())
		}
	})
}

// held is a listener with one runtime that is inside a call until the returned function is called.
func held(t *testing.T, said func(jshost.Line)) (s *jshost.Script, release func()) {
	t.Helper()
	code := compile(t, "let n = 0; export default (event) => { console.log('one', ++n); console.log('still one') }")
	gate, entered, result := make(chan struct{}), make(chan struct{}, 10), make(chan error, 1)
	s = start(t, code, false, jshost.Options{Said: func(l jshost.Line) {
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

func TestACallInFlightFinishesOnTheOldVersion(t *testing.T) {
	var mu sync.Mutex
	var said []string
	s, release := held(t, func(l jshost.Line) {
		mu.Lock()
		defer mu.Unlock()
		said = append(said, l.Text)
	})
	if err := s.Swap(compile(t, "export default () => console.log('two')")); err != nil {
		t.Fatal(err)
	}
	release()
	if err := s.Handle(t.Context(), sample(t)); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(said, ", "); got != "one 1, still one, two" {
		t.Errorf("said %s", got)
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
			each(t, func(t *testing.T, isolated bool) {
				code := compile(t, "export default function (event, ctx) { "+test.code+" }")
				var out bytes.Buffer
				log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
					if a.Key == slog.TimeKey {
						return slog.Attr{}
					}
					return a
				}}))
				s := start(t, code, isolated, jshost.Options{Log: log})
				if err := s.Handle(t.Context(), sample(t)); err != nil {
					t.Fatal(err)
				}
				s.Close()
				var lines []string
				for line := range strings.Lines(out.String()) {
					if strings.Contains(line, " listener=") { // the others are about the process
						lines = append(lines, line)
					}
				}
				if got := strings.ReplaceAll(strings.TrimSpace(strings.Join(lines, "")), code.Path, "PATH"); got != test.want {
					t.Errorf("got\n%s\nwant\n%s", got, test.want)
				}
			})
		})
	}
}

func TestWhatACallSaysComesBackWithItsOutcome(t *testing.T) {
	each(t, func(t *testing.T, isolated bool) {
		code := compile(t, `export default (event, ctx) => {
			if (event.id === "loud") for (let i = 0; i < 100; i++) ctx.log.warn("x".repeat(100));
			if (event.id === "failed") { ctx.log.info("trying", { n: 1 }); throw new Error("no"); }
		}`)
		s := start(t, code, isolated, jshost.Options{Log: slog.New(slog.DiscardHandler), Said: func(jshost.Line) {}})
		batch := make([]core.Delivery, 3)
		for i, id := range []string{"failed", "quiet", "loud"} {
			batch[i].Event = sample(t)
			batch[i].Event.ID = id
		}
		var outs []core.Outcome
		s.HandleBatch(t.Context(), time.Minute, batch, func(int) bool { return true }, func(_ int, out core.Outcome) { outs = append(outs, out) })
		if said := outs[0].Output; !strings.HasPrefix(said, "info trying n=1\n3 | ") || !strings.HasSuffix(said, "^\n") || !strings.Contains(said, `throw new Error("no"); }`+"\n") || outs[0].Err == nil || outs[0].Code != code.Hash {
			t.Errorf("the one that failed: %+v", outs[0])
		}
		if outs[1].Output != "" || outs[1].Err != nil {
			t.Errorf("the quiet one: %+v", outs[1])
		}
		if loud := outs[2].Output; len(loud) < 4000 || len(loud) > 4200 || !strings.HasSuffix(loud, "…\n") {
			t.Errorf("the loud one said %d bytes: %.100s", len(loud), loud)
		}
	})
}

func TestTheExampleTellsOfADealThatMoved(t *testing.T) {
	c := built(t, "../../scripts/deal-moved.js")
	var said []string
	s := start(t, c.Code, false, jshost.Options{Said: func(l jshost.Line) { said = append(said, l.Text) }})
	if err := s.Handle(t.Context(), sample(t)); err != nil {
		t.Fatal(err)
	}
	want := `"Annual licence, 40 seats" moved from stage 3 to 4`
	if got := strings.Join(said, "\n"); got != want || fmt.Sprint(c.Match) != "[updated.deal]" {
		t.Errorf("said %q for %v, want %q", got, c.Match, want)
	}
}

func TestAnErrorShowsTheLineOfCode(t *testing.T) {
	code := compile(t, "export default (event) => {\n  const ü = event.nothing;\n  return ü.here;\n}")
	path := code.Path
	s := start(t, code, false, jshost.Options{})
	failure, ok := errors.AsType[*engine.ScriptError](s.Handle(t.Context(), sample(t)))
	if !ok || failure.Frame != "3 | return ü.here;\n  |          ^" || !strings.HasPrefix(failure.Long(), failure.Error()+"\n3 | ") || strings.Contains(failure.Error(), "\n") {
		t.Fatalf("%+v", failure)
	}
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(path, later, later); err != nil { // another version by now
		t.Fatal(err)
	}
	if failure, ok = errors.AsType[*engine.ScriptError](s.Handle(t.Context(), sample(t))); !ok || failure.Frame != "" {
		t.Errorf("%+v", failure)
	}
	for name, test := range map[string]struct{ code, want string }{
		"syntax":  {"export default () => {\n  const = 5;\n}", "2 | const = 5;\n  |       ^"},
		"the top": {"const a = null;\n\ta.b;\nexport default () => 1", "2 | a.b;\n  |   ^"},
	} {
		wrong := filepath.Join(t.TempDir(), "it.js")
		if err := os.WriteFile(wrong, []byte(test.code), 0o600); err != nil {
			t.Fatal(err)
		}
		all, err := jshost.Build(t.Context(), false, wrong)
		if err != nil {
			t.Fatal(err)
		}
		if failure, ok := errors.AsType[*jshost.CompileError](all[0].Err); !ok || failure.Frame != test.want {
			t.Errorf("%s: %+v, want\n%s", name, failure, test.want)
		}
	}
}

func TestCodeThatComesAfterTheEndRunsNowhere(t *testing.T) {
	each(t, func(t *testing.T, isolated bool) {
		code := compile(t, "export default () => {}")
		s := start(t, code, isolated, jshost.Options{})
		s.Close()
		if err := s.Swap(code); err != nil {
			t.Error(err)
		}
		if err := s.Handle(t.Context(), sample(t)); err == nil {
			t.Error("a call succeeds after Close")
		}
		s.Close() // waits for what Swap has begun
	})
}

func TestACloseWaitsForCallsAndEndsTheScript(t *testing.T) {
	s, release := held(t, func(jshost.Line) {})
	closed := make(chan struct{})
	go func() { s.Close(); close(closed) }()
	select {
	case <-closed:
		t.Fatal("closed while a call runs")
	case <-time.After(20 * time.Millisecond): // long enough for one that does not wait
	}
	release()
	<-closed
	if err := s.Handle(t.Context(), sample(t)); err == nil || !strings.Contains(err.Error(), "script it: the script was stopped") {
		t.Errorf("error %v", err)
	}
}

func TestAnAbandonedScriptEndsAtOnceWhateverItDoes(t *testing.T) {
	entered := make(chan struct{})
	s := start(t, compile(t, "export default (event, ctx) => { ctx.log.info('in'); for (;;); }"), true, jshost.Options{Said: func(jshost.Line) { close(entered) }})
	result := make(chan error, 1)
	go func() { result <- s.Handle(context.WithoutCancel(t.Context()), sample(t)) }()
	<-entered
	s.Abandon()
	if err := <-result; core.KindOf(err) != core.Unavailable || !strings.Contains(err.Error(), "is being stopped") {
		t.Errorf("error %v", err)
	}
	s.Close()
}
