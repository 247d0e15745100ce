// Package script is the stage that a user writes as a script: it sees each event, and may label it,
// change it, drop it or turn its request away. It knows no engine: whoever builds the chain gives it
// what runs the script. What the script returns is read here.
package script

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/stages/internal/guest"
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
type Reject = guest.Reject

// Deps are what Factory needs.
type Deps struct {
	Open    func(Spec) (Runner, error) // the Runner belongs to who opened it
	Longest time.Duration              // what a timeout may be at most; 0 for any
	Log     *slog.Logger               // nil discards
	Now     func() time.Time           // nil for time.Now
}

// Factory makes script stages.
func Factory(deps Deps) core.Factory {
	return core.Factory{Kind: "script", New: func(decode core.Decode, at core.Place) (core.Stage, error) {
		conf := Config{Timeout: guest.UsualTimeout(deps.Longest), OnFailure: "continue", Concurrency: 8}
		err := decode(&conf)
		late := guest.CheckTimeout(conf.Timeout, deps.Longest) // all mistakes are said at once
		if err != nil {
			return nil, errors.Join(err, late)
		}
		runner, err := deps.Open(Spec{Path: conf.Script, Concurrency: conf.Concurrency, AllowHosts: conf.AllowHosts, Secrets: conf.Secrets})
		if err := errors.Join(late, err); err != nil {
			return nil, err
		}
		return guest.New(guest.Options{
			Word: "script", At: conf.Script, Rejects: "ctx.reject", Runner: reader{runner, conf.Script}, LargeAsText: true,
			Timeout: conf.Timeout, OnFailure: conf.OnFailure, Pipeline: at.Pipeline, Log: deps.Log, Now: deps.Now,
		}), nil
	}}
}

// reader is a Runner whose values have been read.
type reader struct {
	Runner
	path string
}

// Run implements guest.Runner.
func (r reader) Run(ctx context.Context, ev *core.Event, timeout time.Duration) guest.Result {
	got := r.Runner.Run(ctx, ev, timeout)
	result := guest.Result{Err: got.Err, Drop: got.Drop, Reject: got.Reject}
	if got.Err != nil || got.Drop != nil || got.Reject != nil {
		return result
	}
	var err error
	if result.Amendment, err = decode(got.Value); err != nil {
		result.Err = guest.Unfit(r.path, err)
	}
	return result
}
