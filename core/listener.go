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
	// HandleBatch handles the events one after another. It asks begin before each, in their order: if
	// that says no, the event is left out, for it was called back meanwhile. Each has timeout from then
	// on, and done is told what came of it as soon as it has ended. Where asking would cost more than it
	// saves, begin may be asked ahead. ctx leaves time for all of them and for as long a wait before the
	// first. After HandleBatch has returned it calls neither.
	HandleBatch(ctx context.Context, timeout time.Duration, evs []Event, begin func(i int) bool, done func(i int, out Outcome))
}

// Outcome is what came of one event.
type Outcome struct {
	Err  error
	Took time.Duration
	Code string // the version of the listener that ran, for example a content hash
}
