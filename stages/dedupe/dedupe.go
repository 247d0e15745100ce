// Package dedupe settles events that were already accepted. It sees their keys, not their
// payloads; the store decides in the transaction that stores the event.
package dedupe

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/pipehook/pipehook/core"
)

// Config is the stage's table in the file.
type Config struct {
	// Window is how long a key is remembered. It should outlast the sender's last retry; Pipedrive
	// tries for about four minutes.
	Window time.Duration `koanf:"window" validate:"gt=0"`
}

// Log is the memory of accepted events. Seen reports the id of the event with the key that was
// received after since. It is called from many requests at once.
type Log interface {
	Seen(ctx context.Context, pipeline string, key []byte, since time.Time) (id string, ok bool, err error)
}

// Deps are what Factory needs.
type Deps struct {
	Log Log
	Now func() time.Time
}

// Factory makes dedupe stages.
func Factory(deps Deps) core.Factory {
	return core.Factory{Kind: "dedupe", New: func(decode core.Decode, at core.Place) (core.Stage, error) {
		conf := Config{Window: 24 * time.Hour}
		if err := decode(&conf); err != nil {
			return nil, err
		}
		return &stage{deps: deps, window: conf.Window, eager: at.Next() != "persist"}, nil
	}}
}

type stage struct {
	deps   Deps
	window time.Duration
	eager  bool // other stages follow before persist; they should not see a duplicate
}

func (s *stage) Process(ctx context.Context, ev *core.Event) (core.Verdict, error) {
	if ev.Key == nil {
		return core.Continue, nil // the source can't tell two of its events apart
	}
	state := ev.State
	if bytes.Equal(state, ev.Key) {
		state = nil
	}
	if s.eager {
		first, ok, err := s.seen(ctx, ev, state)
		if err != nil {
			return core.Continue, fmt.Errorf("duplicate check: %w", err)
		}
		if ok && !ev.Plan.Store {
			ev.Settle(first)
			return core.Settled, nil
		}
	}
	plan := &ev.Plan
	if plan.Key != nil { // the second dedupe of a chain: the longer memory wins
		plan.Window = max(plan.Window, s.window)
		return core.Continue, nil
	}
	plan.Key, plan.State, plan.Window = ev.Key, state, s.window
	plan.StoreDuplicate = plan.Store
	plan.DeliverDuplicate = len(plan.Listeners) > 0
	return core.Continue, nil
}

// seen asks for the event's key, and for its state if it has one.
func (s *stage) seen(ctx context.Context, ev *core.Event, state []byte) (first string, ok bool, err error) {
	since := s.deps.Now().Add(-s.window)
	if first, ok, err = s.deps.Log.Seen(ctx, ev.Pipeline, ev.Key, since); ok || err != nil || state == nil {
		return first, ok, err
	}
	return s.deps.Log.Seen(ctx, ev.Pipeline, state, since)
}
