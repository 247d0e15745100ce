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
	// HandleBatch handles the events one after another. It asks begin before each, in their order: a no
	// means that the rest was called back, and is left out. What is on its way to where it runs can't
	// be called back, so begin may be asked for some of them ahead. Each has timeout from when it runs, and done
	// is told what came of it as soon as it has ended, in their order. begin and done are called one at a
	// time, and not after HandleBatch has returned. ctx leaves time for all, and for a wait before the first.
	HandleBatch(ctx context.Context, timeout time.Duration, batch []Delivery, begin func(i int) bool, done func(i int, out Outcome))
}

// BulkListener is a BatchListener whose events share what a batch costs, however many they are: how long one took
// says nothing of how many make a good batch.
type BulkListener interface {
	BatchListener
	Bulk() int // how many it takes at once
}

// Outcome is what came of one event.
type Outcome struct {
	Err  error
	Took time.Duration
	Code string // the version of the listener that ran, for example a content hash

	Output string // what the listener said, a line each
}
