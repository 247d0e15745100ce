// Package script is a source that a user writes: a script that says what event a sender's request is.
// It knows no engine: whoever builds the chain gives it what runs the script. What the script says is
// kept with the event, so that it is asked once.
package script

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/pipehook/pipehook/core"
)

// Runner runs a source's script. It is called from many requests at once, waits for a free runtime as
// long as ctx allows, and ends with ctx. timeout counts from when the script's function begins.
type Runner interface {
	// Name is what events of this source have as their source, such as acme for acme.ts.
	Name() string
	Run(ctx context.Context, ev *core.Event, timeout time.Duration) (value []byte, err error)
}

// Thrown is the error of a script that threw: the request is not what its sender documents. Any other
// error is a script that could not be run.
type Thrown struct {
	Msg string // what was thrown, without the place in the script, for the sender
	Err error  // the same, with the place
}

func (e *Thrown) Error() string { return e.Err.Error() }
func (e *Thrown) Unwrap() error { return e.Err }

// Options are what New needs.
type Options struct {
	Runner  Runner
	Timeout time.Duration
	Headers []string // that the script sees although they may hold a credential
	Log     *slog.Logger
	Now     func() time.Time // nil for time.Now
}

// Source asks a script. It is a core.Source and a core.Asker.
type Source struct {
	opts  Options
	alarm core.Alarm
}

// New makes a source of a script.
func New(o Options) *Source {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Source{opts: o, alarm: core.Alarm{
		Log: o.Log.With("source", o.Runner.Name()), Now: o.Now,
		Failing: "a source's script fails; what it can't name is unknown.unknown, and kept unless validate refuses it", Over: "the source's script works again",
	}}
}

// Name does as Ask does, without an end of its own but the script's.
func (s *Source) Name(ev *core.Event) error { return s.Ask(context.Background(), ev) }

// Ask names the event as the script says. It never fails: what the script can't name, because it threw
// or could not be run, is unknown.unknown, and if it threw, that is the event's Flaw.
func (s *Source) Ask(ctx context.Context, ev *core.Event) error {
	ctx, cancel := core.Half(ctx)
	defer cancel()
	ev.Action, ev.Object = core.Unknown, core.Unknown
	shown := *ev // the script's own: it may be looked at after this returns
	shown.Header = s.header(ev.Header)
	value, err := s.opts.Runner.Run(ctx, &shown, s.opts.Timeout)
	if err == nil {
		err = name(ev, value)
	}
	s.alarm.Note(err)
	if err != nil {
		ev.Remark("failed: " + err.Error())
		if thrown, ok := errors.AsType[*Thrown](err); ok {
			ev.Flaw = thrown.Msg
		}
	}
	ev.KeepWhole()
	return nil
}

// header is what the script may see.
func (s *Source) header(all http.Header) http.Header {
	seen := core.KeptHeader(all)
	for _, name := range s.opts.Headers {
		if values := all.Values(name); len(values) > 0 {
			seen[http.CanonicalHeaderKey(name)] = values
		}
	}
	return seen
}
