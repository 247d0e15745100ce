// Package persist is the stage after which an event is not lost: whatever passed it is stored
// before the sender is answered. It adds that to the event's plan; it knows no database.
package persist

import (
	"context"

	"github.com/pipehook/pipehook/core"
)

// Config has no settings yet.
type Config struct{}

// Factory makes persist stages.
func Factory() core.Factory {
	return core.Factory{Kind: "persist", New: func(decode core.Decode, _ core.Place) (core.Stage, error) {
		if err := decode(&Config{}); err != nil {
			return nil, err
		}
		return stage{}, nil
	}}
}

type stage struct{}

func (stage) Process(_ context.Context, ev *core.Event) (core.Verdict, error) {
	ev.Plan.Store = true
	return core.Continue, nil
}
