package main

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
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

// wantedScript is a listener as it should be, before its file is looked at.
type wantedScript struct {
	config.Listener
	path string
	key  string // where the configuration names it, such as listener[0]; other files need not be listeners
	// wrong is why a file that is a listener after all can't be one under its name.
	wrong string
}

func newScriptSet(e *effects, opts jshost.Options, log *slog.Logger) *scriptSet {
	return &scriptSet{effects: e, opts: opts, log: log, scripts: map[string]*loadedScript{}, closed: make(chan struct{})}
}

// wantedScripts are the listeners of the configuration, then the files that it does not mention.
func wantedScripts(conf *config.Config) ([]wantedScript, error) {
	var wanted []wantedScript
	mentioned, names := map[string]bool{}, map[string]bool{}
	for i, l := range conf.Listeners {
		names[l.Name] = true
		if l.Plugin != "" {
			continue
		}
		path := beside(conf, l.Script)
		wanted = append(wanted, wantedScript{Listener: l, path: path, key: fmt.Sprintf("listener[%d]", i)})
		mentioned[filepath.Clean(path)] = true
	}
	if conf.Scripts.Dir == "" {
		return wanted, nil
	}
	found, err := jshost.Scan(beside(conf, conf.Scripts.Dir))
	for _, f := range found {
		if mentioned[filepath.Clean(f.Path)] {
			continue
		}
		if names[f.Name] && f.Wrong == "" {
			f.Wrong = fmt.Sprintf("the name %s is taken by another listener: rename the file or begin its name with _", f.Name)
		}
		l := config.ListenerDefaults()
		if l.Name = f.Name; f.Wrong != "" {
			l.Name = f.Path // no other's, until the file has a name of its own
		}
		names[l.Name] = true
		wanted = append(wanted, wantedScript{Listener: l, path: f.Path, wrong: f.Wrong})
	}
	return wanted, err
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

// buildAll compiles the files of listeners, each result in the place of its listener.
func buildAll(ctx context.Context, conf *config.Config, wanted []wantedScript) []jshost.Compiled {
	paths := make([]string, len(wanted))
	for i, w := range wanted {
		paths[i] = w.path
	}
	built, err := jshost.Build(ctx, isolated(conf), paths...)
	if err != nil {
		built = make([]jshost.Compiled, len(paths))
		for i, path := range paths {
			built[i] = jshost.Compiled{Path: path, Err: err}
		}
	}
	for i, w := range wanted {
		switch b := &built[i]; {
		case b.Err != nil:
		case b.Handles && w.wrong != "":
			b.Err = &jshost.CompileError{File: w.path, Msg: w.wrong}
		case !b.Handles && (w.key != "" || len(b.Match) > 0): // what says which events it wants is meant to get them
			b.Err = noFunction(w.path, "")
		}
	}
	return built
}

func noFunction(path, otherwise string) error {
	return &jshost.CompileError{File: path, Msg: "it exports no function: write export default function (event, ctx) { … }" + otherwise}
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

var everything = mustPattern("*.*")

func mustPattern(text string) core.Pattern {
	p, err := core.ParsePattern(text)
	if err != nil {
		panic(err) // the text is in this file
	}
	return p
}

// matchOf is what the configuration says, else what the file says, else everything.
func matchOf(w wantedScript, file []core.Pattern) []core.Pattern {
	if len(w.Match) > 0 {
		return w.Match
	}
	if len(file) > 0 {
		return file
	}
	return []core.Pattern{everything}
}

func patternTexts(patterns []core.Pattern) []string {
	texts := make([]string, len(patterns))
	for i, p := range patterns {
		texts[i] = p.String()
	}
	return texts
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

// checkScripts compiles everything once, for check. It returns what is wrong, and what may be.
func checkScripts(ctx context.Context, conf *config.Config) (listeners, warnings []string, errs []error) {
	wanted, err := wantedScripts(conf)
	if err != nil {
		errs = append(errs, err)
	}
	for i, built := range buildAll(ctx, conf, wanted) {
		w := wanted[i]
		switch {
		case built.Err != nil:
			errs = append(errs, built.Err)
		case built.Handles:
			listeners = append(listeners, w.Name)
			errs = append(errs, never(conf, w, built.Match)...)
			if len(w.Match) == 0 {
				warnings = append(warnings, strangeActions(w.Name, built.Match)...)
			}
		}
	}
	slices.Sort(listeners)
	return listeners, warnings, errs
}

// never are the rules that no event can fulfil because of what the script matches. What no event at
// all can meet, and what the configuration itself matches, was found when it was read.
func never(conf *config.Config, w wantedScript, match []core.Pattern) []error {
	if w.key == "" || len(w.Match) > 0 {
		return nil
	}
	var mistakes config.Mistakes
	if why := core.ImpossibleChanged(match, w.Changed); why != "" {
		mistakes = append(mistakes, conf.Mistake(w.key+".changed", "can never hold: "+why, "leave it out, or let "+w.Script+" match updated or merged"))
	}
	if len(w.Where.Impossible(nil)) == 0 {
		for _, why := range w.Where.Impossible(match) {
			path, reason, _ := strings.Cut(why, ": ")
			mistakes = append(mistakes, conf.Mistake(config.Join(w.key+".where", path), "can never hold: "+reason, "ask for less, or let "+w.Script+" match other events"))
		}
	}
	if err := mistakes.Err(); err != nil {
		return []error{err}
	}
	return nil
}

// scriptDirs are the folders to watch: the scripts folder, and those of files named elsewhere, in
// listeners and in chains.
func scriptDirs(conf *config.Config) []string {
	var dirs []string
	if conf.Scripts.Dir != "" {
		dirs = append(dirs, beside(conf, conf.Scripts.Dir))
	}
	for _, l := range conf.Listeners {
		if l.Plugin != "" {
			continue
		}
		dirs = append(dirs, filepath.Dir(beside(conf, l.Script)))
	}
	for _, path := range chainFiles(conf) {
		dirs = append(dirs, filepath.Dir(path))
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}
