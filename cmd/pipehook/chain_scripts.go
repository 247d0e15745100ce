package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/jshost"
	"github.com/pipehook/pipehook/core/jshost/engine"
	"github.com/pipehook/pipehook/stages/script"
)

// chainScripts are the scripts that are stages and sources. Like listeners they are compiled anew when
// they change, and the last good version of one that no longer compiles goes on.
type chainScripts struct {
	effects *effects
	opts    jshost.Options
	log     *slog.Logger
	told    func(error) // hears why a file does not compile, after the log; may be nil

	mu      sync.Mutex
	live    map[string]*chainScript // by everything that they are run with
	closing sync.WaitGroup          // of those that no chain uses any more
	closed  chan struct{}           // nobody waits for requests any more
}

func newChainScripts(e *effects, opts jshost.Options, log *slog.Logger) *chainScripts {
	return &chainScripts{effects: e, opts: opts, log: log, live: map[string]*chainScript{}, closed: make(chan struct{})}
}

// chainSpec is what a script in a chain is run with.
type chainSpec struct {
	kind  engine.Kind
	path  string
	terms terms
}

// key is equal for those that one runner can serve.
func (s *chainSpec) key() string {
	t := s.terms
	text, err := json.Marshal([]any{s.kind, s.path, t.isolated, t.memory, t.size, t.allowHosts, t.allowPrivate, t.secrets})
	if err != nil { // texts and numbers always encode
		panic(err)
	}
	return fmt.Sprintf("%x", sha256.Sum256(text))
}

// sameFile reports whether they are the same but for their terms.
func (s *chainSpec) sameFile(other *chainSpec) bool {
	return s.kind == other.kind && s.path == other.path
}

// word is the kind as people read it.
func (s *chainSpec) word() string {
	if s.kind == engine.Source {
		return "source"
	}
	return "stage"
}

// find is the script that runs under the key, or the fresh one. That begins with what runs of its file
// on other terms, which is the last good version when the file is broken.
func (c *chainScripts) find(key string, fresh *chainScript) *chainScript {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.live[key]; s != nil {
		return s
	}
	fresh.all = c
	for _, old := range c.live {
		if old.sameFile(&fresh.chainSpec) && old.code.Hash != "" {
			fresh.begin(old.code)
			break
		}
	}
	fresh.load()
	return fresh
}

// load compiles what has changed, and reports whether anything did.
func (c *chainScripts) load() (changed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.live {
		if s.load() {
			changed = true
		}
	}
	return changed
}

// close ends all. No request may run any more.
func (c *chainScripts) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.closed:
		return
	default:
		close(c.closed)
	}
	c.closing.Wait()
	for _, s := range c.live {
		s.close()
	}
	c.live = map[string]*chainScript{}
}

// chainScript is one script with what runs it.
type chainScript struct {
	chainSpec
	name string
	all  *chainScripts

	code   engine.Code // that runs; like broken it belongs to who holds all.mu
	broken string

	mu     sync.Mutex
	script *runningScript // nil until a version has compiled
	wrong  error          // why there is none
}

// Name is that of the file.
func (s *chainScript) Name() string { return s.name }

// caller is how the engine and what scripts remember call it: no listener's name has a colon.
func (s *chainScript) caller() string { return s.word() + ":" + s.name }

func (s *chainScript) log() *slog.Logger { return s.all.log.With(s.word(), s.name, "file", s.path) }

// begin runs code that was good before; all.mu is held.
func (s *chainScript) begin(code engine.Code) {
	if err := s.set(code); err == nil { // else load says what is wrong
		s.code = code
		s.log().Info(s.word() + " loaded")
	}
}

// load compiles the file when it has changed; all.mu is held.
func (s *chainScript) load() (changed bool) {
	log := s.log()
	built, err := compileHandler(s.terms.isolated, s.path)
	code, old := built.Code, s.code.Hash
	if err == nil && old != code.Hash {
		err = s.set(code)
	}
	if err != nil {
		if s.broken != err.Error() {
			s.broken = err.Error()
			if old != "" {
				log.Error("a script in a chain does not compile; its last good version goes on", "err", err)
			} else {
				log.Error("a script in a chain does not compile; until it does it fails for every event", "err", err)
			}
			if s.all.told != nil {
				s.all.told(err)
			}
		}
		s.fail(err)
		return false
	}
	switch {
	case old == code.Hash && s.broken != "":
		log.Info(s.word() + " compiles again")
	case old == "":
		log.Info(s.word() + " loaded")
	case old != code.Hash:
		log.Info(s.word() + " reloaded")
	}
	s.broken, s.code = "", code
	return old != code.Hash
}

// compileHandler refuses a file that has no function to call.
func compileHandler(isolated bool, path string) (jshost.Compiled, error) {
	built, err := jshost.Build(context.Background(), isolated, path) // bounded by itself
	switch {
	case err != nil:
		return jshost.Compiled{}, err
	case built[0].Err == nil && !built[0].Handles:
		return jshost.Compiled{}, noFunction(path, "")
	}
	return built[0], built[0].Err
}

// set gives the script what runs from now on.
func (s *chainScript) set(code engine.Code) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.script != nil {
		return s.script.Swap(code)
	}
	script, err := s.all.effects.start(code, role{name: s.caller(), steady: true}, s.terms, s.all.opts)
	if err == nil {
		s.script = script
	}
	return err
}

// fail notes why there is no version, or no newer one.
func (s *chainScript) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wrong = err
}

func (s *chainScript) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.script != nil {
		s.script.Close()
	}
}

// run calls the script's function with a copy of the event, which is changed as the request goes on.
func (s *chainScript) run(ctx context.Context, ev *core.Event, timeout time.Duration) (r engine.Result) {
	s.mu.Lock()
	runner, wrong := s.script, s.wrong
	s.mu.Unlock()
	if runner == nil {
		return engine.Result{Err: fmt.Errorf("%s %s is not loaded: %w", s.word(), s.name, wrong)}
	}
	own := *ev
	runner.Run(ctx, []engine.Call{{Kind: s.kind, Event: &own, Timeout: timeout}}, func(_ int, of engine.Result) { r = of })
	return r
}

// stageRunner is a chainScript as the stage wants it.
type stageRunner struct{ *chainScript }

// Run implements script.Runner.
func (s stageRunner) Run(ctx context.Context, ev *core.Event, timeout time.Duration) script.Result {
	r := s.run(ctx, ev, timeout)
	if dropped, ok := errors.AsType[*engine.Dropped](r.Err); ok {
		return script.Result{Drop: &dropped.Reason}
	}
	if rejected, ok := errors.AsType[*engine.Rejected](r.Err); ok {
		return script.Result{Reject: &script.Reject{Status: rejected.Status, Msg: rejected.Msg}}
	}
	return script.Result{Err: r.Err, Value: r.Value}
}
