package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/jshost/engine"
	"github.com/pipehook/pipehook/core/store"
)

// liveStore opens the store when a script first needs it: one that only fetches can be tried beside a
// pipehook that holds the store. It belongs to one trial.
type liveStore struct {
	conf *config.Config

	mu    sync.Mutex
	store *store.Store
	err   error
	stop  func() error
}

// newLiveHost does what a script asks for, as far as the configuration lets it.
func newLiveHost(conf *config.Config, t *trial, log *slog.Logger) (*scriptHost, *liveStore, error) {
	s := &liveStore{conf: conf}
	e := newEffects(s, s, s, log)
	e.account = &accountClient{states: s, log: log}
	e.account.use(conf)
	e.echoes = e.newLedger(conf)
	host, err := e.host(hostSpec{
		name: t.name, allowHosts: t.terms.allowHosts, allowPrivate: t.terms.allowPrivate, emits: t.kind == engine.Listener, names: t.kind == engine.Source,
	})
	return host, s, err
}

func (s *liveStore) open() (*store.Store, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.store != nil || s.err != nil {
		return s.store, s.err
	}
	opened, err := store.Open(context.Background(), store.Options{URL: storeURL(s.conf), Keep: keepOf(s.conf), Log: slog.New(slog.DiscardHandler)})
	if err != nil { // the script is told, and so are its users
		s.err = &core.Error{Kind: core.Invalid, Msg: fmt.Sprintf("the store can't be used for this: %s; without --live nothing is stored", err), Err: err}
		return nil, s.err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- opened.Run(ctx) }() // ends with close
	s.store, s.stop = opened, func() error {
		cancel()
		return joinClose(<-ended, opened.Close)
	}
	return opened, nil
}

func (s *liveStore) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stop == nil {
		return nil
	}
	return s.stop()
}

func (s *liveStore) KVGet(ctx context.Context, script, key string) (store.KVEntry, bool, error) {
	opened, err := s.open()
	if err != nil {
		return store.KVEntry{}, false, err
	}
	return opened.KVGet(ctx, script, key)
}

func (s *liveStore) KVSet(ctx context.Context, script, key string, value []byte, o store.KVSetting) (store.KVEntry, bool, error) {
	opened, err := s.open()
	if err != nil {
		return store.KVEntry{}, false, err
	}
	return opened.KVSet(ctx, script, key, value, o)
}

func (s *liveStore) KVDelete(ctx context.Context, script, key string, ifVersion *string) (bool, error) {
	opened, err := s.open()
	if err != nil {
		return false, err
	}
	return opened.KVDelete(ctx, script, key, ifVersion)
}

func (s *liveStore) KVList(ctx context.Context, script string, r store.KVRange) ([]store.KVEntry, bool, error) {
	opened, err := s.open()
	if err != nil {
		return nil, false, err
	}
	return opened.KVList(ctx, script, r)
}

// State is part of pipedrive.States.
func (s *liveStore) State(ctx context.Context, name string) ([]byte, error) {
	opened, err := s.open()
	if err != nil {
		return nil, err
	}
	return opened.State(ctx, name)
}

// SetState is part of pipedrive.States.
func (s *liveStore) SetState(ctx context.Context, name string, value []byte) error {
	opened, err := s.open()
	if err != nil {
		return err
	}
	return opened.SetState(ctx, name, value)
}

// Commit implements core.Committer.
func (s *liveStore) Commit(ctx context.Context, ev *core.Event) (core.Receipt, error) {
	opened, err := s.open()
	if err != nil {
		return core.Receipt{}, err
	}
	return opened.Commit(ctx, ev)
}

// Route implements router: the listeners that the configuration and the scripts folder have now.
func (s *liveStore) Route(ev *core.Event) (names []string, refused []core.Refusal) {
	wanted, _ := wantedScripts(s.conf)                                     // a file that can't be a listener has none of these
	for i, built := range buildAll(context.Background(), s.conf, wanted) { // bounded by itself
		w := wanted[i]
		if built.Err == nil && built.Handles && wantsEvent(w.Listener, matchOf(w, built.Match), ev) {
			names = append(names, w.Name)
		}
	}
	for _, l := range s.conf.Listeners {
		if !l.IsScript() && wantsEvent(l, l.Match, ev) {
			names = append(names, l.Name)
		}
	}
	return names, nil
}

// wantsEvent reports whether a listener gets an event.
func wantsEvent(l config.Listener, match []core.Pattern, ev *core.Event) bool {
	if ev.Plan.Withheld && l.Use != config.PipedriveSyncListener {
		return false
	}
	if !slices.ContainsFunc(match, func(p core.Pattern) bool { return p.Match(ev) }) {
		return false
	}
	if len(l.Changed) > 0 && !slices.ContainsFunc(l.Changed, ev.Changed) {
		return false
	}
	wanted, _ := l.Where.Decide(ev)
	return wanted
}
