// Package worker runs a script in a process of its own: the same binary, started as a child that
// takes everything away from itself before it reads the script. It has the messages between the two,
// the limits of the child, and the parent's side, which replaces a child that has died and says what
// that means for the calls that ran in it. What a script is and does is the engine's business.
//
// A program that uses it calls Main before anything else.
package worker

//go:generate ./generate

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/jshost/engine"
)

const (
	defaultMemory = 128 << 20
	defaultIdle   = 5 * time.Minute

	// grace is how much later than its deadline a call may end by itself.
	grace = 100 * time.Millisecond

	// loadWithin is how long a call may wait for its file to be loaded, which the engine bounds, with
	// some room for machines that have much to do.
	loadWithin = 3 * time.Second

	// startWithin is how long a child may take until it is ready.
	startWithin = 15 * time.Second

	maxBatch  = 256     // calls in one message
	maxEvents = 4 << 20 // bytes of events in one message, unless one alone has more

	// maxSuspects bounds what is remembered of events that may have ended a child.
	maxSuspects = 1024
)

// Options say what is run, and as what. Code must have been compiled before, by Compile or by the
// engine.
type Options struct {
	Name    string            // of the listener, stage or source
	Code    engine.Code       //
	Secrets map[string]string // that were granted, by name
	Size    int               // runtimes, and so batches at a time; 0 is one
	Memory  int64             // bytes that the child may use beyond what an empty one does; 0 is 128 MiB
	Host    engine.Host       // nil: nothing outside can be reached
	Said    func(engine.Line) // every line that is logged; must not block; may be nil
	Level   slog.Leveler      // lines below are not made; nil: all are
	Log     *slog.Logger      // for starts, ends and faults; nil: nowhere
	Idle    time.Duration     // a child without a call for so long is ended; 0 is 5 minutes
}

// Process is an engine.Runner whose calls run in a child process. The child is started when it is
// needed and replaced when it dies.
type Process struct {
	o   Options
	log *slog.Logger

	mu       sync.Mutex
	changed  chan struct{} // closed when something below has changed, and replaced
	child    *child        // nil: none, the next call starts one
	closed   bool
	calls    int  // batches that run
	alone    bool // the one that runs must be alone
	lonely   int  // batches that wait to be alone
	suspects map[string]bool
	rest     *time.Timer // ends an idle child; nil while there is none
	children sync.WaitGroup
}

// New makes the runner of a script. Nothing is started before the first call, or Warm.
func New(o Options) *Process {
	if o.Memory <= 0 {
		o.Memory = defaultMemory
	}
	if o.Idle <= 0 {
		o.Idle = defaultIdle
	}
	o.Size = max(o.Size, 1)
	p := &Process{o: o, log: o.Log, changed: make(chan struct{}), suspects: map[string]bool{}}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	p.log = p.log.With("script", o.Name)
	return p
}

// Warm starts the child, if none runs, and does not wait for it.
func (p *Process) Warm() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.start()
	}
}

// Ready starts the child, if none runs, and waits until it can run a batch or turns out never to, as
// long as ctx allows. What is begun afterwards is not held up by a start.
func (p *Process) Ready(ctx context.Context) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	_ = p.wait(ctx, p.start().started) // Run says what is wrong
}

// start makes sure of a child. The lock must be held.
func (p *Process) start() *child {
	if p.child == nil {
		p.child = newChild(p)
		p.children.Go(p.child.live)
		p.settle()
	}
	return p.child
}

// settle begins to wait for calls when there are none. The lock must be held.
func (p *Process) settle() {
	if p.rest != nil {
		p.rest.Stop()
		p.rest = nil
	}
	if p.calls == 0 && p.child != nil {
		c := p.child
		p.rest = time.AfterFunc(p.o.Idle, func() { p.tire(c) })
	}
}

// tire ends a child that nobody has needed for long.
func (p *Process) tire(c *child) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.child == c && p.calls == 0 {
		p.child = nil
		c.retire()
	}
}

// gone is told when a child takes no calls any more. One that was ready is replaced at once.
func (p *Process) gone(c *child) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.child != c {
		return
	}
	p.child = nil
	if !p.closed && c.served() {
		p.start()
	}
	p.tell()
}

// tell wakes who waits for a change. The lock must be held.
func (p *Process) tell() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// Close implements engine.Runner.
func (p *Process) Close() {
	p.mu.Lock()
	p.closed = true
	p.tell()
	for p.calls > 0 {
		changed := p.changed
		p.mu.Unlock()
		<-changed
		p.mu.Lock()
	}
	if p.child != nil {
		p.child.retire()
		p.child = nil
	}
	p.settle()
	p.mu.Unlock()
	p.children.Wait()
}

// Abandon is Close for when nobody needs the calls that run: they fail at once, and end with their
// process.
func (p *Process) Abandon() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.tell()
	if p.child != nil {
		p.child.retire()
		p.child = nil
	}
	p.settle()
}

var errClosed = &core.Error{Kind: core.Unavailable, Msg: "the script is being stopped"}
