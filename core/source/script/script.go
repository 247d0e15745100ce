// Package script is a source that a user writes as a script: it says what event a sender's request is.
// It knows no engine: whoever builds the chain gives it what runs the script. What the script returns is
// read here.
package script

import (
	"context"
	"log/slog"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/source/guest"
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
type Thrown = guest.Fault

// Options are what New needs.
type Options struct {
	Runner  Runner
	Timeout time.Duration
	Headers []string // that the script sees although they may hold a credential
	Log     *slog.Logger
	Now     func() time.Time // nil for time.Now
}

// New makes a source of a script.
func New(o Options) *guest.Source {
	return guest.New(guest.Options{Word: "script", Runner: reader{o.Runner}, Timeout: o.Timeout, Headers: o.Headers, Log: o.Log, Now: o.Now})
}

// reader is a Runner whose values have been read.
type reader struct{ runner Runner }

func (r reader) Name() string { return r.runner.Name() }

// Run implements guest.Runner.
func (r reader) Run(ctx context.Context, ev *core.Event, timeout time.Duration) (*guest.Said, error) {
	value, err := r.runner.Run(ctx, ev, timeout)
	if err != nil {
		return nil, err
	}
	return read(value)
}
