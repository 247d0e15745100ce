// Package plugin is the stage that a user writes as a program of its own: it sees each event, and may
// label it, change it, drop it or turn its request away. It knows neither processes nor how one is
// spoken to: whoever builds the chain gives it what runs the plugin.
package plugin

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
	Plugin  string                 `koanf:"plugin" validate:"required"` // a binary in plugins.dir, or a path
	SHA256  string                 `koanf:"sha256" validate:"omitempty,len=64,hexadecimal"`
	Config  map[string]any         `koanf:"config"` // is the plugin's own
	Secrets map[string]core.Secret `koanf:"secrets"`
	Limits  core.ProgramLimits     `koanf:"limits"`
	TLS     string                 `koanf:"tls" validate:"oneof=auto off"`

	// Timeout is how long the plugin may take for an event. The sender waits meanwhile.
	Timeout time.Duration `koanf:"timeout" validate:"gt=0"`
	// OnFailure is "continue": the event goes on as it was, or "reject": the sender is told to try again.
	OnFailure string `koanf:"on_failure" validate:"oneof=continue reject"`
	// Concurrency is how many events it sees at a time; the others wait.
	Concurrency int `koanf:"concurrency" validate:"gte=1,lte=1024"`
}

// Runner runs a stage's plugin. It is called from many requests at once, and ends with ctx. timeout
// is for the plugin, and begins when it is its turn.
type Runner = guest.Runner

// Result is what came of a run.
type Result = guest.Result

// Reject is how a plugin turns a request away.
type Reject = guest.Reject

// Deps are what Factory needs.
type Deps struct {
	Open    func(Config) (Runner, error) // the Runner belongs to who opened it
	Limits  core.ProgramLimits           // of a plugin that has none of its own
	Longest time.Duration                // what a timeout may be at most; 0 for any
	Log     *slog.Logger                 // nil discards
	Now     func() time.Time             // nil for time.Now
}

// Factory makes plugin stages.
func Factory(deps Deps) core.Factory {
	return core.Factory{Kind: "plugin", New: func(decode core.Decode, at core.Place) (core.Stage, error) {
		conf := Config{Limits: deps.Limits, TLS: "auto", Timeout: guest.UsualTimeout(deps.Longest), OnFailure: "continue", Concurrency: 8}
		err := decode(&conf)
		late := guest.CheckTimeout(conf.Timeout, deps.Longest) // all mistakes are said at once
		if err != nil {
			return nil, errors.Join(err, late)
		}
		runner, err := deps.Open(conf)
		if err := errors.Join(late, err); err != nil {
			return nil, err
		}
		o := options(conf.Plugin, runner, conf.Timeout)
		o.OnFailure, o.Pipeline, o.Log, o.Now = conf.OnFailure, at.Pipeline, deps.Log, deps.Now
		return guest.New(o), nil
	}}
}

func options(plugin string, r Runner, timeout time.Duration) guest.Options {
	return guest.Options{Word: "plugin", At: plugin, Rejects: "sdk.Reject", Runner: r, Timeout: timeout}
}

// Try has a plugin judge an event as it does in a chain, for who tries it on the side: the event is changed
// as it says, and what a chain would not take of it is the result's Err.
func Try(ctx context.Context, plugin string, r Runner, timeout time.Duration, ev *core.Event) Result {
	return guest.Try(ctx, options(plugin, r, timeout), ev)
}
