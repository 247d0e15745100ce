// Package guest is a source that a user writes, around what runs it: a script, or a plugin. What the
// user's code says of a request is judged here, wherever it ran, and kept with the event, so that it is
// asked once.
package guest

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/pipehook/pipehook/core"
)

// Runner runs a source's code. It is called from many requests at once, waits for its turn as long as
// ctx allows, and ends with ctx. timeout counts from when the code begins.
type Runner interface {
	// Name is what events of this source have as their source, such as acme for acme.ts.
	Name() string
	// Run returns what the code says, see Said; nil is nothing.
	Run(ctx context.Context, ev *core.Event, timeout time.Duration) (*Said, error)
}

// Said is what a source says of a request, in the parts of an event that a source fills in. Those that
// are empty are not known. Key is any text that the sender repeats with a repetition.
type Said core.Event

// Fault is the error of code that finds fault with the request: it is not what its sender documents. Any
// other error is of code that could not be run, or did not do its work.
type Fault struct {
	Msg string // for the sender, without a place in the code
	Err error  // the same, for the log
}

func (e *Fault) Error() string { return e.Err.Error() }
func (e *Fault) Unwrap() error { return e.Err }

// Options are what New needs.
type Options struct {
	Word    string // what it is, such as script
	Runner  Runner
	Timeout time.Duration
	Headers []string // that the code sees although they may hold a credential
	Log     *slog.Logger
	Now     func() time.Time // nil for time.Now
}

// Source asks a user's code. It is a core.Source and a core.Asker.
type Source struct {
	opts  Options
	alarm core.Alarm
}

// New makes a source.
func New(o Options) *Source {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Source{opts: o, alarm: core.Alarm{
		Log: o.Log.With("source", o.Runner.Name()), Now: o.Now,
		Failing: "a source's " + o.Word + " fails; what it can't name is unknown.unknown, and kept unless validate refuses it", Over: "the source's " + o.Word + " works again",
	}}
}

// Name does as Ask does, without an end of its own but the code's.
func (s *Source) Name(ev *core.Event) error { return s.Ask(context.Background(), ev) }

// Ask names the event as the code says. It never fails: what the code can't name, because it found fault
// with it or could not be run, is unknown.unknown, and a fault is the event's Flaw.
func (s *Source) Ask(ctx context.Context, ev *core.Event) error {
	ctx, cancel := core.Half(ctx)
	defer cancel()
	if err := s.Try(ctx, ev); err != nil {
		ev.Remark("failed: " + err.Error())
	}
	return nil
}

// Try is Ask for who tries the code: it returns why the event is unknown.unknown, when the code did not
// name it.
func (s *Source) Try(ctx context.Context, ev *core.Event) error {
	ev.Action, ev.Object = core.Unknown, core.Unknown
	shown := *ev // the code's own: it may be looked at after this returns
	shown.Header = s.header(ev.Header)
	said, err := s.opts.Runner.Run(ctx, &shown, s.opts.Timeout)
	if err == nil && said != nil {
		err = said.name(ev)
	}
	if fault, ok := errors.AsType[*Fault](err); ok { // the sender's: the code has done its work
		ev.Flaw = flaw(fault.Msg)
		s.alarm.Note(nil)
		s.alarm.Log.Debug("a source's "+s.opts.Word+" finds fault with a request", "event", ev.ID, "err", err)
	} else {
		s.alarm.Note(err, "event", ev.ID)
	}
	ev.KeepWhole()
	return err
}

// header is what the code may see.
func (s *Source) header(all http.Header) http.Header {
	seen := core.KeptHeader(all)
	for _, name := range s.opts.Headers {
		if values := all.Values(name); len(values) > 0 {
			seen[http.CanonicalHeaderKey(name)] = values
		}
	}
	return seen
}
