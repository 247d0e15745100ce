package main

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/delivery"
	"github.com/pipehook/pipehook/core/jshost"
)

// scriptSet is all listeners that are scripts: those the configuration names, and the other files
// of the folder. It keeps the last good version of a file that no longer compiles.
type scriptSet struct {
	opts jshost.Options
	log  *slog.Logger

	mu      sync.Mutex
	scripts map[string]*loadedScript // by listener
	changed bool                     // something did since load began
}

type loadedScript struct {
	path        string
	concurrency int
	script      *jshost.Script
	program     *jshost.Program
	broken      string // the error that was last reported
}

// wantedScript is a listener as it should be, before its file is looked at.
type wantedScript struct {
	config.Listener
	path string
	key  string // where the configuration names it, such as listener[0]; other files need not be listeners
	// wrong is why a file that is a listener after all can't be one under its name.
	wrong string
}

func newScriptSet(opts jshost.Options, log *slog.Logger) *scriptSet {
	return &scriptSet{opts: opts, log: log, scripts: map[string]*loadedScript{}}
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

// compile is the file's program; it fails for a listener that can't be one.
func (w *wantedScript) compile() (*jshost.Program, error) {
	program, err := jshost.Compile(w.path)
	if err == nil && w.wrong != "" && program.Handles() {
		err = &jshost.CompileError{File: w.path, Msg: w.wrong}
	}
	return program, err
}

// load compiles what has changed and returns all subscriptions. Files that do not compile are
// reported once; the others run, and of the broken ones the last good version. changed reports
// whether anything is other than the last time.
func (s *scriptSet) load(conf *config.Config) (subs []delivery.Subscription, changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changed = false
	wanted, err := wantedScripts(conf)
	if s.misses(wanted) {
		time.Sleep(putAside)
		wanted, err = wantedScripts(conf)
	}
	if err != nil {
		s.log.Error("the scripts folder can't be read", "err", err)
	}
	seen := map[string]bool{}
	for _, w := range wanted {
		seen[w.Name] = true
		if sub, ok := s.one(w); ok {
			subs = append(subs, sub)
		}
	}
	for name := range s.scripts {
		if !seen[name] {
			delete(s.scripts, name)
			s.changed = true
			s.log.Info("listener removed", "listener", name)
		}
	}
	return subs, s.changed
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

func (s *scriptSet) one(w wantedScript) (delivery.Subscription, bool) {
	loaded := s.scripts[w.Name]
	program, err := w.compile()
	if err == nil && !program.Handles() {
		if w.key == "" && (loaded == nil || loaded.script == nil) {
			s.log.Debug("not a listener: it exports no function by default", "file", w.path)
			return delivery.Subscription{}, false
		}
		msg := "it exports no function: write export default function (event, ctx) { … }"
		if w.key == "" { // it may be half saved, so this is no way to end a listener
			msg += ", or remove the file"
		}
		err = &jshost.CompileError{File: w.path, Msg: msg}
	}
	switch {
	case err != nil && loaded == nil:
		s.scripts[w.Name] = &loadedScript{path: w.path, broken: err.Error()}
		s.log.Error("a listener does not compile and is left out; the others run", "listener", w.Name, "err", err)
		return delivery.Subscription{}, false
	case err != nil:
		s.keepOld(w, loaded, err)
	default:
		loaded = s.take(w, loaded, program)
		s.scripts[w.Name] = loaded
	}
	if loaded.script == nil {
		return delivery.Subscription{}, false
	}
	return subscription(w, loaded), true
}

func (s *scriptSet) keepOld(w wantedScript, loaded *loadedScript, err error) {
	if loaded.broken == err.Error() {
		return
	}
	loaded.broken = err.Error()
	s.log.Error("a listener does not compile; its last good version goes on", "listener", w.Name, "err", err)
}

func (s *scriptSet) take(w wantedScript, loaded *loadedScript, program *jshost.Program) *loadedScript {
	fresh := loaded == nil || loaded.script == nil || loaded.concurrency != w.Concurrency
	switch {
	case fresh:
		s.changed = true
		loaded = &loadedScript{path: w.path, concurrency: w.Concurrency, script: jshost.NewScript(w.Name, program, w.Concurrency, s.opts)}
		s.log.Info("listener loaded", "listener", w.Name, "file", w.path, "match", patternTexts(matchOf(w, program)))
	case loaded.program.Hash() != program.Hash():
		loaded.script.Swap(program)
		s.changed = true
		s.log.Info("listener reloaded", "listener", w.Name, "file", w.path)
	case loaded.broken != "":
		s.log.Info("listener compiles again", "listener", w.Name, "file", w.path)
	}
	loaded.program, loaded.broken = program, ""
	return loaded
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
func matchOf(w wantedScript, program *jshost.Program) []core.Pattern {
	if len(w.Match) > 0 {
		return w.Match
	}
	if match := program.Match(); len(match) > 0 {
		return match
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
	sub.Match = matchOf(w, loaded.program)
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
func checkScripts(conf *config.Config) (listeners, warnings []string, errs []error) {
	wanted, err := wantedScripts(conf)
	if err != nil {
		errs = append(errs, err)
	}
	for _, w := range wanted {
		program, err := w.compile()
		switch {
		case err != nil:
			errs = append(errs, err)
		case program.Handles():
			listeners = append(listeners, w.Name)
			errs = append(errs, never(conf, w, program)...)
			if len(w.Match) == 0 {
				warnings = append(warnings, strangeActions(w.Name, program.Match())...)
			}
		case w.key != "":
			errs = append(errs, &jshost.CompileError{File: w.path, Msg: "it exports no function: write export default function (event, ctx) { … }"})
		}
	}
	slices.Sort(listeners)
	return listeners, warnings, errs
}

// never are the rules that no event can fulfil because of what the script matches. What no event at
// all can meet, and what the configuration itself matches, was found when it was read.
func never(conf *config.Config, w wantedScript, program *jshost.Program) []error {
	if w.key == "" || len(w.Match) > 0 {
		return nil
	}
	var mistakes config.Mistakes
	match := program.Match()
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
