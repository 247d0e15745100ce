// Package scripttest runs the tests of scripts, *.test.ts and *.test.js: in the same engine as the
// scripts themselves, with a clock, a kv and answers to fetch that are the test's own. It also records
// what a script does instead of doing it. It knows no store and no network.
package scripttest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/effect"
	"github.com/pipehook/pipehook/core/fixture"
	"github.com/pipehook/pipehook/core/jshost/bundle"
	"github.com/pipehook/pipehook/core/jshost/engine"
)

const (
	defaultTest = 5 * time.Second
	longestTest = 10 * time.Minute
	loadTest    = 10 * time.Second // bounds the listing of a file's tests
)

// Options are how tests are run.
type Options struct {
	Events fixture.Events
	Filter string // only tests whose names have it; empty: all
	Update bool   // write snapshots anew
	Frozen bool   // write no snapshot that is new: a test that needs one fails
	// API makes calls of Pipedrive's API; see Recorder.
	API func(ctx context.Context, over http.RoundTripper, c *effect.APICall) (*effect.APIAnswer, error)
	// Done is told of each test that has ended, from one goroutine; may be nil.
	Done func(file string, t Test)
}

// file is a file of tests that runs. It belongs to one goroutine.
type file struct {
	path      string
	opts      *Options
	program   *engine.Program
	snapshots *snapshots
}

// RunFile runs the tests of one file, each in a copy of the file of its own.
func RunFile(ctx context.Context, path string, o Options) (out File) {
	began := time.Now()
	out = File{Path: path, Tests: []Test{}}
	f := &file{path: path, opts: &o}
	defer func() { out.TookUS = micros(time.Since(began)) }()
	code, err := bundle.Make(path)
	if err == nil {
		out.Inputs = code.Inputs
		f.program, err = engine.CompileOnly(code)
	}
	if err == nil {
		f.snapshots, err = openSnapshots(path, o.Update, o.Frozen)
	}
	if err != nil {
		out.Failure = failureOf(err)
		return out
	}
	declared, failure := f.list(ctx)
	if failure != nil {
		out.Failure = failure
		return out
	}
	ran := 0
	for i, d := range f.chosen(declared) {
		t := Test{Name: d.name, State: Skipped}
		if !d.skip && ctx.Err() == nil {
			t = f.one(ctx, i, d)
			ran++
		}
		out.Tests = append(out.Tests, t)
		if o.Done != nil {
			o.Done(path, t)
		}
	}
	out.Snapshots = Counts{Written: f.snapshots.written, Updated: f.snapshots.updated}
	if out.Snapshots.Old, err = f.snapshots.close(ran == len(declared) && ctx.Err() == nil); err != nil {
		out.Failure = &Failure{Message: err.Error(), File: f.snapshots.path}
	}
	return out
}

// listener is the name that the script under test has: that of the file without .test.
func (f *file) listener() string {
	name := filepath.Base(f.path)
	name = strings.TrimSuffix(name, filepath.Ext(name))
	return strings.TrimSuffix(name, ".test")
}

// list loads the file to see which tests it declares.
func (f *file) list(ctx context.Context) ([]declaration, *Failure) {
	w := newWorld(ctx, f, -1, "")
	err := w.start(loadTest)
	switch {
	case err != nil:
		return nil, failureOf(err)
	case len(w.declared) == 0:
		return nil, &Failure{Message: `it has no test: write test("what is true", () => { … }), with test from "pipehook/test"`, File: f.path}
	}
	return w.declared, nil
}

// chosen marks as skipped what is not asked for.
func (f *file) chosen(declared []declaration) []declaration {
	only := slices.ContainsFunc(declared, func(d declaration) bool { return d.only })
	chosen := slices.Clone(declared)
	for i := range chosen {
		d := &chosen[i]
		d.skip = d.skip || only && !d.only || !strings.Contains(d.name, f.opts.Filter)
	}
	return chosen
}

// one runs one test.
func (f *file) one(ctx context.Context, index int, d declaration) Test {
	began := time.Now()
	t := Test{Name: d.name, State: Passed}
	w := newWorld(ctx, f, index, d.name)
	timeout := d.timeout
	if timeout == 0 {
		timeout = defaultTest
	}
	err := w.start(timeout)
	switch {
	case w.failure != nil && w.overdue == nil:
		t.Failure = w.failure
	case err != nil:
		t.Failure = failureOf(err)
		if errors.Is(err, context.DeadlineExceeded) {
			t.Failure.Message = fmt.Sprintf("the test was not done in %s", timeout)
			t.Failure.Detail = `a longer one says so: test("…", () => { … }, { timeout: 60_000 })`
		}
		t.Failure.Message = strings.Replace(t.Failure.Message, "the function's promise", "the test's promise", 1)
	}
	if t.Failure != nil {
		t.State = Failed
	}
	t.Lines, t.TookUS = w.lines, micros(time.Since(began))
	return t
}

// start runs the world's call.
func (w *world) start(timeout time.Duration) (err error) {
	ctx, cancel := context.WithTimeout(w.ctx, timeout)
	defer cancel()
	w.ctx = ctx
	pool := engine.NewPool(w.file.program, w.options())
	pool.Run(ctx, []engine.Call{{Event: &core.Event{ID: "test"}}}, func(_ int, r engine.Result) { err = r.Err })
	pool.Close()
	if w.overdue != nil {
		return w.overdue
	}
	return err
}

// RunFiles runs files, a few at a time. done is told of each in the order of the list; may be nil.
func RunFiles(ctx context.Context, paths []string, at int, o Options, done func(File)) []File {
	out := make([]File, len(paths))
	ready := make([]chan struct{}, len(paths))
	slots := make(chan struct{}, max(at, 1))
	var wg sync.WaitGroup
	for i := range paths {
		ready[i] = make(chan struct{})
	}
	wg.Go(func() {
		for i, path := range paths {
			slots <- struct{}{}
			wg.Go(func() {
				out[i] = RunFile(ctx, path, o)
				close(ready[i])
				<-slots
			})
		}
	})
	for i := range out {
		<-ready[i]
		if done != nil {
			done(out[i])
		}
	}
	wg.Wait()
	return out
}
