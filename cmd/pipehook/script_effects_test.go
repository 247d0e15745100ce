package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/coretest/testdb"
	"github.com/pipehook/pipehook/core/delivery"
	"github.com/pipehook/pipehook/core/effect"
	"github.com/pipehook/pipehook/core/jshost/engine"
	"github.com/pipehook/pipehook/core/source/derived"
	"github.com/pipehook/pipehook/core/spool"
	"github.com/pipehook/pipehook/core/store"
)

// world is a store with the engine and the chain of committers that a process has.
type world struct {
	*effects
	store  *store.Store
	engine *delivery.Engine
}

func newWorld(t *testing.T, url string, subs func(w *world) []delivery.Subscription) *world {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	s, err := store.Open(t.Context(), store.Options{URL: url, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	sp, err := spool.Open(spool.Options{Dir: t.TempDir(), Store: s, Restore: restore, Log: quiet, Limits: spool.Limits{After: 20 * time.Second, MaxBytes: 1 << 20}})
	if err != nil {
		t.Fatal(err)
	}
	b := &bound{next: sp, pending: s.Pending, log: quiet}
	w := &world{store: s, engine: delivery.New(delivery.Options{Store: s, Restore: restore, Log: quiet})}
	w.effects = newEffects(s, w.engine, b, quiet)
	s.Attach(w.engine)
	if subs != nil {
		w.engine.Subscribe(subs(w))
	}
	var g core.Group
	g.Add("store", s)
	g.Add("spool", sp)
	g.Add("delivery", w.engine)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx, 20*time.Second) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *world) hostOf(t *testing.T, spec hostSpec) *scriptHost {
	t.Helper()
	h, err := w.host(spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

// callOf is a call that handles an event.
func callOf(name, id string) effect.Caller {
	return effect.Caller{Name: name, Event: &core.Event{ID: id, Pipeline: "crm", Source: "pipedrive", ReceivedAt: time.UnixMilli(1_800_000_000_000), Body: []byte("{}")}}
}

func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	e, ok := errors.AsType[*effect.Error](err)
	if !ok || e.Code != code {
		t.Errorf("got %v, want %s", err, code)
	}
}

// A listener emits, and fails; the attempt that follows emits the same. Another listener gets each event once.
func TestWhatIsEmittedIsAnEventOnceHoweverOftenTheAttemptIsMade(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		var attempts atomic.Int32
		var mu sync.Mutex
		var said []string
		got := make(chan core.Event, 10)
		w := newWorld(t, url, func(w *world) []delivery.Subscription {
			h := w.hostOf(t, hostSpec{name: "won", emits: true})
			retry := delivery.Retry{Attempts: 3, First: time.Millisecond, Max: time.Millisecond}
			return []delivery.Subscription{
				{Name: "won", Match: []core.Pattern{mustPattern("updated.deal")}, Timeout: time.Minute, Concurrency: 1, Retry: retry, Listener: core.ListenerFunc(func(ctx context.Context, ev core.Event) error {
					by := effect.Caller{Name: "won", Event: &ev}
					for i, key := range []string{"", "", "mine"} {
						e, err := h.Emit(ctx, by, &effect.Emit{Action: "create", Object: "invoice", ObjectID: fmt.Sprint(i), Current: []byte(`{"total":12345678901234567890}`), Key: key, Ordinal: i})
						if err != nil {
							return err
						}
						mu.Lock()
						said = append(said, fmt.Sprint(i, e.Duplicate, e.ID))
						mu.Unlock()
					}
					if attempts.Add(1) == 1 {
						return errors.New("not yet")
					}
					return nil
				})},
				{Name: "invoices", Match: []core.Pattern{mustPattern("added.invoice")}, Timeout: time.Minute, Concurrency: 1, Retry: retry, Listener: core.ListenerFunc(func(_ context.Context, ev core.Event) error {
					got <- ev
					return nil
				})},
			}
		})
		first := &core.Event{ID: "0197a000-0000-7000-8000-000000000001", Pipeline: "crm", Source: "pipedrive", ReceivedAt: time.Now(), Action: "updated", Object: "deal", Body: []byte(`{"meta":{"version":"2.0","action":"change","entity":"deal"},"data":{}}`),
			Plan: core.Plan{Store: true, Listeners: []string{"won"}}}
		if _, err := first.Commit(t.Context(), w.commit); err != nil {
			t.Fatal(err)
		}
		ids := map[string]bool{}
		for range 3 {
			ev := <-got
			ids[ev.ID] = true
			if ev.Source != "derived" || ev.Pipeline != "crm" || string(ev.Current) != `{"total":12345678901234567890}` {
				t.Errorf("%+v", ev)
			}
		}
		eventually(t, "the second attempt has succeeded", func() bool {
			ev, _, err := w.store.Reader().Event(t.Context(), first.ID)
			return err == nil && ev.Deliveries[0].State == core.Done
		})
		if len(ids) != 3 || len(said) != 6 {
			t.Fatalf("%d events; said were %q", len(ids), said)
		}
		for i := range 3 {
			if before, again := said[i], said[i+3]; strings.Replace(before, "false", "true", 1) != again {
				t.Errorf("first %s, then %s", before, again)
			}
		}
		events, err := w.store.Reader().Events(t.Context(), store.Filter{})
		if err != nil || len(events) != 4 {
			t.Errorf("%d events are stored (%v)", len(events), err)
		}
	})
}

func TestAListenerThatReceivesWhatItEmitsIsStopped(t *testing.T) {
	ended := make(chan error, 1)
	w := newWorld(t, testdb.SQLite(t), func(w *world) []delivery.Subscription {
		h := w.hostOf(t, hostSpec{name: "loop", emits: true})
		return []delivery.Subscription{{
			Name: "loop", Match: []core.Pattern{everything}, Timeout: time.Minute, Concurrency: 1, Retry: delivery.Retry{Attempts: 1, First: time.Second, Max: time.Second},
			Listener: core.ListenerFunc(func(ctx context.Context, ev core.Event) error {
				_, err := h.Emit(ctx, effect.Caller{Name: "loop", Event: &ev}, &effect.Emit{Action: "updated", Object: "loop"})
				if err != nil {
					ended <- err
				}
				return err
			}),
		}}
	})
	h := w.hostOf(t, hostSpec{name: "loop", emits: true})
	if _, err := h.Emit(t.Context(), callOf("loop", "0197"), &effect.Emit{Action: "updated", Object: "loop"}); err != nil {
		t.Fatal(err)
	}
	wantCode(t, <-ended, "ELOOP")
	events, err := w.store.Reader().Events(t.Context(), store.Filter{})
	if err != nil || len(events) != derived.MaxDepth {
		t.Errorf("%d events (%v)", len(events), err)
	}
}

func TestACallMayDoSoMuchAndTheNextAsMuchAgain(t *testing.T) {
	w := newWorld(t, testdb.SQLite(t), nil)
	h := w.hostOf(t, hostSpec{name: "s", emits: true})
	emit := func(by effect.Caller, n int) error {
		_, err := h.Emit(t.Context(), by, &effect.Emit{Action: "added", Object: "x", Ordinal: n})
		return err
	}
	batch := []core.Delivery{{Event: *callOf("s", "1").Event}, {Event: *callOf("s", "1").Event}} // as calls come
	one, other := effect.Caller{Name: "s", Event: &batch[0].Event}, effect.Caller{Name: "s", Event: &batch[1].Event}
	for n := range maxEmits {
		if err := emit(one, n); err != nil {
			t.Fatal(err)
		}
	}
	wantCode(t, emit(one, 0), "ELIMIT")
	if err := emit(other, 0); err != nil {
		t.Error(err)
	}
	for range maxFetches {
		_, err := h.Fetch(t.Context(), one, &engine.FetchRequest{URL: "https://a.example"})
		wantCode(t, err, "EHOST")
	}
	_, err := h.Fetch(t.Context(), one, &engine.FetchRequest{URL: "https://a.example"})
	wantCode(t, err, "ELIMIT")
	runtime.KeepAlive(one)
	runtime.KeepAlive(other)
	batch, one, other = nil, effect.Caller{}, effect.Caller{}
	eventually(t, "what is known of calls that ended is gone", func() bool {
		runtime.GC()
		h.mu.Lock()
		defer h.mu.Unlock()
		return len(h.calls) == 0
	})
	_, _, _ = batch, one, other
}

func TestOnlyWhatHandlesAStoredEventEmitsAndNothingDoesWhileAFileIsLoaded(t *testing.T) {
	w := newWorld(t, testdb.SQLite(t), nil)
	stage := w.hostOf(t, hostSpec{name: "tag"})
	_, err := stage.Emit(t.Context(), callOf("tag", "1"), &effect.Emit{Action: "added", Object: "x"})
	wantCode(t, err, "ENOTAVAILABLE")
	_, err = stage.KV(t.Context(), effect.Caller{Name: "tag"}, &effect.KVOp{Op: "get", Key: "k"})
	wantCode(t, err, "ENOTAVAILABLE")
	listener := w.hostOf(t, hostSpec{name: "l", emits: true})
	_, err = listener.Emit(t.Context(), callOf("l", "1"), &effect.Emit{Action: "*", Object: "x"})
	wantCode(t, err, "EINVAL")
	_, err = listener.Emit(t.Context(), callOf("l", "1"), &effect.Emit{Action: "added", Object: "x", Current: []byte(`{"a":"` + strings.Repeat("a", derived.MaxBody) + `"}`)})
	wantCode(t, err, "ETOOLARGE")
}

func TestFetchesOfACallRunAFewAtATime(t *testing.T) {
	var now, most atomic.Int32
	arrived, release := make(chan struct{}, maxFetches), make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if n := now.Add(1); n > most.Load() {
			most.Store(n)
		}
		arrived <- struct{}{}
		<-release
		now.Add(-1)
	}))
	t.Cleanup(s.Close)
	e := newEffects(nil, nil, nil, slog.New(slog.DiscardHandler))
	h, err := e.host(hostSpec{name: "s", allowHosts: []string{s.Listener.Addr().String()}, allowPrivate: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	by := callOf("s", "1")
	var all sync.WaitGroup
	for range 2 * maxFetching {
		all.Go(func() {
			if _, err := h.Fetch(t.Context(), by, &engine.FetchRequest{URL: s.URL}); err != nil {
				t.Error(err)
			}
		})
	}
	for range maxFetching {
		<-arrived
	}
	close(release)
	all.Wait()
	if most.Load() != maxFetching {
		t.Errorf("%d at a time", most.Load())
	}
}

func TestAScriptRemembersForItselfAndForAll(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		w := newWorld(t, url, nil)
		a, b := w.hostOf(t, hostSpec{name: "a"}), w.hostOf(t, hostSpec{name: "b"})
		do := func(h *scriptHost, op effect.KVOp) *effect.KVResult {
			t.Helper()
			r, err := h.KV(t.Context(), callOf("forged", "1"), &op)
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		absent := ""
		set := do(a, effect.KVOp{Op: "set", Key: "k", Value: []byte("1.10"), TTL: time.Hour, IfVersion: &absent})
		if !set.OK || set.Entry.Version == "" || set.Entry.Expires.IsZero() || set.Entry.Value != nil {
			t.Errorf("%+v", set)
		}
		if r := do(a, effect.KVOp{Op: "set", Key: "k", Value: []byte("2"), IfVersion: &absent}); r.OK || r.Entry.Version != "" {
			t.Errorf("%+v", r)
		}
		if r := do(a, effect.KVOp{Op: "get", Key: "k"}); !r.OK || string(r.Entry.Value) != "1.10" || r.Entry.Version != set.Entry.Version {
			t.Errorf("%+v", r)
		}
		for _, shared := range []bool{false, true} {
			if r := do(b, effect.KVOp{Op: "get", Key: "k", Shared: shared}); r.OK {
				t.Errorf("another sees %+v", r)
			}
		}
		do(a, effect.KVOp{Op: "set", Key: "of/all", Value: []byte(`"x"`), Shared: true})
		if r := do(b, effect.KVOp{Op: "list", Shared: true, Prefix: "of/", Limit: 1}); len(r.Entries) != 1 || r.More || string(r.Entries[0].Value) != `"x"` {
			t.Errorf("%+v", r)
		}
		if r := do(a, effect.KVOp{Op: "delete", Key: "k", IfVersion: &set.Entry.Version}); !r.OK {
			t.Errorf("%+v", r)
		}
		for op, code := range map[*effect.KVOp]string{
			{Op: "set", Key: "k", Value: []byte("{")}:                                      "EINVAL",
			{Op: "set", Key: strings.Repeat("k", 513), Value: []byte("1")}:                 "ETOOLARGE",
			{Op: "set", Key: "k", Value: []byte(`"` + strings.Repeat("v", 256<<10) + `"`)}: "ETOOLARGE",
			{Op: "drop"}: "EINVAL",
		} {
			_, err := a.KV(t.Context(), callOf("a", "1"), op)
			wantCode(t, err, code)
		}
	})
}

// brokenKV is a store that is away, or worse.
type brokenKV struct {
	remembers
	err error
}

func (b brokenKV) KVGet(context.Context, string, string) (store.KVEntry, bool, error) {
	return store.KVEntry{}, false, b.err
}

func TestOfOurOwnFaultsAScriptLearnsNoMoreThanThat(t *testing.T) {
	for _, test := range []struct {
		err  error
		code string
	}{
		{&core.Error{Kind: core.Unavailable, Msg: "away", Err: errors.New("canary-value")}, "EUNAVAILABLE"},
		{errors.New("canary-value"), "EINTERNAL"}, {store.ErrKVFull, "EFULL"},
	} {
		h, err := newEffects(brokenKV{err: test.err}, nil, nil, slog.New(slog.DiscardHandler)).host(hostSpec{name: "s"})
		if err != nil {
			t.Fatal(err)
		}
		_, err = h.KV(t.Context(), callOf("s", "1"), &effect.KVOp{Op: "get", Key: "k"})
		wantCode(t, err, test.code)
		if strings.Contains(err.Error(), "canary") {
			t.Errorf("it learns %v", err)
		}
	}
}
