// Package sdk is what the author of a compiled plugin imports, and all of it: a main describes its
// Plugin and calls Serve. It knows nothing of what pipehook is made of but the vocabulary of events
// and errors, so that a plugin stays small.
package sdk

import (
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/plugins/sdk/wire"
)

// Event is one webhook, with the same fields and methods that pipehook itself uses.
type Event = core.Event

// Listener handles events. Handle is called from several goroutines at once, up to the listener's
// concurrency, and has until its context's deadline: a plugin that has not answered a second later
// is killed and started again. The same event may come more than once; its ID stays the same. A
// panic ends the plugin, and counts against the events that it had.
type Listener = core.Listener

// ListenerFunc makes a Listener of a function.
type ListenerFunc = core.ListenerFunc

// Plugin is what Serve serves.
type Plugin struct {
	Name    string // lower case, as in pipeline.toml
	Version string

	// Config points to a struct that the listener's config table is read into, by the names of its
	// json tags. What the table does not name keeps its value; what the struct does not have is a
	// mistake. It may be nil, and it may be the Listener itself.
	Config any

	// Listener handles the events. When it has the method Start(context.Context) error, that is called
	// once, after Config was filled and before the first event. What it returns is shown as a mistake
	// in the configuration: Wrong says in which key.
	Listener Listener
}

// Permanent says that another attempt would not help: the event is given up for this listener.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &core.Error{Kind: core.Permanent, Msg: err.Error()}
}

// RetryAfter says when to try again, at most 30 days from now.
func RetryAfter(wait time.Duration, err error) error {
	if err == nil {
		return nil
	}
	return &core.Error{Kind: core.Failed, Msg: err.Error(), RetryAfter: wait}
}

// Wrong is a mistake in the configuration, at a key of the config table such as "retry.max". Several
// may be joined.
func Wrong(key, msg string) error { return &wire.ConfigError{Key: key, Msg: msg} }
