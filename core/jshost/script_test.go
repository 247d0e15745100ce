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
	"github.com/pipehook/pipehook/core/samples"
	"github.com/pipehook/pipehook/core/source/pipedrive"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func sample(t testing.TB) core.Event {
	t.Helper()
	_, body, _ := samples.For("updated.deal")
	ev := core.Event{ID: "id-1", Pipeline: "crm", Source: "pipedrive", Body: body, ReceivedAt: time.Date(2026, 6, 1, 10, 0, 1, 0, time.UTC)}
	if err := (pipedrive.Source{}).Name(&ev); err != nil {
		t.Fatal(err)
	}
	return ev
}

func compile(t testing.TB, name, code string) (string, *jshost.Program, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(code), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := jshost.Compile(path)
	return path, p, err
}

func TestASwapGoesToTheNewVersion(t *testing.T) {
	program := func(word string) *jshost.Program {
		_, p, err := compile(t, "it.js", "export default (event, ctx) => ctx.log.info('"+word+"')")
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	var said []string
	first, second := program("one"), program("two")
	s := jshost.NewScript("it", first, 1, jshost.Options{Said: func(l jshost.Line) { said = append(said, l.Text) }})
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

// held is a listener with one runtime that is inside a call until the returned function is called.
func held(t *testing.T, said func(jshost.Line)) (s *jshost.Script, release func()) {
	t.Helper()
	_, p, err := compile(t, "it.js", "let n = 0; export default (event) => { console.log('one', ++n); console.log('still one') }")
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

func TestACallInFlightFinishesOnTheOldVersion(t *testing.T) {
	var mu sync.Mutex
	var said []string
	s, release := held(t, func(l jshost.Line) {
		mu.Lock()
		defer mu.Unlock()
		said = append(said, l.Text)
	})
	_, second, err := compile(t, "it.js", "export default () => console.log('two')")
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
			path, p, err := compile(t, "it.js", "export default function (event, ctx) { "+test.code+" }")
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

func TestTheExampleTellsOfADealThatMoved(t *testing.T) {
	p, err := jshost.Compile("../../scripts/deal-moved.js")
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	s := jshost.NewScript(p.Name(), p, 1, jshost.Options{Said: func(l jshost.Line) { said = append(said, l.Listener+": "+l.Text) }})
	if err := s.Handle(t.Context(), sample(t)); err != nil {
		t.Fatal(err)
	}
	want := `deal-moved: "Annual licence, 40 seats" moved from stage 3 to 4`
	if got := strings.Join(said, "\n"); got != want || fmt.Sprint(p.Match()) != "[updated.deal]" {
		t.Errorf("said %q for %v, want %q", got, p.Match(), want)
	}
}

func TestAnErrorShowsTheLineOfCode(t *testing.T) {
	path, p, err := compile(t, "it.ts", "export default (event: any) => {\n  const ü = event.nothing;\n  return ü.here;\n}")
	if err != nil {
		t.Fatal(err)
	}
	s := jshost.NewScript("it", p, 1, jshost.Options{})
	defer s.Close()
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
		_, _, err := compile(t, "it.js", test.code)
		if failure, ok := errors.AsType[*jshost.CompileError](err); !ok || failure.Frame != test.want {
			t.Errorf("%s: %+v, want\n%s", name, failure, test.want)
		}
	}
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
