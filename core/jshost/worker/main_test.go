//go:build unix

package worker_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/jshost/bundle"
	"github.com/pipehook/pipehook/core/jshost/engine"
	"github.com/pipehook/pipehook/core/jshost/worker"
	"github.com/pipehook/pipehook/core/samples"
	"github.com/pipehook/pipehook/core/source/pipedrive"
)

// The test's own binary is the child, when it is started as one.
func TestMain(m *testing.M) {
	inChildren()
	worker.Main()
	if os.Getenv(victimEnv) != "" {
		victim()
	}
	goleak.VerifyTestMain(m)
}

// sample is an event of 2.3 kB.
func sample(t testing.TB, id string) *core.Event {
	t.Helper()
	_, body, _ := samples.For("updated.deal")
	ev := &core.Event{ID: id, Pipeline: "crm", Body: body}
	if err := (pipedrive.Source{}).Name(ev); err != nil {
		t.Fatal(err)
	}
	return ev
}

// code is a handler that is bundled.
func code(t testing.TB, text string) engine.Code {
	t.Helper()
	path := filepath.Join(t.TempDir(), "it.js")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	made, err := bundle.Make(path)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// journal is what a test's processes and scripts have said.
type journal struct {
	mu    sync.Mutex
	text  strings.Builder
	lines []engine.Line
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) say(l engine.Line) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, l)
}

func (j *journal) said() (texts []string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, l := range j.lines {
		texts = append(texts, l.Text)
	}
	return texts
}

// start makes a process for a handler, which ends with the test.
func start(t testing.TB, text string, set func(*worker.Options)) (*worker.Process, *journal) {
	t.Helper()
	j := &journal{}
	o := worker.Options{Name: "it", Code: code(t, text), Said: j.say, Log: slog.New(slog.NewTextHandler(j, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	if set != nil {
		set(&o)
	}
	p := worker.New(o)
	t.Cleanup(func() {
		p.Close()
		j.mu.Lock()
		defer j.mu.Unlock()
		if strings.Contains(j.text.String(), "DATA RACE") {
			t.Error("a race in the child")
		}
		if t.Failed() {
			t.Log("\n" + j.text.String())
		}
	})
	return p, j
}

// run makes one call with time enough.
func run(t testing.TB, p *worker.Process, ev *core.Event, timeout time.Duration) (r engine.Result) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p.Run(ctx, []engine.Call{{Event: ev, Timeout: timeout}}, func(_ int, got engine.Result) { r = got })
	return r
}

// batch makes calls, one for each id, and returns the errors.
func batch(t testing.TB, p *worker.Process, timeout time.Duration, ids ...string) []error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	calls, errs := make([]engine.Call, len(ids)), make([]error, 0, len(ids))
	for i, id := range ids {
		calls[i] = engine.Call{Event: sample(t, id), Timeout: timeout}
	}
	p.Run(ctx, calls, func(i int, r engine.Result) {
		if i != len(errs) {
			t.Errorf("call %d ended after %d others", i, len(errs))
		}
		errs = append(errs, r.Err)
	})
	return errs
}

func (j *journal) log() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}
