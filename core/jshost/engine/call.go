package engine

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/pipehook/pipehook/core"
)

// Kind says what a call wants of a script.
type Kind uint8

// The kinds of call. Their numbers cross between processes.
const (
	Listener Kind = iota // handles an event; what it returns means nothing
	Stage                // may change, drop or reject an event
	Source               // says what event a request's body is
)

// Call is one run of a script's function.
type Call struct {
	Kind    Kind
	Event   *core.Event
	Attempt int           // of the delivery, from 1; 0 when it has none
	Timeout time.Duration // counts from when the function begins; 0 is none but that of the context
}

// Result is what came of a Call.
type Result struct {
	Err   error         // nil when it returned; else a *ScriptError, perhaps around a *core.Error, *Dropped or *Rejected
	Value []byte        // what it returned, as JSON; nil for undefined, and for a listener
	Hash  string        // of the code that ran; empty when none did
	Took  time.Duration // from when the function began
}

// Runner runs scripts: a Pool in this process, or whatever speaks to another.
type Runner interface {
	// Run makes the calls one after another and reports each as soon as it has ended, in order. It
	// waits for a free runtime as long as ctx allows. ctx bounds everything; each call has its own
	// Timeout. Every call is reported exactly once.
	Run(ctx context.Context, calls []Call, done func(i int, r Result))
	// Close waits for what runs. Nothing is run afterwards.
	Close()
}

// Dropped is a stage's word that the event is not wanted: ctx.drop(reason).
type Dropped struct {
	Reason string `json:"reason"`
}

func (e *Dropped) Error() string { return "dropped: " + e.Reason }

// Rejected is a stage's word that the request is turned away: ctx.reject(status, message).
type Rejected struct {
	Status int    `json:"status"`
	Msg    string `json:"msg"`
}

func (e *Rejected) Error() string { return fmt.Sprintf("rejected with %d: %s", e.Status, e.Msg) }

// Options are what a program is run with. The zero value is one silent runtime that can reach
// nothing.
type Options struct {
	Name    string            // of the listener, stage or source
	Host    Host              // nil: nothing outside can be reached
	Secrets map[string]string // that were granted, by name
	Size    int               // runtimes at most, and calls at a time; 0 is one
	// Said sees every line that a script logs; may be nil. It is called from many calls at once and
	// must not block.
	Said  func(Line)
	Level slog.Leveler // lines below are not made; nil: all are
	Log   *slog.Logger // for faults of ours, such as a panic in a host function; nil: nowhere
	Clock Clock        // nil: the real one
	// Loading is called when a call has to wait for the file to be loaded, which is no part of its
	// time, and what it returns when that is over; may be nil.
	Loading func(*core.Event) (loaded func())
	// Library is a module more that the program may import; nil: none.
	Library *Library
}

// Clock is the time that scripts see and wait by. Deadlines are always of real time.
type Clock interface {
	Now() time.Time
	// AfterFunc calls f once after d, on any goroutine. stop reports whether it kept f from being
	// called.
	AfterFunc(d time.Duration, f func()) (stop func() bool)
}

// Waiter is a Clock that wants to know when a call has nothing to do but wait.
type Waiter interface {
	// Waiting is called on the goroutine of the call, before it waits for so many operations of the
	// host and for the functions that were given to AfterFunc. A call that waits for nothing but the
	// end of what it began does not need the clock.
	Waiting(operations int)
}

type realClock struct{}

func (realClock) Now() time.Time { return time.Now() }

func (realClock) AfterFunc(d time.Duration, f func()) func() bool { return time.AfterFunc(d, f).Stop }
