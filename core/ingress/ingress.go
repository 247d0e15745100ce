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
	"github.com/pipehook/pipehook/core/failpoint"
)

// Hook is a pipeline at its path.
type Hook struct {
	Path     string
	Source   string   // the name of its source, for its events
	Types    []string // of content that its source reads besides JSON: media types in lower case
	Pipeline *core.Pipeline
}

// Outcome is what became of one request, or of an event that was submitted, whose Origin is set.
type Outcome struct {
	Event  *core.Event
	Status int
	Code   string // accepted, duplicate, dropped or the code of the error
	Took   time.Duration
	Bytes  int64 // of the body, as far as it arrived or was announced
	Err    error
}

// Options are what New needs. Zero values of the limits mean their defaults.
type Options struct {
	MaxBody        int64         // bytes of one body; 1 MiB
	InFlight       int64         // bytes of all bodies that are being handled; 64 MiB or four bodies, and never less than one
	AckWithin      time.Duration // from the end of a request's header to its answer; 8 s
	TrustedProxies []netip.Prefix
	Log            *slog.Logger    // nil discards
	Observe        func(o Outcome) // sees every request at a hook's path, before its answer is sent, and every event submitted; must not keep the event; may be nil
	Now            func() time.Time
}

// Limits are those of Options that may change while requests are answered. Zero values mean the
// same defaults.
type Limits struct {
	MaxBody        int64
	AckWithin      time.Duration
	TrustedProxies []netip.Prefix
}

// Handler answers all hooks.
type Handler struct {
	opts     Options
	rules    atomic.Pointer[rules]
	warnings *limiter
}

// rules are what a request is judged by from its beginning to its end.
type rules struct {
	Limits
	hooks  map[string]*Hook
	budget *budget
}

// New makes a handler for the hooks.
func New(opts Options, hooks []Hook) *Handler {
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
	h.Set(Limits{opts.MaxBody, opts.AckWithin, opts.TrustedProxies}, hooks)
	return h
}

// Set replaces the limits and all hooks at once. Requests that run go on with those they began
// with. It must not be called twice at a time.
func (h *Handler) Set(limits Limits, hooks []Hook) {
	if limits.MaxBody == 0 {
		limits.MaxBody = 1 << 20
	}
	if limits.AckWithin == 0 {
		limits.AckWithin = 8 * time.Second
	}
	inFlight := h.opts.InFlight
	if inFlight == 0 {
		inFlight = max(64<<20, 4*limits.MaxBody)
	}
	now := &rules{Limits: limits, hooks: make(map[string]*Hook, len(hooks)), budget: &budget{limit: max(inFlight, limits.MaxBody+1)}}
	for _, hook := range hooks {
		now.hooks[hook.Path] = &hook
	}
	if old := h.rules.Load(); old != nil && old.budget.limit == now.budget.limit {
		now.budget = old.budget // what is being received counts on
	}
	h.rules.Store(now)
}

// SetHooks replaces all hooks at once and leaves the limits alone. It must not be called twice at a
// time.
func (h *Handler) SetHooks(hooks []Hook) { h.Set(h.rules.Load().Limits, hooks) }

// ServeHTTP matches paths exactly, as they were sent: senders do not follow redirects, and a proxy
// in front must not see another path than this does.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	now := h.rules.Load()
	path := r.URL.Path
	if r.URL.RawPath != "" {
		path = r.URL.RawPath
	}
	if hook, ok := now.hooks[path]; ok {
		if r.Method != http.MethodPost {
			h.mistaken(w, r, now, hook)
			return
		}
		h.receive(w, r, now, hook)
		return
	}
	if hookPath, ok := strings.CutSuffix(path, "/health"); ok && now.hooks[hookPath] != nil {
		h.health(w, r)
		return
	}
	h.strayed(w, r, http.StatusNotFound, "not_found", "there is no hook at this path")
}

func (h *Handler) receive(w http.ResponseWriter, r *http.Request, now *rules, hook *Hook) {
	start := h.opts.Now()
	ev := &core.Event{
		ID: newID(), Pipeline: hook.Pipeline.Name, Source: hook.Source, ReceivedAt: start,
		Remote: clientAddr(r, now.TrustedProxies), Header: r.Header,
	}
	receipt, err := take(r, now, ev, hook)
	failpoint.Pass(failpoint.BeforeReply)
	o := Outcome{Event: ev, Err: err, Status: http.StatusOK}
	switch {
	case err != nil:
		o.Status, o.Code = fail(w, ev.ID, err)
	default:
		o.Code = receiptCode(receipt)
		writeReceipt(w, o.Code, receipt.ID, ev.ID)
	}
	failpoint.Pass(failpoint.AfterReply)
	o.Took = h.opts.Now().Sub(start)
	o.Bytes = max(r.ContentLength, int64(len(ev.Body)))
	h.report(o)
	h.opts.Observe(o)
}

func receiptCode(r core.Receipt) string {
	switch {
	case r.Duplicate:
		return "duplicate"
	case r.Dropped:
		return "dropped"
	default:
		return "accepted"
	}
}

// take asks for admission, reads the body within its bounds and runs the pipeline. The context
// outlives the client: one that hangs up must not tear a commit that others share. Its time runs
// from the request's beginning, because the sender's does.
func take(r *http.Request, now *rules, ev *core.Event, hook *Hook) (receipt core.Receipt, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &panicError{value: p, stack: debug.Stack()}
		}
	}()
	if err := checkContent(r.Header, hook.Types); err != nil {
		return core.Receipt{}, err
	}
	if r.ContentLength > now.MaxBody {
		return core.Receipt{}, tooLarge(now.MaxBody)
	}
	// The timer starts before the body is read, which the server's own time-outs bound.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), now.AckWithin)
	defer cancel()
	if err := hook.Pipeline.Admit(ctx, ev); err != nil {
		return core.Receipt{}, err
	}
	share := share{of: now.budget}
	defer share.release()
	if ev.Body, err = readBody(r, now.MaxBody, &share); err != nil {
		return core.Receipt{}, err
	}
	failpoint.Pass(failpoint.BodyRead)
	if err := ctx.Err(); err != nil {
		return core.Receipt{}, fmt.Errorf("the body took too long: %w", err)
	}
	return hook.Pipeline.Run(ctx, ev)
}

func (h *Handler) health(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.notAllowed(w, r, "GET, HEAD")
		return
	}
	now := h.opts.Now().UTC().Format("2006-01-02T15:04:05.000Z")
	writeBody(w, http.StatusOK, newID(), `{"status":"ok","service":"pipehook","timestamp":"`+now+`"}`)
}

// mistaken answers a request that found a hook and asks something else of it than to take an event.
func (h *Handler) mistaken(w http.ResponseWriter, r *http.Request, now *rules, hook *Hook) {
	start := h.opts.Now()
	o := Outcome{
		Event: &core.Event{
			Pipeline: hook.Pipeline.Name, Source: hook.Source, ReceivedAt: start, Remote: clientAddr(r, now.TrustedProxies), Header: r.Header,
		},
		Status: http.StatusMethodNotAllowed, Code: notAllowedCode, Bytes: max(r.ContentLength, 0),
		Err: fmt.Errorf("the method is %s: a hook takes POST", clip(r.Method, 16)),
	}
	o.Event.ID = h.notAllowed(w, r, http.MethodPost)
	o.Took = h.opts.Now().Sub(start)
	h.opts.Observe(o)
}

const notAllowedCode = "method_not_allowed"

func (h *Handler) notAllowed(w http.ResponseWriter, r *http.Request, allow string) (id string) {
	w.Header().Set("Allow", allow)
	return h.strayed(w, r, http.StatusMethodNotAllowed, notAllowedCode, "use "+allow)
}

// strayed answers a request that reached no pipeline.
func (h *Handler) strayed(w http.ResponseWriter, r *http.Request, status int, code, msg string) (id string) {
	id = newID()
	writeError(w, status, code, msg, id)
	h.reportStray(r, id, status, code)
	return id
}

func newID() string { return uuid.Must(uuid.NewV7()).String() }

type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }
