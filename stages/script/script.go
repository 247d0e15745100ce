// Package script is the stage that a user writes: a script that sees each event, and may label it,
// change it, drop it or turn its request away. It knows no engine: whoever builds the chain gives it
// what runs the script. What the script returns is read here, and nothing of it is trusted.
package script

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/pipehook/pipehook/core"
)

// Config is the stage's table in the file.
type Config struct {
	Script string `koanf:"script" validate:"required"`
	// Timeout is how long the script may take for an event. The sender waits meanwhile.
	Timeout time.Duration `koanf:"timeout" validate:"gt=0"`
	// OnFailure is "continue": the event goes on as it was, or "reject": the sender is told to try again.
	OnFailure string `koanf:"on_failure" validate:"oneof=continue reject"`
	// Concurrency is how many events it sees at a time; the others wait.
	Concurrency int `koanf:"concurrency" validate:"gte=1,lte=1024"`

	AllowHosts []string               `koanf:"allow_hosts" validate:"dive,required"`
	Secrets    map[string]core.Secret `koanf:"secrets"`
}

// Spec is a script that a stage wants to be run.
type Spec struct {
	Path        string // as the file has it
	Concurrency int
	AllowHosts  []string
	Secrets     map[string]core.Secret
}

// Runner runs a stage's script. It is called from many requests at once, waits for a free runtime as
// long as ctx allows, and ends with ctx. timeout counts from when the script's function begins.
type Runner interface {
	// Name is what the script is called by, such as tag for scripts/stages/tag.js.
	Name() string
	Run(ctx context.Context, ev *core.Event, timeout time.Duration) Result
}

// Result is what came of a run: the first part that is set counts.
type Result struct {
	Err    error   // it threw, was stopped, or could not be run; the text names the place
	Drop   *string // it called ctx.drop, with this reason
	Reject *Reject // it called ctx.reject
	Value  []byte  // what it returned, as JSON; nil for nothing
}

// Reject is how a script turns a request away.
type Reject struct {
	Status int
	Msg    string // for the sender
}

// Deps are what Factory needs.
type Deps struct {
	Open    func(Spec) (Runner, error) // the Runner belongs to who opened it
	Longest time.Duration              // what a timeout may be at most; 0 for any
	Log     *slog.Logger               // nil discards
	Now     func() time.Time           // nil for time.Now
}

// Factory makes script stages.
func Factory(deps Deps) core.Factory {
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	return core.Factory{Kind: "script", New: func(decode core.Decode, at core.Place) (core.Stage, error) {
		conf := Config{Timeout: usual(deps.Longest), OnFailure: "continue", Concurrency: 8}
		if err := decode(&conf); err != nil {
			return nil, err
		}
		if deps.Longest > 0 && conf.Timeout > deps.Longest {
			return nil, fmt.Errorf("timeout is %s and may be %s, a quarter of server.ack_within: the sender waits for the whole chain", conf.Timeout, deps.Longest)
		}
		runner, err := deps.Open(Spec{Path: conf.Script, Concurrency: conf.Concurrency, AllowHosts: conf.AllowHosts, Secrets: conf.Secrets})
		if err != nil {
			return nil, err
		}
		s := &stage{path: conf.Script, timeout: conf.Timeout, reject: conf.OnFailure == "reject", runner: runner}
		s.alarm = core.Alarm{
			Log: deps.Log.With("pipeline", at.Pipeline, "stage", s.String()), Now: deps.Now,
			Failing: "a script in the chain fails", Over: "the script in the chain works again",
		}
		return s, nil
	}}
}

// usual is the timeout of a stage that has none of its own.
func usual(longest time.Duration) time.Duration {
	const timeout = 500 * time.Millisecond
	if longest > 0 {
		return min(timeout, longest)
	}
	return timeout
}

type stage struct {
	path    string
	timeout time.Duration
	reject  bool
	runner  Runner
	alarm   core.Alarm
}

// String is the stage in traces and logs: a chain may have several scripts.
func (s *stage) String() string { return "script " + s.runner.Name() }

func (s *stage) Process(ctx context.Context, ev *core.Event) (core.Verdict, error) {
	ctx, cancel := core.Half(ctx)
	defer cancel()
	r := s.runner.Run(ctx, ev, s.timeout)
	switch {
	case r.Err != nil:
		return s.failed(ev, r.Err)
	case r.Drop != nil:
		s.alarm.Note(nil)
		ev.Remark("dropped: " + *r.Drop)
		return core.Dropped, nil
	case r.Reject != nil:
		if err := refusal(r.Reject); err != nil {
			s.alarm.Note(nil)
			return core.Continue, err
		}
		return s.failed(ev, fmt.Errorf("%s: ctx.reject(%d): the status must be one of %s", s.path, r.Reject.Status, statuses()))
	}
	changed, err := s.amend(ev, r.Value)
	if err != nil {
		return s.failed(ev, fmt.Errorf("%s: it returned what a stage can't: %w", s.path, err))
	}
	s.alarm.Note(nil)
	if len(changed) > 0 {
		ev.Remark("changed " + strings.Join(changed, ", "))
	}
	return core.Continue, nil
}

func (s *stage) amend(ev *core.Event, value []byte) ([]string, error) {
	change, err := decode(value)
	if err != nil {
		return nil, err
	}
	if change.Current != nil {
		change.Current = asSent(ev.Current, change.Current)
	}
	if change.Previous != nil {
		change.Previous = asSent(ev.Previous, change.Previous)
	}
	return ev.Amend(change)
}

// failed is what the configuration says of a script that did not do its work.
func (s *stage) failed(ev *core.Event, cause error) (core.Verdict, error) {
	s.alarm.Note(cause)
	if s.reject {
		return core.Continue, &core.Error{
			Kind: core.Unavailable, Msg: "the event can't be handled now", Err: cause, RetryAfter: core.RetryAfter(cause),
		}
	}
	ev.Remark("failed: " + cause.Error())
	return core.Continue, nil
}
