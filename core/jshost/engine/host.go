package engine

import (
	"context"
	"time"

	"github.com/pipehook/pipehook/core"
)

// Host does what scripts ask of the outside. It is called from many goroutines; ctx ends with the
// call. Errors that scripts may see are HostErrors; of any other they learn only that there was one.
type Host interface {
	Fetch(ctx context.Context, by Caller, r *FetchRequest) (*FetchResponse, error)
	KV(ctx context.Context, by Caller, op *KVOp) (*KVResult, error)
	Emit(ctx context.Context, by Caller, e *Emit) (*Emitted, error)
}

// Caller is who asks for an effect: known by the host, never told by the script.
type Caller struct {
	Script string      // the listener's, stage's or source's name
	Event  *core.Event // being handled; nil while the file is loaded
	Number int         // of what the call asks for, from 1 in the order of the script; 0 when not known
}

// HostError is an effect that failed, as the script sees it: Code is its error's code, such as
// "EHOST" (a host that is not allowed), "ETIMEDOUT", "ETOOLARGE" or "ECONFLICT".
type HostError struct {
	Code string `json:"code"`
	Msg  string `json:"msg"`
}

func (e *HostError) Error() string { return e.Msg }

// FetchRequest is a request over HTTP.
type FetchRequest struct {
	Method   string      `json:"method"`
	URL      string      `json:"url"`
	Header   [][2]string `json:"header,omitempty"`
	Body     []byte      `json:"body,omitempty"`
	Redirect string      `json:"redirect,omitempty"` // "follow" (on the same host only), "error" or "manual"
}

// FetchResponse is what came back, all of it.
type FetchResponse struct {
	Status     int         `json:"status"`
	StatusText string      `json:"status_text,omitempty"`
	URL        string      `json:"url"`
	Redirected bool        `json:"redirected,omitempty"`
	Header     [][2]string `json:"header,omitempty"`
	Body       []byte      `json:"body,omitempty"`
}

// KVOp is one operation on what scripts remember.
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

// Emit is an event that a script derives from the one it handles.
type Emit struct {
	Action   string `json:"action"`
	Object   string `json:"object"`
	ObjectID string `json:"object_id,omitempty"`
	Current  []byte `json:"current,omitempty"` // JSON, as the next two
	Previous []byte `json:"previous,omitempty"`
	Meta     []byte `json:"meta,omitempty"`
	Key      string `json:"key,omitempty"` // the script's own; without one the ordinal tells emits apart
	Ordinal  int    `json:"ordinal"`       // of the call's emits, from 0
}

// Emitted is the event that an Emit became.
type Emitted struct {
	ID        string `json:"id"`
	Duplicate bool   `json:"duplicate,omitempty"` // it was there already, from an earlier attempt
}
