// Package jshost makes listeners of files in JavaScript or TypeScript: it finds them, compiles them
// and says when they have changed. What a script is made of and runs in are packages of their own,
// bundle and engine; this one joins them.
package jshost

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/failpoint"
	"github.com/pipehook/pipehook/core/jshost/bundle"
	"github.com/pipehook/pipehook/core/jshost/engine"
)

// What users of scripts need of the engine.
type (
	Program      = engine.Program
	CompileError = engine.CompileError
	Line         = engine.Line
)

// Compile reads, bundles and compiles a file with the files it imports, and runs its top level once
// to see what it exports. The error is a CompileError.
func Compile(path string) (*Program, error) {
	began := time.Now()
	code, err := bundle.Make(path)
	if err != nil {
		return nil, err
	}
	p, err := engine.Compile(code)
	if e, ok := errors.AsType[*CompileError](err); ok && e.Frame == "" {
		e.Frame = sourceOf(code.Inputs, began).frame(e.File, e.Line, e.Column)
	}
	return p, err
}

// Options are what the scripts say things to. The zero value is silence.
type Options struct {
	Log *slog.Logger
	// Said sees every line that a script logs, after it was logged; may be nil. It is called from
	// many calls at once and must not block.
	Said func(Line)
}

// Engine is the part of an engine's options that says where lines go.
func (o Options) Engine(name string) engine.Options {
	e := engine.Options{Name: name, Log: o.Log}
	if o.Log == nil && o.Said == nil {
		return e
	}
	e.Level = leveler(o)
	e.Said = func(l Line) {
		if o.Log != nil {
			o.Log.LogAttrs(context.Background(), l.Level, l.Msg, l.LogAttrs()...)
		}
		failpoint.Pass(failpoint.InHandler)
		if o.Said != nil {
			o.Said(l)
		}
	}
	return e
}

// leveler is the lowest level that anybody listens to.
type leveler Options

func (o leveler) Level() slog.Level {
	for level := slog.LevelDebug; level < slog.LevelError; level += 4 {
		if o.Said != nil || o.Log.Enabled(context.Background(), level) {
			return level
		}
	}
	return slog.LevelError
}

// Script is a listener that a Runner runs. The Runner can be another at any time.
type Script struct {
	name string
	opts Options
	size int

	mu      sync.Mutex
	now     *version
	closing sync.WaitGroup // of versions that are not needed any more
}

// version is a Runner and who uses it.
type version struct {
	hash    string
	runner  engine.Runner
	source  source
	users   sync.WaitGroup
	retired bool // to be closed when nobody uses it
}

// NewScript makes a listener of a program that Handles. It runs in this process, with at most size
// runtimes, until it is given another Runner.
func NewScript(name string, p *Program, size int, opts Options) *Script {
	s := &Script{name: name, opts: opts, size: size}
	s.Swap(p)
	return s
}

// Swap replaces the program at once. Calls that run finish on the old one.
func (s *Script) Swap(p *Program) {
	o := s.opts.Engine(s.name)
	o.Size = s.size
	s.SwapRunner(p.Hash(), engine.NewPool(p, o), p.Inputs()...)
}

// SwapRunner replaces what runs the calls. The script owns it from now on; hash is that of its code,
// and files are what it was made of just now: errors show lines of them.
func (s *Script) SwapRunner(hash string, r engine.Runner, files ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retire()
	s.now = &version{hash: hash, runner: r, source: sourceOf(files, time.Now())}
}

// retire needs the lock.
func (s *Script) retire() {
	if s.now == nil || s.now.retired {
		return
	}
	old := s.now
	old.retired = true
	s.closing.Go(func() {
		old.users.Wait()
		old.runner.Close()
	})
}

// Hash is that of the code that the next call runs.
func (s *Script) Hash() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now.hash
}

// Run makes the calls as engine.Runner says. All of them run on one version, which the results name.
func (s *Script) Run(ctx context.Context, calls []engine.Call, done func(i int, r engine.Result)) {
	s.mu.Lock()
	v := s.now
	if !v.retired { // else Close was called, and the runner says so
		v.users.Add(1)
		defer v.users.Done()
	}
	s.mu.Unlock()
	v.runner.Run(ctx, calls, func(i int, r engine.Result) {
		v.source.explain(r.Err)
		done(i, r)
	})
}

// Handle calls the script's function. It waits for a runtime as long as ctx allows. The error says
// where in the source it went wrong.
func (s *Script) Handle(ctx context.Context, ev core.Event) error {
	var err error
	s.Run(ctx, []engine.Call{{Event: &ev}}, func(_ int, r engine.Result) { err = r.Err })
	return err
}

// ahead is how many events are sent to another process at once.
const ahead = 16

// HandleBatch is part of core.BatchListener. In this process nothing has to be carried, and what has
// not begun can be called back up to the last moment.
func (s *Script) HandleBatch(ctx context.Context, timeout time.Duration, batch []core.Delivery, begin func(i int) bool, done func(i int, out core.Outcome)) {
	portion := s.portion()
	calls := make([]engine.Call, 0, min(portion, len(batch)))
	for next := 0; next < len(batch); {
		first := next
		for calls = calls[:0]; len(calls) < portion && next < len(batch) && begin(next); next++ {
			calls = append(calls, engine.Call{Event: &batch[next].Event, Attempt: batch[next].Attempt(), Timeout: timeout})
		}
		if len(calls) == 0 {
			return
		}
		s.Run(ctx, calls, func(i int, r engine.Result) {
			done(first+i, core.Outcome{Err: r.Err, Took: r.Took, Code: r.Hash})
		})
	}
}

func (s *Script) portion() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, here := s.now.runner.(*engine.Pool); here {
		return 1
	}
	return ahead
}

// Close waits for the calls that run and ends what runs them. Later calls fail.
func (s *Script) Close() {
	s.mu.Lock()
	s.retire()
	s.mu.Unlock()
	s.closing.Wait()
}
