// Package effect is the vocabulary of what the code of users asks of pipehook: to remember something,
// to say that something has happened, to count. Scripts and plugins ask alike. It knows neither who
// asks in which way nor who answers.
package effect

import (
	"time"

	"github.com/pipehook/pipehook/core"
)

// Caller is who asks for an effect: known by the host, never told by the code.
type Caller struct {
	Name   string      // the listener's, stage's or source's name
	Event  *core.Event // being handled; nil while nothing is: a file is loaded, a plugin starts
	Number int         // of what the call asks for, from 1 in its own order; 0 when not known
}

// Error is an effect that failed, as whoever asked sees it: Code is its error's code, such as
// "EHOST" (a host that is not allowed), "ETIMEDOUT", "ETOOLARGE" or "ECONFLICT".
type Error struct {
	Code string `json:"code"`
	Msg  string `json:"msg"`

	Status     int           `json:"status,omitempty"`      // that somebody else answered, over HTTP
	RetryAfter time.Duration `json:"retry_after,omitempty"` // when it may work; 0 when not known

	Unsure  bool `json:"-"` // it may have been done all the same: the host keeps that in mind
	NotDone bool `json:"-"` // it never got to who would have done it
}

func (e *Error) Error() string { return e.Msg }

// As lets an Error that knows when it may work be read as one of core's, so that a delivery that ends with it
// is tried again then.
func (e *Error) As(target any) bool {
	into, ok := target.(**core.Error)
	if !ok || e.RetryAfter <= 0 {
		return false
	}
	*into = &core.Error{Kind: core.Failed, Msg: e.Msg, RetryAfter: e.RetryAfter}
	return true
}

// OnlyListenersEmit is what a stage or a source is told that emits.
func OnlyListenersEmit() *Error {
	return &Error{Code: "ENOTAVAILABLE", Msg: "only a listener can emit: what a stage or a source sees may still be turned away"}
}

// KVOp is one operation on what was remembered.
type KVOp struct {
	Op        string        `json:"op"` // "get", "set", "delete" or "list"
	Shared    bool          `json:"shared,omitempty"`
	Key       string        `json:"key,omitempty"`
	Value     []byte        `json:"value,omitempty"` // JSON
	TTL       time.Duration `json:"ttl,omitempty"`
	IfVersion *string       `json:"if_version,omitempty"` // nil for any; "" only when absent; else only this version
	Prefix    string        `json:"prefix,omitempty"`
	After     string        `json:"after,omitempty"`
	Limit     int           `json:"limit,omitempty"`
}

// KVEntry is a value that is kept.
type KVEntry struct {
	Key     string    `json:"key"`
	Value   []byte    `json:"value,omitempty"` // JSON
	Version string    `json:"version"`
	Expires time.Time `json:"expires,omitzero"`
}

// KVResult answers a KVOp.
type KVResult struct {
	OK      bool      `json:"ok"` // found, or written
	Entry   KVEntry   `json:"entry,omitzero"`
	Entries []KVEntry `json:"entries,omitempty"`
	More    bool      `json:"more,omitempty"`
}

// Emit is an event that is derived from the one it handles.
type Emit struct {
	Action   string `json:"action"`
	Object   string `json:"object"`
	ObjectID string `json:"object_id,omitempty"`
	Current  []byte `json:"current,omitempty"` // JSON, as the next two
	Previous []byte `json:"previous,omitempty"`
	Meta     []byte `json:"meta,omitempty"`
	Key      string `json:"key,omitempty"` // of its own; without one the ordinal tells emits apart
	Ordinal  int    `json:"ordinal"`       // of the call's emits, from 0
}

// Emitted is the event that an Emit became.
type Emitted struct {
	ID        string `json:"id"`
	Duplicate bool   `json:"duplicate,omitempty"` // it was there already, from an earlier attempt
}

// Measure is one step of a metric of the code's own.
type Measure struct {
	Name  string // a-z, 0-9 and _
	Gauge bool   // Value replaces what was before; else it is added
	Value float64
}
