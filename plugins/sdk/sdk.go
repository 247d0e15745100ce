// Package sdk is what the author of a compiled plugin imports, and all of it: a main describes its
// Plugin and calls Serve. It knows nothing of what pipehook is made of but the vocabulary of events
// and errors, so that a plugin stays small.
//
// A plugin is a Listener that handles events, a Stage that judges them on their way in, a Source that
// says which event a request is, or several of these. Its configuration is a struct, see Plugin. What it can
// ask pipehook for is Host, which it gets when it has a method Start. Package sdktest runs it in a test.
package sdk

import (
	"context"
	"errors"
	"fmt"
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

// Stage judges events on their way in, or changes them; it is the same as a built-in one. Process is
// called from several goroutines at once, and a sender waits for it: it has until its context's
// deadline, half a second unless pipeline.toml says otherwise. It may label the event, give it another
// action, object, object id, current or previous, as Event.Amend does; any other change is a failure.
// Continue has the event go on. Drop ends its way: the sender is answered success, and what Event.Remark was told
// is kept as the reason. An error made by Reject is answered to the sender; any other is a failure of the
// stage, for which on_failure says what becomes of the event.
type Stage = core.Stage

// Verdict is what a Stage decides about an event.
type Verdict = core.Verdict

// The verdicts of a Stage.
const (
	Continue = core.Continue
	Drop     = core.Dropped
)

// Source says which event a request is: Name gets an Event with the request's headers and body, and
// fills in Action and Object, and what else it knows of ObjectID, Current, Previous, Meta, Version,
// Attempt, OccurredAt, Facts and Key. It is called from several goroutines at once, and a sender waits
// for it. What it says is kept, and it is not asked again for the same event. An error made by Reject
// says that the request is not as its sender documents; any other is a failure of the source. In both
// cases the event is unknown.unknown, and it is validate in the chain that turns it away or not.
type Source interface {
	Name(ctx context.Context, ev *Event) error
}

// Plugin is what Serve serves: a Listener, a Stage or a Source, or several of them. pipehook starts a
// process for each place where pipeline.toml names the plugin, and each does one of them. What is a Starter
// or a Stopper as well is told when it begins and ends.
type Plugin struct {
	Name    string // lower case, as in pipeline.toml
	Version string

	// Config points to a struct that the config table is read into, by the names of its json tags; it may
	// be the Listener itself. What the table does not name keeps its value. A time.Duration is written as
	// "5s" or "30d", and so is as text what reads itself from text; structs, lists and maps nest, and a
	// number in an any is a json.Number. What the struct does not have is a mistake, and so is what its validate
	// tags refuse (see github.com/go-playground/validator). nil takes no configuration.
	Config any

	Listener Listener
	Stage    Stage
	Source   Source
}

// Starter is a Listener, Stage or Source that has something to do before the first event, when Config was
// filled. What Start returns is shown as a mistake in the configuration when it was made by Wrong, WrongSecret
// or Host.NeedSecret; any other error is a start that failed, and is tried again. Start may also be without
// the host, as it was in 1.0. A Start or Stop of any other form is an error of the start.
type Starter interface {
	Start(ctx context.Context, host *Host) error
}

// Stopper is a Listener, Stage or Source that has something to do after the last event. It has two seconds.
type Stopper interface {
	Stop(ctx context.Context) error
}

// Permanent says that another attempt would not help: the event is given up for this listener.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &core.Error{Kind: core.Permanent, Msg: err.Error()}
}

// RetryAfter says when to try again, at most 30 days from now. Of an error that Reject made it is what the
// sender is told.
func RetryAfter(wait time.Duration, err error) error {
	if err == nil {
		return nil
	}
	if r, ok := errors.AsType[*wire.Rejection](err); ok {
		return &wire.Rejection{Status: r.Status, Msg: r.Msg, RetryAfter: wait}
	}
	return &core.Error{Kind: core.Failed, Msg: err.Error(), RetryAfter: wait}
}

// Reject is a stage's or a source's word that the request is at fault. A stage has the sender answered
// with the status, one of 400, 401, 403, 409, 413, 415, 422, 429 and 503, and with the message. With any
// other status it is a failure.
func Reject(status int, msg string) error {
	if !wire.IsStatus(status) {
		return fmt.Errorf("no sender can be answered %d (%s): take 400, 401, 403, 409, 413, 415, 422, 429 or 503", status, msg)
	}
	return &wire.Rejection{Status: status, Msg: msg}
}

// Wrong is a mistake in the configuration, at a key of the config table: "retry.max" for a key in a table,
// "currencies[0]" or "servers[1].url" for what is in a list, "" for the table as a whole. It is shown with
// that place in pipeline.toml. Several may be joined.
func Wrong(key, msg string) error { return &wire.ConfigError{Key: key, Msg: msg} }

// WrongSecret is a mistake in a secret that pipeline.toml grants, or does not, by its name. The message is
// shown, so the secret must not be in it. See Host.NeedSecret for one that is missing.
func WrongSecret(name, msg string) error {
	return &wire.ConfigError{Key: name, Msg: msg, Secret: true}
}
