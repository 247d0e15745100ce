// Package echo is the stage that knows the events which pipehook's own writes have caused, so that a listener
// does not answer itself. Who remembers the writes is given to it.
package echo

import (
	"context"
	"log/slog"
	"time"

	"github.com/pipehook/pipehook/core"
)

// Label is what an event is marked with; its value is who wrote.
const Label = "echo"

// Config is the stage's table in the file.
type Config struct {
	// Mode is "mark": the event gets the label echo, or "drop": it ends here, for all but the local tables.
	Mode string `koanf:"mode" validate:"oneof=mark drop"`
	// Window is how long after a write its event may come.
	Window time.Duration `koanf:"window" validate:"gt=0,lte=24h"`
}

// Default is a Config that says nothing.
func Default() Config { return Config{Mode: "mark", Window: 10 * time.Minute} }

// Ledger remembers writes. Find says who wrote, within window, what the event tells; empty for nobody. near
// is about a write of the same record with other values. It is called from many requests at once.
type Ledger interface {
	Find(ctx context.Context, ev *core.Event, window time.Duration) (by string, near bool, err error)
}

// Deps are what Factory needs.
type Deps struct {
	Ledger Ledger
	Seen   func(pipeline, result string) // is told of each event that is marked, dropped or a near_miss; may be nil
	Kept   func() bool                   // reports whether a listener keeps local tables; nil for none
	Log    *slog.Logger                  // nil discards
}

// within bounds what an event waits for the ledger.
const within = time.Second

// Factory makes echo stages.
func Factory(deps Deps) core.Factory {
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	if deps.Seen == nil {
		deps.Seen = func(string, string) {}
	}
	if deps.Kept == nil {
		deps.Kept = func() bool { return false }
	}
	return core.Factory{Kind: "echo", New: func(decode core.Decode, at core.Place) (core.Stage, error) {
		conf := Default()
		if err := decode(&conf); err != nil {
			return nil, err
		}
		return &stage{deps, conf, at.Pipeline}, nil
	}}
}

type stage struct {
	deps     Deps
	conf     Config
	pipeline string
}

// Process marks or drops an echo. When the ledger can't be asked the event goes on as it is: taking it is what
// matters more.
func (s *stage) Process(ctx context.Context, ev *core.Event) (core.Verdict, error) {
	asking, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	by, near, err := s.deps.Ledger.Find(asking, ev, s.conf.Window)
	switch {
	case by != "": // it was found, even if not all of it could be noted
	case err != nil:
		s.deps.Log.Warn("whether an event is an echo could not be found out", "pipeline", s.pipeline, "event", ev.ID, "err", err)
		return core.Continue, nil
	case near:
		s.deps.Seen(s.pipeline, "near_miss")
		fallthrough
	default:
		return core.Continue, nil
	}
	drop := s.conf.Mode == "drop"
	if drop && !s.deps.Kept() {
		s.deps.Seen(s.pipeline, "dropped")
		ev.Remark("dropped: an echo of what " + by + " wrote")
		return core.Dropped, nil
	}
	if _, err := ev.Amend(core.Amendment{Labels: map[string]string{Label: by}}); err != nil {
		return core.Continue, err
	}
	if drop {
		// Tables that miss it would differ from the account, and reconcile would tell everybody of the difference.
		ev.Plan.Withheld = true
		s.deps.Seen(s.pipeline, "dropped")
		ev.Remark("left to the local tables: an echo of what " + by + " wrote")
		return core.Continue, nil
	}
	s.deps.Seen(s.pipeline, "marked")
	ev.Remark("an echo of what " + by + " wrote")
	return core.Continue, nil
}
