package core

import (
	"context"
	"time"
)

// Listener handles stored events: a Go function, a script, a plugin. The context always has a
// deadline. It may be called again for the same event; ev.ID then is the same. An Error of Kind
// Permanent says that another attempt would not help.
type Listener interface {
	Handle(ctx context.Context, ev Event) error
}

// ListenerFunc makes a Listener of a function.
type ListenerFunc func(ctx context.Context, ev Event) error

// Handle calls f.
func (f ListenerFunc) Handle(ctx context.Context, ev Event) error { return f(ctx, ev) }

// BatchListener is a Listener for which several events at once cost less than one after another,
// because they have to be carried somewhere.
type BatchListener interface {
	Listener
	// HandleBatch handles the events one after another, each within timeout from when it begins, and
	// says what came of each as soon as it has ended. done is called in the order of the events, never
	// twice at a time, and not after HandleBatch has returned. When ctx ends no other event is begun, and
	// what runs is let end. Events without an outcome are taken as not begun, and are given again.
	HandleBatch(ctx context.Context, timeout time.Duration, evs []Event, done func(Outcome))
}

// Outcome is what came of one event.
type Outcome struct {
	Err  error
	Took time.Duration
	Code string // the version of the listener that ran, for example a content hash
}
