// Package ingress is HTTP in: it bounds what it reads, makes an Event of a request, runs the
// pipeline at its path, and turns the outcome into an answer. Only it knows which status a Kind of
// error is. It knows no stage and no store.
package ingress

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/pipehook/pipehook/core"
)

// Hook is a pipeline at its path.
type Hook struct {
	Path     string
	Source   string // the name of its source, for its events
	Pipeline *core.Pipeline
}

// Outcome is what became of one request.
type Outcome struct {
	Event  *core.Event
	Status int
	Code   string // accepted, duplicate or the code of the error
	Took   time.Duration
	Err    error
}

// Options are what New needs. Zero values of the limits mean their defaults.
type Options struct {
	MaxBody        int64         // bytes of one body; 1 MiB
	InFlight       int64         // bytes of all bodies that are being handled; 64 MiB or four bodies, and never less than one
	AckWithin      time.Duration // from the end of a request's header to its answer; 8 s
	TrustedProxies []netip.Prefix
	Log            *slog.Logger    // nil discards
	Observe        func(o Outcome) // sees every request that reached a pipeline, before its answer is sent; may be nil
	Now            func() time.Time
}

// Handler answers all hooks.
type Handler struct {
	opts     Options
	hooks    atomic.Pointer[map[string]*Hook]
	budget   budget
	warnings *limiter
}

// New makes a handler for the hooks.
func New(opts Options, hooks []Hook) *Handler {
	if opts.MaxBody == 0 {
		opts.MaxBody = 1 << 20
	}
	if opts.InFlight == 0 {
		opts.InFlight = max(64<<20, 4*opts.MaxBody)
	}
	if opts.AckWithin == 0 {
		opts.AckWithin = 8 * time.Second
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Observe == nil {
		opts.Observe = func(Outcome) {}
	}
	h := &Handler{opts: opts, warnings: newLimiter(opts.Now)}
	h.budget.limit = max(opts.InFlight, opts.MaxBody+1)
	h.SetHooks(hooks)
	return h
}

// SetHooks replaces all hooks at once. Requests that run go on with the pipeline they began with.
func (h *Handler) SetHooks(hooks []Hook) {
	byPath := make(map[string]*Hook, len(hooks))
	for _, hook := range hooks {
		byPath[hook.Path] = &hook
	}
	h.hooks.Store(&byPath)
}

// ServeHTTP matches paths exactly, as they were sent: senders do not follow redirects, and a proxy
// in front must not see another path than this does.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	hooks := *h.hooks.Load()
	path := r.URL.Path
	if r.URL.RawPath != "" {
		path = r.URL.RawPath
	}
	if hook, ok := hooks[path]; ok {
		if r.Method != http.MethodPost {
			h.notAllowed(w, r, http.MethodPost)
			return
		}
		h.receive(w, r, hook)
		return
	}
	if hookPath, ok := strings.CutSuffix(path, "/health"); ok && hooks[hookPath] != nil {
		h.health(w, r)
		return
	}
	h.strayed(w, r, http.StatusNotFound, "not_found", "there is no hook at this path")
}

func (h *Handler) receive(w http.ResponseWriter, r *http.Request, hook *Hook) {
	start := h.opts.Now()
	ev := &core.Event{
		ID: newID(), Pipeline: hook.Pipeline.Name, Source: hook.Source, ReceivedAt: start,
		Remote: clientAddr(r, h.opts.TrustedProxies), Header: r.Header,
	}
	receipt, err := h.take(r, ev, hook.Pipeline)
	o := Outcome{Event: ev, Err: err, Status: http.StatusOK, Code: "accepted"}
	switch {
	case err != nil:
		o.Status, o.Code = fail(w, ev.ID, err)
	case receipt.Duplicate:
		o.Code = "duplicate"
		fallthrough
	default:
		writeReceipt(w, o.Code, receipt.ID, ev.ID)
	}
	o.Took = h.opts.Now().Sub(start)
	h.report(o)
	h.opts.Observe(o)
}

// take asks for admission, reads the body within its bounds and runs the pipeline. The context
// outlives the client: one that hangs up must not tear a commit that others share. Its time runs
// from the request's beginning, because the sender's does.
func (h *Handler) take(r *http.Request, ev *core.Event, pipeline *core.Pipeline) (receipt core.Receipt, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &panicError{value: p, stack: debug.Stack()}
		}
	}()
	if err := checkContent(r.Header); err != nil {
		return core.Receipt{}, err
	}
	if r.ContentLength > h.opts.MaxBody {
		return core.Receipt{}, tooLarge(h.opts.MaxBody)
	}
	// The timer starts before the body is read, which the server's own time-outs bound.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), h.opts.AckWithin)
	defer cancel()
	if err := pipeline.Admit(ctx, ev); err != nil {
		return core.Receipt{}, err
	}
	share := share{of: &h.budget}
	defer share.release()
	if ev.Body, err = readBody(r, h.opts.MaxBody, &share); err != nil {
		return core.Receipt{}, err
	}
	if err := ctx.Err(); err != nil {
		return core.Receipt{}, fmt.Errorf("the body took too long: %w", err)
	}
	return pipeline.Run(ctx, ev)
}

func (h *Handler) health(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.notAllowed(w, r, "GET, HEAD")
		return
	}
	now := h.opts.Now().UTC().Format("2006-01-02T15:04:05.000Z")
	writeBody(w, http.StatusOK, newID(), `{"status":"ok","service":"pipehook","timestamp":"`+now+`"}`)
}

func (h *Handler) notAllowed(w http.ResponseWriter, r *http.Request, allow string) {
	w.Header().Set("Allow", allow)
	h.strayed(w, r, http.StatusMethodNotAllowed, "method_not_allowed", "use "+allow)
}

// strayed answers a request that reached no pipeline.
func (h *Handler) strayed(w http.ResponseWriter, r *http.Request, status int, code, msg string) {
	id := newID()
	writeError(w, status, code, msg, id)
	h.reportStray(r, id, status, code)
}

func newID() string { return uuid.Must(uuid.NewV7()).String() }

type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }
