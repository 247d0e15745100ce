package main

import (
	"context"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/delivery"
	"github.com/pipehook/pipehook/core/jshost"
	"github.com/pipehook/pipehook/core/jshost/engine"
)

// scriptSet is all listeners that are scripts: those the configuration names, and the other files
// of the folder. It keeps the last good version of a file that no longer compiles.
type scriptSet struct {
	effects *effects
	opts    jshost.Options
	log     *slog.Logger
	told    func(error) // hears why a file does not compile, after the log; may be nil

	mu      sync.Mutex
	scripts map[string]*loadedScript // by listener
	changed bool                     // something did since load began
	leaving sync.Map                 // *runningScript that are not needed any more
	closing sync.WaitGroup           // of them
	renewed []string                 // the listeners that run another version since then
	closed  chan struct{}            // nothing is given to any of them
}

type loadedScript struct {
	terms  terms
	script *runningScript // nil until a version has compiled
	code   engine.Code    // that it runs
	match  []core.Pattern // what its file says
	broken string         // the error that was last reported
}

func newScriptSet(e *effects, opts jshost.Options, log *slog.Logger) *scriptSet {
	return &scriptSet{effects: e, opts: opts, log: log, scripts: map[string]*loadedScript{}, closed: make(chan struct{})}
}

// load compiles what has changed and returns all subscriptions. Files that do not compile are
// reported once; the others run, and of the broken ones the last good version. changed reports
// whether anything is other than the last time, and renewed are the listeners that run another version.
func (s *scriptSet) load(conf *config.Config) (subs []delivery.Subscription, renewed []string, changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changed, s.renewed = false, nil
	wanted, err := wantedScripts(conf)
	if s.misses(wanted) {
		time.Sleep(putAside)
		wanted, err = wantedScripts(conf)
	}
	if err != nil {
		s.log.Error("the scripts folder can't be read", "err", err)
	}
	built := buildAll(context.Background(), conf, wanted) // bounded by itself
	seen := map[string]bool{}
	for i, w := range wanted {
		seen[w.Name] = true
		if sub, ok := s.one(conf, w, built[i]); ok {
			subs = append(subs, sub)
		}
	}
	for name, loaded := range s.scripts {
		if !seen[name] {
			s.drop(loaded)
			delete(s.scripts, name)
			s.changed = true
			s.log.Info("listener removed", "listener", name)
		}
	}
	return subs, s.renewed, s.changed
}

// putAside is how long a file that is being saved may be gone: some editors put the old one aside
// first. Without its listener nothing that comes meanwhile would ever be given to it.
const putAside = 50 * time.Millisecond

// misses reports whether a listener is not among those that are wanted.
func (s *scriptSet) misses(wanted []wantedScript) bool {
	for name := range s.scripts {
		if !slices.ContainsFunc(wanted, func(w wantedScript) bool { return w.Name == name }) {
			return true
		}
	}
	return false
}

func (s *scriptSet) one(conf *config.Config, w wantedScript, built jshost.Compiled) (delivery.Subscription, bool) {
	loaded := s.scripts[w.Name]
	switch {
	case built.Err == nil && !built.Handles && loaded != nil && loaded.script != nil:
		// It may be half saved, so this is no way to end a listener.
		built.Err = noFunction(w.path, ", or remove the file")
	case built.Err == nil && !built.Handles:
		s.log.Debug("not a listener: it exports no function by default", "file", w.path)
		return delivery.Subscription{}, false
	case built.Err == nil:
		built.Err = s.take(conf, w, &loaded, built)
	}
	switch {
	case built.Err != nil && (loaded == nil || loaded.script == nil):
		if loaded == nil || loaded.broken != built.Err.Error() {
			s.scripts[w.Name] = &loadedScript{broken: built.Err.Error()}
			s.log.Error("a listener does not compile and is left out; the others run", "listener", w.Name, "err", built.Err)
			s.tell(built.Err)
		}
		return delivery.Subscription{}, false
	case built.Err != nil:
		loaded = s.keepOld(conf, w, loaded, built.Err)
	}
	return subscription(w, loaded), true
}

// keepOld lets the last good version go on, on the terms that hold by now.
func (s *scriptSet) keepOld(conf *config.Config, w wantedScript, loaded *loadedScript, err error) *loadedScript {
	if loaded.broken != err.Error() {
		s.log.Error("a listener does not compile; its last good version goes on", "listener", w.Name, "err", err)
		s.tell(err)
	}
	if on := termsOf(conf, w.Concurrency, w.AllowHosts, w.Secrets); !reflect.DeepEqual(loaded.terms, on) {
		match := loaded.match
		if again := s.start(w, &loaded, loaded.code, on); again != nil {
			s.log.Error("the last good version does not take its new settings and goes on with the old ones", "listener", w.Name, "err", again)
		}
		loaded.match = match
	}
	loaded.broken = err.Error()
	return loaded
}

func (s *scriptSet) tell(err error) {
	if s.told != nil {
		s.told(err)
	}
}

// take runs what was built, in the place of what runs. With an error nothing has changed.
func (s *scriptSet) take(conf *config.Config, w wantedScript, at **loadedScript, built jshost.Compiled) error {
	old, on := *at, termsOf(conf, w.Concurrency, w.AllowHosts, w.Secrets)
	switch {
	case old == nil || old.script == nil || !reflect.DeepEqual(old.terms, on):
		if err := s.start(w, at, built.Code, on); err != nil {
			return err
		}
		s.renewed = append(s.renewed, w.Name)
		s.log.Info("listener loaded", "listener", w.Name, "file", w.path, "match", patternTexts(matchOf(w, built.Match)))
	case old.script.Hash() != built.Code.Hash:
		if err := old.script.Swap(built.Code); err != nil {
			return err
		}
		s.changed, old.code = true, built.Code
		s.renewed = append(s.renewed, w.Name)
		s.log.Info("listener reloaded", "listener", w.Name, "file", w.path, "version", built.Code.Hash)
	case old.broken != "":
		s.log.Info("listener compiles again", "listener", w.Name, "file", w.path)
	}
	if len(w.Match) == 0 && !slices.Equal((*at).match, built.Match) {
		for _, strange := range strangeActions(w.Name, built.Match) {
			s.log.Warn(strange)
		}
	}
	(*at).match, (*at).broken = built.Match, ""
	return nil
}

// start runs code in the place of what runs, which goes on when there is an error.
func (s *scriptSet) start(w wantedScript, at **loadedScript, code engine.Code, on terms) error {
	script, err := s.effects.start(code, role{name: w.Name, emits: true}, on, s.opts)
	if err != nil {
		return err
	}
	if old := *at; old != nil {
		s.drop(old)
	}
	s.changed = true
	*at = &loadedScript{terms: on, script: script, code: code}
	s.scripts[w.Name] = *at
	return nil
}

// dropAfter is how long a script that was replaced is kept for who is about to give it an event.
const dropAfter = 5 * time.Second

// drop ends a script that is not needed any more.
func (s *scriptSet) drop(l *loadedScript) {
	if l.script == nil {
		return
	}
	s.leaving.Store(l.script, true)
	s.closing.Go(func() { // ends with close at the latest
		timer := time.NewTimer(dropAfter)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-s.closed:
		}
		l.script.Close()
		s.leaving.Delete(l.script)
	})
}

// endWithin is how long a stop waits for scripts' processes to be gone. They end with this one anyway.
const endWithin = time.Second

// close ends all scripts. Nothing may be given to them any more, and what they still do is left behind.
func (s *scriptSet) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.closed:
		return
	default:
		close(s.closed)
	}
	for _, l := range s.scripts {
		s.drop(l)
	}
	s.leaving.Range(func(script, _ any) bool {
		script.(*runningScript).Abandon()
		return true
	})
	gone := make(chan struct{})
	go func() { // a call in this process can't be ended: it is left to run
		s.closing.Wait()
		close(gone)
	}()
	timer := time.NewTimer(endWithin)
	defer timer.Stop()
	select {
	case <-gone:
	case <-timer.C:
	}
}

func subscription(w wantedScript, loaded *loadedScript) delivery.Subscription {
	sub := subscriptionOf(w.Listener, loaded.script, loaded.script.Hash)
	sub.Match = matchOf(w, loaded.match)
	return sub
}

// subscriptionOf is a listener with what runs it.
func subscriptionOf(l config.Listener, runner core.Listener, code func() string) delivery.Subscription {
	return delivery.Subscription{
		Name: l.Name, Match: l.Match, Changed: l.Changed,
		Listener: runner, Code: code,
		Timeout: l.Timeout, Concurrency: l.Concurrency,
		Retry:     delivery.Retry{Attempts: l.Retry.Attempts, First: l.Retry.First, Max: l.Retry.Max},
		Where:     l.Where,
		Order:     map[string]delivery.Order{"record": delivery.ByRecord, "none": delivery.Unordered}[l.Order],
		OnFailure: map[string]delivery.OnFailure{"block": delivery.Block, "skip": delivery.Skip}[l.OnFailure],
		DropStale: l.Stale == "drop",
		Coalesce:  delivery.Coalesce{Quiet: l.Coalesce.Quiet, Max: l.Coalesce.Max},
		Breaker:   delivery.Breaker{Failures: l.Breaker.Failures, Pause: l.Breaker.Pause},
	}
}
