package main

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/pipehook/pipehook/core/telemetry"
)

// standing is where each listener stands, and each that is no more but has deliveries pending.
func (a *app) standing(ctx context.Context) (map[string]telemetry.Listener, error) {
	all := map[string]telemetry.Listener{}
	for name, is := range a.engine.Standing() {
		all[name] = telemetry.Listener{Paused: is.Paused, Open: is.Open}
	}
	waiting, err := a.store.Reader().Waiting(ctx)
	if err != nil {
		return nil, err
	}
	oldest, err := a.store.Reader().Oldest(ctx, slices.Collect(maps.Keys(waiting)))
	if err != nil {
		return nil, err
	}
	for name, n := range waiting {
		is := all[name]
		is.Pending = n
		if at, ok := oldest[name]; ok {
			is.Lag = max(time.Since(at), 0)
		}
		all[name] = is
	}
	return all, nil
}

// orphansWithin is how long a start or a reload waits to be told: it can do without.
const orphansWithin = 2 * time.Second

// tellOrphans says which stored deliveries wait for listeners that there are not.
func (a *app) tellOrphans(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, orphansWithin)
	defer cancel()
	waiting, err := a.store.Reader().Waiting(ctx)
	if err != nil {
		return // the store says so itself when it matters
	}
	for name := range a.engine.Standing() {
		delete(waiting, name)
	}
	for listener, n := range waiting {
		a.log.Warn("deliveries wait for a listener that does not exist", "listener", listener, "count", n)
	}
}
