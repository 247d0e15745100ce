package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"sync"
	"time"
	"weak"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/effect"
	"github.com/pipehook/pipehook/core/egress"
	"github.com/pipehook/pipehook/core/jshost/engine"
	echoes "github.com/pipehook/pipehook/core/pipedrive/echo"
	"github.com/pipehook/pipehook/core/source/derived"
	"github.com/pipehook/pipehook/core/store"
)

// What one call of a script or a plugin may do.
const (
	maxFetches  = 50
	maxFetching = 8 // at a time; others wait
	maxEmits    = 100
	maxCalls    = 100 // of Pipedrive's API
)

// remembers is where scripts and plugins keep what they want to find again.
type remembers interface {
	KVGet(ctx context.Context, script, key string) (store.KVEntry, bool, error)
	KVSet(ctx context.Context, script, key string, value []byte, o store.KVSetting) (store.KVEntry, bool, error)
	KVDelete(ctx context.Context, script, key string, ifVersion *string) (bool, error)
	KVList(ctx context.Context, script string, r store.KVRange) ([]store.KVEntry, bool, error)
}

// router knows which listeners want an event.
type router interface {
	Route(ev *core.Event) (names []string, refused []core.Refusal)
}

// effects are what scripts and plugins may do outside, joined from the parts that do it.
type effects struct {
	kv     remembers
	routes router
	commit core.Committer
	log    *slog.Logger

	account *accountClient // may be nil
	echoes  *echoes.Ledger // of what is written through it; may be nil
}

func newEffects(kv remembers, routes router, commit core.Committer, log *slog.Logger) *effects {
	return &effects{kv: kv, routes: routes, commit: commit, log: log}
}

// hostSpec is one script or plugin and what it may reach.
type hostSpec struct {
	what         string // "plugin"; empty for a script
	name         string // under which it remembers, and which what it emits names as its cause
	allowHosts   []string
	allowPrivate []netip.Prefix
	emits        bool // it handles events that are stored; what is not may never have happened
	names        bool // it only names what a sender sends
}

// userHost is what scripts and plugins may do alike.
type userHost struct {
	*effects
	spec hostSpec

	mu    sync.Mutex
	calls map[weak.Pointer[core.Event]]*usage // by the event, of which each call has its own
}

func (e *effects) user(spec hostSpec) *userHost {
	spec.what = cmp.Or(spec.what, "script")
	return &userHost{effects: e, spec: spec, calls: map[weak.Pointer[core.Event]]*usage{}}
}

// host makes the engine.Host of one script. It is closed when no call can run any more.
func (e *effects) host(spec hostSpec) (*scriptHost, error) {
	client, err := egress.New(egress.Options{
		AllowHosts: spec.allowHosts, AllowPrivate: spec.allowPrivate, UserAgent: "pipehook/" + currentVersion(),
	})
	if err != nil {
		return nil, fmt.Errorf("allow_hosts: %w", err)
	}
	return &scriptHost{userHost: e.user(spec), client: client}, nil
}

// scriptHost is an engine.Host.
type scriptHost struct {
	*userHost
	client *egress.Client
}

var _ engine.Host = (*scriptHost)(nil)

// usage is what a call has done so far.
type usage struct {
	fetching chan struct{}

	mu             sync.Mutex
	fetches, emits int
	asked          int // of Pipedrive
}

// Close ends the connections that are left.
func (h *scriptHost) Close() { h.client.Close() }

// usage is that of the call. It goes with the call's event, since a host is not told when a call ends.
func (h *userHost) usage(by effect.Caller) (*usage, error) {
	if by.Event == nil {
		return nil, &effect.Error{Code: "ENOTAVAILABLE", Msg: "nothing outside can be reached while the file is loaded: do it in the exported function"}
	}
	call := weak.Make(by.Event)
	h.mu.Lock()
	defer h.mu.Unlock()
	u := h.calls[call]
	if u == nil {
		u = &usage{fetching: make(chan struct{}, maxFetching)}
		h.calls[call] = u
		runtime.AddCleanup(by.Event, h.forget, call)
	}
	return u, nil
}

func (h *userHost) forget(call weak.Pointer[core.Event]) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.calls, call)
}

// more counts one more of something and reports whether it is within what a call may do.
func (u *usage) more(n *int, most int) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	*n++
	return *n <= most
}

// turn waits until the call may have another request under way.
func (u *usage) turn(ctx context.Context) (done func(), err error) {
	select {
	case u.fetching <- struct{}{}:
		return func() { <-u.fetching }, nil
	case <-ctx.Done():
		return nil, &effect.Error{Code: "ETIMEDOUT", Msg: fmt.Sprintf("%d requests of this call were under way for too long", maxFetching)}
	}
}

// Fetch is part of engine.Host.
func (h *scriptHost) Fetch(ctx context.Context, by effect.Caller, r *engine.FetchRequest) (*engine.FetchResponse, error) {
	u, err := h.usage(by)
	if err != nil {
		return nil, err
	}
	if !u.more(&u.fetches, maxFetches) {
		return nil, &effect.Error{Code: "ELIMIT", Msg: fmt.Sprintf("one call may fetch %d times", maxFetches)}
	}
	done, err := u.turn(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	answer, err := h.client.Do(ctx, &egress.Request{Method: r.Method, URL: r.URL, Header: r.Header, Body: r.Body, Redirect: r.Redirect})
	if err != nil {
		return nil, h.hostError(err)
	}
	return &engine.FetchResponse{
		Status: answer.Status, StatusText: answer.StatusText, URL: answer.URL, Redirected: answer.Redirected, Header: answer.Header, Body: answer.Body,
	}, nil
}

// KV is part of engine.Host.
func (h *scriptHost) KV(ctx context.Context, by effect.Caller, op *effect.KVOp) (*effect.KVResult, error) {
	if _, err := h.usage(by); err != nil {
		return nil, err
	}
	return h.userHost.KV(ctx, by, op)
}

// KV does what is asked of what is remembered.
func (h *userHost) KV(ctx context.Context, _ effect.Caller, op *effect.KVOp) (*effect.KVResult, error) {
	name := h.spec.name
	if op.Shared {
		name = ""
	}
	result, err := h.remember(ctx, name, op)
	if err != nil {
		return nil, h.hostError(err)
	}
	return result, nil
}

func (e *effects) remember(ctx context.Context, script string, op *effect.KVOp) (*effect.KVResult, error) {
	var entry store.KVEntry
	result := &effect.KVResult{}
	var err error
	switch op.Op {
	case "get":
		entry, result.OK, err = e.kv.KVGet(ctx, script, op.Key)
	case "set":
		entry, result.OK, err = e.kv.KVSet(ctx, script, op.Key, op.Value, store.KVSetting{TTL: op.TTL, IfVersion: op.IfVersion})
		entry.Value = nil // who asks has it
	case "delete":
		result.OK, err = e.kv.KVDelete(ctx, script, op.Key, op.IfVersion)
	case "list":
		var entries []store.KVEntry
		entries, result.More, err = e.kv.KVList(ctx, script, store.KVRange{Prefix: op.Prefix, After: op.After, Limit: op.Limit})
		for _, one := range entries {
			result.Entries = append(result.Entries, effect.KVEntry(one))
		}
		result.OK = err == nil
	default:
		err = &core.Error{Kind: core.Invalid, Msg: "kv knows get, set, delete and list"}
	}
	if result.OK {
		result.Entry = effect.KVEntry(entry)
	}
	return result, err
}

// Pipedrive is part of engine.Host and of plughost.Services.
func (h *userHost) Pipedrive(ctx context.Context, by effect.Caller, c *effect.APICall) (*effect.APIAnswer, error) {
	u, err := h.usage(by)
	if err != nil {
		return nil, err
	}
	if h.spec.names {
		return nil, &effect.Error{Code: "ENOTAVAILABLE", Msg: "a source only reads what a sender sends: ask Pipedrive in a stage or a listener"}
	}
	if refused := c.Check(); refused != nil {
		return nil, refused
	}
	client, err := h.account.get()
	if err != nil {
		return nil, h.hostError(err)
	}
	if client == nil {
		return nil, notConnected()
	}
	if !u.more(&u.asked, maxCalls) {
		return nil, &effect.Error{Code: "ELIMIT", Msg: fmt.Sprintf("one call may ask Pipedrive %d times", maxCalls)}
	}
	done, err := u.turn(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	if h.echoes == nil {
		return callAPI(ctx, client, c)
	}
	note, err := h.echoes.Begin(ctx, h.spec.name, c)
	if err != nil {
		return nil, h.hostError(err)
	}
	answer, err := callAPI(ctx, client, c)
	h.echoes.End(ctx, note, answer, err)
	return answer, err
}

// Emit is part of engine.Host and of plughost.Services.
func (h *userHost) Emit(ctx context.Context, by effect.Caller, e *effect.Emit) (*effect.Emitted, error) {
	ev, err := h.derive(by, e)
	if err != nil {
		return nil, err
	}
	ev.Plan.Listeners, ev.Refused = h.routes.Route(ev)
	receipt, err := ev.Commit(ctx, h.commit)
	if err != nil {
		return nil, h.hostError(err)
	}
	return &effect.Emitted{ID: receipt.ID, Duplicate: receipt.Duplicate}, nil
}

// derive makes the event that is emitted, if it may be.
func (h *userHost) derive(by effect.Caller, e *effect.Emit) (*core.Event, error) {
	u, err := h.usage(by)
	if err != nil {
		return nil, err
	}
	if !h.spec.emits {
		return nil, effect.OnlyListenersEmit()
	}
	if !u.more(&u.emits, maxEmits) {
		return nil, &effect.Error{Code: "ELIMIT", Msg: fmt.Sprintf("one call may emit %d events", maxEmits)}
	}
	ev, err := derived.New(by.Event, h.spec.name, derived.Derivation{
		Action: e.Action, Object: e.Object, ObjectID: e.ObjectID, Current: e.Current, Previous: e.Previous, Meta: e.Meta, Key: e.Key, Ordinal: e.Ordinal,
	}, time.Now())
	if err != nil {
		return nil, h.hostError(err)
	}
	return ev, nil
}

// hostError is what a script or a plugin may know of an error. Of what is ours it learns that, and the log the rest.
func (h *userHost) hostError(err error) *effect.Error {
	if e, ok := errors.AsType[*egress.Error](err); ok {
		return &effect.Error{Code: e.Code, Msg: e.Msg}
	}
	if _, ok := errors.AsType[*derived.LoopError](err); ok {
		return &effect.Error{Code: "ELOOP", Msg: err.Error()}
	}
	if errors.Is(err, store.ErrKVFull) {
		return &effect.Error{Code: "EFULL", Msg: store.ErrKVFull.Msg}
	}
	if e, ok := errors.AsType[*core.Error](err); ok {
		switch e.Kind {
		case core.Invalid:
			return &effect.Error{Code: "EINVAL", Msg: e.Msg}
		case core.TooLarge:
			return &effect.Error{Code: "ETOOLARGE", Msg: e.Msg}
		case core.Unavailable:
			h.log.Debug("a "+h.spec.what+"'s request could not be met for now", h.spec.what, h.spec.name, "err", err)
			return &effect.Error{Code: "EUNAVAILABLE", Msg: e.Msg}
		}
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return &effect.Error{Code: "ETIMEDOUT", Msg: "this was not done when the call's time was over"}
	}
	h.log.Error("a "+h.spec.what+"'s request failed", h.spec.what, h.spec.name, "err", err)
	return &effect.Error{Code: "EINTERNAL", Msg: "this failed for a reason of pipehook's own, which is in its log"}
}
