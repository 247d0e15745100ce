package engine

import (
	"context"

	"github.com/pipehook/pipehook/core/effect"
)

// Host does what scripts ask of the outside. It is called from many goroutines; ctx ends with the
// call. Errors that scripts may see are HostErrors; of any other they learn only that there was one.
type Host interface {
	Fetch(ctx context.Context, by effect.Caller, r *FetchRequest) (*FetchResponse, error)
	KV(ctx context.Context, by effect.Caller, op *effect.KVOp) (*effect.KVResult, error)
	Emit(ctx context.Context, by effect.Caller, e *effect.Emit) (*effect.Emitted, error)
	Pipedrive(ctx context.Context, by effect.Caller, c *effect.APICall) (*effect.APIAnswer, error)
}

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
