// Package guest is the stage that a user writes, around what runs it: a script, or a plugin. What the
// user's code says of an event is judged here, wherever it ran, and nothing of it is trusted.
package guest

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/jsonscan"
)

// Runner runs a user's code. It is called from many requests at once, waits for its turn as long as ctx
// allows, and ends with ctx. timeout counts from when the code begins.
type Runner interface {
	// Name is what the code is called by, such as tag for scripts/stages/tag.js.
	Name() string
	Run(ctx context.Context, ev *core.Event, timeout time.Duration) Result
}

// Result is what came of a run: the first part that is set counts.
type Result struct {
	Err       error   // it failed, was stopped, or could not be run
	Drop      *string // it wants the event dropped, for this reason, which may be empty
	Reject    *Reject
	Amendment core.Amendment
}

// Reject is how a user's code turns a request away.
type Reject struct {
	Status     int
	Msg        string        // for the sender
	RetryAfter time.Duration // 0 when it does not say
}

// Options are what New needs.
type Options struct {
	Word      string // what it is, such as script
	At        string // where, in what the user reads of its failures
	Rejects   string // how it turns a request away, such as ctx.reject
	Runner    Runner
	Timeout   time.Duration
	OnFailure string // "reject", or the event goes on as it was
	Pipeline  string
	Log       *slog.Logger     // nil discards
	Now       func() time.Time // nil for time.Now

	LargeAsText bool // it is shown whole numbers that JavaScript would round as text
}

// New makes a stage.
func New(o Options) core.Stage {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &stage{opts: o, digits: digits{o.LargeAsText}}
	s.alarm = core.Alarm{
		Log: o.Log.With("pipeline", o.Pipeline, "stage", s.String()), Now: o.Now,
		Failing: "a " + o.Word + " in the chain fails", Over: "the " + o.Word + " in the chain works again",
	}
	return s
}

// UsualTimeout is that of a stage that has none of its own. longest is what one may be at most; 0 for any.
func UsualTimeout(longest time.Duration) time.Duration {
	const timeout = 500 * time.Millisecond
	if longest > 0 {
		return min(timeout, longest)
	}
	return timeout
}

// CheckTimeout refuses one for which the sender would wait too long.
func CheckTimeout(timeout, longest time.Duration) error {
	if longest > 0 && timeout > longest {
		return fmt.Errorf("timeout is %s and may be %s, a quarter of server.ack_within: the sender waits for the whole chain", timeout, longest)
	}
	return nil
}

// Unfit is the failure of code that said what a stage can't; at is where.
func Unfit(at string, err error) error {
	return fmt.Errorf("%s: it returned what a stage can't: %w", at, err)
}

type stage struct {
	opts   Options
	digits digits
	alarm  core.Alarm
}

// String is the stage in traces and logs: a chain may have several.
func (s *stage) String() string { return s.opts.Word + " " + s.opts.Runner.Name() }

func (s *stage) Process(ctx context.Context, ev *core.Event) (core.Verdict, error) {
	ctx, cancel := core.Half(ctx)
	defer cancel()
	r, changed := s.judge(ctx, ev)
	if r.Err != nil {
		return s.failed(ev, r.Err)
	}
	s.alarm.Note(nil)
	switch {
	case r.Drop != nil:
		ev.Remark(strings.TrimSuffix("dropped: "+*r.Drop, ": "))
		return core.Dropped, nil
	case r.Reject != nil:
		return core.Continue, refusal(r.Reject)
	case len(changed) > 0:
		ev.Remark("changed " + strings.Join(changed, ", "))
	}
	return core.Continue, nil
}

// Try has the code judge an event as it does in a chain, for who tries it: the event is changed as it says,
// and what a chain would not take of it is the Err.
func Try(ctx context.Context, o Options, ev *core.Event) Result {
	s := &stage{opts: o, digits: digits{o.LargeAsText}}
	r, _ := s.judge(ctx, ev)
	return r
}

// judge runs the code, changes the event as it says, and returns what of the event is another now. What
// it said that a stage can't is the result's Err.
func (s *stage) judge(ctx context.Context, ev *core.Event) (r Result, changed []string) {
	r = s.opts.Runner.Run(ctx, ev, s.opts.Timeout)
	switch {
	case r.Err != nil || r.Drop != nil:
		return r, nil
	case r.Reject != nil:
		if refusal(r.Reject) == nil {
			r = Result{Err: fmt.Errorf("%s: %s(%d): the status must be one of %s", s.opts.At, s.opts.Rejects, r.Reject.Status, statuses())}
		}
		return r, nil
	}
	changed, err := s.amend(ev, r.Amendment)
	if err != nil {
		r = Result{Err: Unfit(s.opts.At, err)}
	}
	return r, changed
}

func (s *stage) amend(ev *core.Event, a core.Amendment) ([]string, error) {
	for _, doc := range []struct {
		name string
		was  json.RawMessage
		is   *json.RawMessage
	}{{"current", ev.Current, &a.Current}, {"previous", ev.Previous, &a.Previous}} {
		if *doc.is == nil {
			continue
		}
		if err := checkObject(doc.name, *doc.is); err != nil {
			return nil, err
		}
		*doc.is = s.digits.asSent(doc.was, *doc.is)
	}
	return ev.Amend(a)
}

func checkObject(name string, v json.RawMessage) error {
	if is := jsonscan.What(v); is != "an object" && is != "null" {
		return fmt.Errorf("%s: must be an object or null, is %s", name, is)
	}
	if jsonscan.Depth(v, jsonscan.MaxDepth) > jsonscan.MaxDepth { // comparing recurses
		return fmt.Errorf("%s: is nested deeper than %d", name, jsonscan.MaxDepth)
	}
	return nil
}

// failed is what the configuration says of code that did not do its work.
func (s *stage) failed(ev *core.Event, cause error) (core.Verdict, error) {
	then := "the event goes on as it was"
	reject := s.opts.OnFailure == "reject"
	if reject {
		then = "its sender is told to try again"
	}
	s.alarm.Note(cause, "event", ev.ID, "then", then)
	if reject {
		return core.Continue, &core.Error{
			Kind: core.Unavailable, Msg: "the event can't be handled now", Err: cause, RetryAfter: core.RetryAfter(cause),
		}
	}
	ev.Remark("failed: " + cause.Error())
	return core.Continue, nil
}
