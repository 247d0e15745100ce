// Package ingress is HTTP in: it bounds what it reads, makes an Event of a request, runs the
// pipeline at its path, and turns the outcome into an answer. Only it knows which status a Kind of
// error is. It knows no stage and no store.
package ingress

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strconv"
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
	InFlight       int64         // bytes of all bodies that are being handled; 64 MiB
	AckWithin      time.Duration // 8 s
	TrustedProxies []netip.Prefix
	Log            *slog.Logger
	Observe        func(o Outcome) // sees every request that reached a pipeline; may be nil
	Now            func() time.Time
}

// Handler answers all hooks.
type Handler struct {
	opts     Options
	hooks    atomic.Pointer[map[string]*Hook]
	inFlight atomic.Int64
	warnings *limiter
}

// New makes a handler for the hooks.
func New(opts Options, hooks []Hook) *Handler {
	if opts.MaxBody == 0 {
		opts.MaxBody = 1 << 20
	}
	if opts.InFlight == 0 {
		opts.InFlight = 64 << 20
	}
	if opts.AckWithin == 0 {
		opts.AckWithin = 8 * time.Second
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Observe == nil {
		opts.Observe = func(Outcome) {}
	}
	h := &Handler{opts: opts, warnings: newLimiter(opts.Now)}
	h.SetHooks(hooks)
	return h
}

// SetHooks replaces all hooks at once. Requests that run go on with the pipeline they began with.
func (h *Handler) SetHooks(hooks []Hook) {
	byPath := make(map[string]*Hook, len(hooks))
	for i := range hooks {
		byPath[hooks[i].Path] = &hooks[i]
	}
	h.hooks.Store(&byPath)
}

// ServeHTTP matches paths exactly: senders do not follow redirects.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	hooks := *h.hooks.Load()
	if hook, ok := hooks[r.URL.Path]; ok {
		if r.Method != http.MethodPost {
			notAllowed(w, http.MethodPost)
			return
		}
		h.receive(w, r, hook)
		return
	}
	if path, ok := strings.CutSuffix(r.URL.Path, "/health"); ok {
		if _, ok := hooks[path]; ok {
			health(w, r, h.opts.Now())
			return
		}
	}
	writeError(w, http.StatusNotFound, "not_found", "there is no hook at this path", newID())
}

func (h *Handler) receive(w http.ResponseWriter, r *http.Request, hook *Hook) {
	start := h.opts.Now()
	ev := &core.Event{
		ID: newID(), Pipeline: hook.Pipeline.Name, Source: hook.Source, ReceivedAt: start,
		Remote: clientAddr(r, h.opts.TrustedProxies), Header: r.Header,
	}
	receipt, err := h.take(r, ev, hook)
	o := Outcome{Event: ev, Err: err, Status: http.StatusOK, Code: "accepted"}
	switch {
	case err != nil:
		o.Status, o.Code = h.fail(w, ev, err)
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

// take reads the body within its bounds and runs the pipeline. The context outlives the client:
// one that hangs up must not tear a commit that others share.
func (h *Handler) take(r *http.Request, ev *core.Event, hook *Hook) (receipt core.Receipt, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &panicError{value: p, stack: debug.Stack()}
		}
	}()
	if err := checkContent(r.Header); err != nil {
		return core.Receipt{}, err
	}
	release, err := h.reserve(r.ContentLength)
	if err != nil {
		return core.Receipt{}, err
	}
	defer release()
	if ev.Body, err = readBody(r, h.opts.MaxBody); err != nil {
		return core.Receipt{}, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), h.opts.AckWithin)
	defer cancel()
	return hook.Pipeline.Run(ctx, ev)
}

// reserve keeps all bodies together below the budget.
func (h *Handler) reserve(length int64) (release func(), err error) {
	if length > h.opts.MaxBody {
		return nil, tooLarge(h.opts.MaxBody)
	}
	if length < 0 {
		length = h.opts.MaxBody
	}
	if h.inFlight.Add(length) > h.opts.InFlight {
		h.inFlight.Add(-length)
		return nil, &core.Error{Kind: core.Unavailable, Msg: "too much is being received at once"}
	}
	return func() { h.inFlight.Add(-length) }, nil
}

func checkContent(header http.Header) error {
	if enc := header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		return &core.Error{Kind: core.UnsupportedMediaType, Msg: "send the body without a Content-Encoding"}
	}
	given := header.Get("Content-Type")
	if given == "application/json" {
		return nil
	}
	media, params, err := mime.ParseMediaType(given)
	if err != nil || media != "application/json" && !strings.HasSuffix(media, "+json") {
		return &core.Error{Kind: core.UnsupportedMediaType, Msg: "send the body as Content-Type: application/json"}
	}
	if charset := params["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") {
		return &core.Error{Kind: core.UnsupportedMediaType, Msg: "send the body as UTF-8"}
	}
	return nil
}

// statuses is the only place that knows them.
var statuses = map[core.Kind]int{
	core.Malformed:            http.StatusBadRequest,
	core.Invalid:              http.StatusUnprocessableEntity,
	core.Permanent:            http.StatusUnprocessableEntity,
	core.Unauthenticated:      http.StatusUnauthorized,
	core.Forbidden:            http.StatusForbidden,
	core.TooLarge:             http.StatusRequestEntityTooLarge,
	core.UnsupportedMediaType: http.StatusUnsupportedMediaType,
	core.Unavailable:          http.StatusServiceUnavailable,
	core.Failed:               http.StatusBadGateway,
	core.Internal:             http.StatusInternalServerError,
}

// fail answers with what the error may show.
func (h *Handler) fail(w http.ResponseWriter, ev *core.Event, err error) (status int, code string) {
	kind, msg, challenge := core.Internal, "internal error", ""
	if errors.Is(err, context.DeadlineExceeded) {
		kind, msg = core.Unavailable, "the event could not be handled in time"
	}
	if e, ok := errors.AsType[*core.Error](err); ok && e.Kind != core.Internal {
		kind, msg, challenge = e.Kind, e.Msg, e.Challenge
	}
	switch kind {
	case core.Unauthenticated:
		if challenge == "" {
			challenge = `Basic realm="pipehook", charset="UTF-8"`
		}
		w.Header().Set("WWW-Authenticate", challenge)
	case core.Unavailable:
		w.Header().Set("Retry-After", "5")
	}
	writeError(w, statuses[kind], kind.String(), msg, ev.ID)
	return statuses[kind], kind.String()
}

// report logs what somebody should know. What strangers can cause at will is thinned out.
func (h *Handler) report(o Outcome) {
	ctx := context.Background()
	level := slog.LevelDebug
	switch {
	case o.Status >= 500:
		level = slog.LevelError
	case o.Status >= 400:
		level = slog.LevelWarn
	}
	if !h.opts.Log.Enabled(ctx, level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("pipeline", o.Event.Pipeline), slog.String("event", o.Event.ID), slog.Int("status", o.Status),
		slog.String("code", o.Code), slog.Duration("took", o.Took), slog.String("remote", o.Event.Remote.String()),
	}
	if o.Event.Action != "" {
		attrs = append(attrs, slog.String("type", clip(o.Event.Type())))
	}
	if o.Err == nil {
		h.opts.Log.LogAttrs(ctx, level, "event "+o.Code, attrs...)
		return
	}
	allowed, left := h.warnings.allow(o.Code)
	if !allowed {
		return
	}
	if left > 0 {
		attrs = append(attrs, slog.Int("not_logged_before", left))
	}
	if p, ok := errors.AsType[*panicError](o.Err); ok {
		attrs = append(attrs, slog.String("stack", string(p.stack)))
	}
	h.opts.Log.LogAttrs(ctx, level, "event refused", append(attrs, slog.String("err", clip(o.Err.Error())))...)
}

type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

// clip bounds what a stranger can put into a log line.
func clip(s string) string {
	const most = 256
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}

func newID() string { return uuid.Must(uuid.NewV7()).String() }

func health(w http.ResponseWriter, r *http.Request, now time.Time) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		notAllowed(w, "GET, HEAD")
		return
	}
	writeBody(w, http.StatusOK, `{"status":"ok","service":"pipehook","timestamp":"`+now.UTC().Format("2006-01-02T15:04:05.000Z")+`"}`)
}

func notAllowed(w http.ResponseWriter, allow string) {
	w.Header().Set("Allow", allow)
	writeError(w, http.StatusMethodNotAllowed, "method_not_allowed", "use "+allow, newID())
}

func writeReceipt(w http.ResponseWriter, status, id, requestID string) {
	w.Header()["X-Request-Id"] = []string{requestID}
	writeBody(w, http.StatusOK, `{"status":"`+status+`","id":"`+id+`"}`)
}

func writeError(w http.ResponseWriter, status int, code, msg, requestID string) {
	w.Header()["X-Request-Id"] = []string{requestID}
	writeBody(w, status, `{"error":{"code":`+quote(code)+`,"message":`+quote(msg)+`,"request_id":`+quote(requestID)+`}}`)
}

func writeBody(w http.ResponseWriter, status int, body string) {
	header := w.Header()
	header["Content-Type"] = []string{"application/json"}
	header["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body)) // the client is gone
}
