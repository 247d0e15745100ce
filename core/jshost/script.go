// Package jshost makes listeners of files in JavaScript or TypeScript: it finds them, compiles them,
// runs them here or in a process of their own, and says when they have changed. What a script is
// made of and runs in are packages of their own, bundle, engine and worker; this one joins them.
package jshost

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/failpoint"
	"github.com/pipehook/pipehook/core/jshost/engine"
	"github.com/pipehook/pipehook/core/jshost/worker"
)

// What users of scripts need of the engine.
type (
	CompileError = engine.CompileError
	Line         = engine.Line
)

// Options are what the scripts say things to. The zero value is silence.
type Options struct {
	Log *slog.Logger
	// Said sees every line that a script logs, after it was logged; may be nil. It is called from
	// many calls at once and must not block.
	Said func(Line)
}

// Setup is how one script is run.
type Setup struct {
	Name     string            // of the listener, stage or source
	Size     int               // calls at a time
	Isolated bool              // in a process of its own
	Memory   int64             // of that process, in bytes above what an empty one needs
	Steady   bool              // which is not ended when nothing comes for a while: somebody waits for each call
	Host     engine.Host       // nil: nothing outside can be reached
	Secrets  map[string]string // that were granted, by name
}

// Script is a listener that a script runs. Its code can be another at any time.
type Script struct {
	setup Setup
	opts  Options
	notes notes

	mu      sync.Mutex
	now     *version
	closed  bool
	alive   map[*version]struct{} // that one, and those before it that still have calls
	closing sync.WaitGroup        // of versions that are not needed any more
}

// version is a Runner and who uses it.
type version struct {
	hash    string
	runner  engine.Runner
	source  source
	users   sync.WaitGroup
	retired bool // to be closed when nobody uses it
}

// NewScript makes a listener of code that was built before. The error is a CompileError.
func NewScript(code engine.Code, setup Setup, opts Options) (*Script, error) {
	s := &Script{setup: setup, opts: opts, alive: map[*version]struct{}{}}
	return s, s.Swap(code)
}

// Swap replaces the code at once. Calls that run finish on the old one, which also goes on when there
// is an error. After Close it changes nothing.
func (s *Script) Swap(code engine.Code) error {
	runner, err := s.open(code)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		s.closing.Go(runner.Close)
		return nil
	}
	s.retire()
	s.now = &version{hash: code.Hash, runner: runner, source: sourceOf(code.Inputs, time.Now())}
	s.alive[s.now] = struct{}{}
	return nil
}

// never is longer than a process lives.
const never = 100 * 365 * 24 * time.Hour

func (s *Script) open(code engine.Code) (engine.Runner, error) {
	level := leveler(s.opts)
	if !s.setup.Isolated {
		program, err := engine.Compile(code)
		if err != nil {
			return nil, err
		}
		return engine.NewPool(program, engine.Options{
			Name: s.setup.Name, Size: s.setup.Size, Host: s.setup.Host, Secrets: s.setup.Secrets, Said: s.said, Level: level, Log: s.opts.Log,
		}), nil
	}
	o := worker.Options{
		Name: s.setup.Name, Code: code, Size: s.setup.Size, Host: s.setup.Host, Secrets: s.setup.Secrets, Memory: s.setup.Memory,
		Said: s.said, Level: level, Log: s.opts.Log,
	}
	if s.setup.Steady {
		o.Idle = never
	}
	p := worker.New(o)
	p.Warm() // the next call does not wait for the start
	return p, nil
}

func (s *Script) said(l Line) {
	s.notes.add(l)
	if s.opts.Log != nil {
		s.opts.Log.LogAttrs(context.Background(), l.Level, l.Msg, l.LogAttrs()...)
	}
	failpoint.Pass(failpoint.InHandler)
	if s.opts.Said != nil {
		s.opts.Said(l)
	}
}

// leveler is the lowest level that anybody listens to.
type leveler Options

func (o leveler) Level() slog.Level {
	for level := slog.LevelDebug; level < slog.LevelError; level += 4 {
		if o.Said != nil || o.Log != nil && o.Log.Enabled(context.Background(), level) {
			return level
		}
	}
	return slog.LevelError
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
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.alive, old)
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

// ahead is how many events are sent to another process at once: more cost less each, and wait behind one that
// turns out to be slow.
const ahead = 32

// HandleBatch is part of core.BatchListener. In this process nothing has to be carried, and what has
// not begun can be called back up to the last moment.
func (s *Script) HandleBatch(ctx context.Context, timeout time.Duration, batch []core.Delivery, begin func(i int) bool, done func(i int, out core.Outcome)) {
	portion := 1
	if s.setup.Isolated {
		portion = ahead
	}
	calls := make([]engine.Call, 0, min(portion, len(batch)))
	for next := 0; next < len(batch); {
		// An attempt that has begun counts against its event when this process is killed, so none begins
		// before there is something that can make it.
		s.ready(ctx)
		first := next
		for calls = calls[:0]; len(calls) < portion && next < len(batch) && begin(next); next++ {
			ev := &batch[next].Event
			s.notes.begin(ev.ID)
			calls = append(calls, engine.Call{Event: ev, Attempt: batch[next].Attempt(), Timeout: timeout})
		}
		if len(calls) == 0 {
			return
		}
		s.Run(ctx, calls, func(i int, r engine.Result) {
			done(first+i, core.Outcome{Err: r.Err, Took: r.Took, Code: r.Hash, Output: s.notes.take(calls[i].Event.ID) + frameOf(r.Err)})
		})
	}
}

func (s *Script) ready(ctx context.Context) {
	s.mu.Lock()
	r, ok := s.now.runner.(interface{ Ready(context.Context) })
	s.mu.Unlock()
	if ok {
		r.Ready(ctx)
	}
}

// Close waits for the calls that run and ends what runs them. Later calls fail.
func (s *Script) Close() {
	s.mu.Lock()
	s.closed = true
	s.retire()
	s.mu.Unlock()
	s.closing.Wait()
}

// Abandon is Close for when nobody needs the calls that run. In this process a call can't be ended
// from outside: it goes on as long as it likes.
func (s *Script) Abandon() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.retire()
	for v := range s.alive {
		if r, ok := v.runner.(interface{ Abandon() }); ok {
			r.Abandon()
		}
	}
}
