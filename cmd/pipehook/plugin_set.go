package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/delivery"
	"github.com/pipehook/pipehook/core/plughost"
	"github.com/pipehook/pipehook/plugins/sdk/wire"
)

// firstStarts is how long a start of pipehook waits for its plugins: whoever sends events does not
// wait for what is behind them. What happens later is logged, and their deliveries wait.
const firstStarts = 3 * time.Second

// pluginSet is all plugins: listeners, stages and sources.
type pluginSet struct {
	log  *slog.Logger
	host *plughost.Host
	conf func() *config.Config    // the one that runs
	told func(listeners []string) // hears which run another binary

	attach map[string]*plughost.Attachment // what somebody else has started, by the name of its binary

	mu      sync.Mutex
	running pluginMap
	leaving sync.WaitGroup // those that were replaced and still have calls
	closed  chan struct{}  // no request needs any of them
	once    sync.Once      // that closes it
}

// pluginMap is plugins by all that their processes are run with: what is the same at several places of
// the configuration is one process.
type pluginMap map[string]*runningPlugin

// preparedPlugins are those that a configuration wants, before it is known whether it is taken.
type preparedPlugins struct {
	pluginMap
	places map[string]pluginPlace // where it names each first
}

// openPlugins starts the plugins of listeners and those of chains. One that does not run is no reason
// not to serve; one that refuses its configuration is, like any other mistake in it.
func (a *app) openPlugins(ctx context.Context, conf *config.Config, chains []pluginUse, p parts) error {
	host, err := plughost.Open(plughost.Options{
		Dir: filepath.Join(a.seat.Dir, "plugins"), Log: a.log, Said: a.pluginEars(p.see.said), Services: a.pluginServices(),
	})
	if err != nil {
		return err
	}
	a.plugins = &pluginSet{log: a.log, host: host, running: pluginMap{}, closed: make(chan struct{}), conf: a.conf.Load, told: a.reloaded, attach: p.attach}
	uses, mistakes := listenerPlugins(conf)
	if err := mistakes.Err(); err != nil {
		return &usageError{err: err}
	}
	for _, use := range append(uses, chains...) {
		if key := use.key(); a.plugins.running[key] == nil {
			a.plugins.running[key] = a.plugins.begin(use)
		}
	}
	return a.plugins.await(ctx, conf, p.again)
}

// await waits for the first starts. The error is what plugins refuse in the configuration, unless they have
// to serve with it again.
func (s *pluginSet) await(ctx context.Context, conf *config.Config, again bool) error {
	ctx, cancel := context.WithTimeout(ctx, firstStarts)
	defer cancel()
	var mistakes config.Mistakes
	for _, r := range s.all() {
		err := r.plugin().Ready(ctx)
		if err == nil {
			continue
		}
		if isMistake(err) && !again {
			mistakes = append(mistakes, r.mistakes(conf, err)...)
			continue
		}
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("it was not ready within %s", firstStarts)
		}
		s.complain(conf, r, "a plugin does not run; "+r.meanwhile(), err)
	}
	if err := mistakes.Err(); err != nil {
		return &usageError{err: err}
	}
	return nil
}

// complain logs why a plugin does not run, with its places in the file.
func (s *pluginSet) complain(conf *config.Config, r *runningPlugin, msg string, err error) {
	use := pluginUse{spec: r.spec, at: r.stands()}
	for _, one := range complaints(use.mistakes(conf, err).Err()) {
		s.log.Error(msg, append(complaintAttrs(one), "plugin", r.spec.File(), r.spec.Kind, r.spec.Name)...)
	}
}

// meanwhile is what becomes of events while the plugin does not run.
func (r *runningPlugin) meanwhile() string {
	switch r.spec.Kind {
	case wire.Stage:
		return "its on_failure says what becomes of each event"
	case wire.Source:
		return "what it would name is unknown.unknown"
	}
	return "its deliveries wait"
}

// prepare starts what the configuration names and nobody runs in that way, on the side. When one does not
// start, nothing has changed.
func (s *pluginSet) prepare(ctx context.Context, conf *config.Config, chains []pluginUse) (preparedPlugins, error) {
	uses, mistakes := listenerPlugins(conf)
	next, fresh := preparedPlugins{pluginMap{}, map[string]pluginPlace{}}, pluginMap{}
	for _, use := range append(uses, chains...) {
		key := use.key()
		if next.pluginMap[key] != nil {
			continue
		}
		next.places[key] = use.at
		s.mu.Lock()
		before := s.running[key]
		s.mu.Unlock()
		err := s.missing(&use, before)
		switch {
		case err != nil:
			mistakes = append(mistakes, use.mistakes(conf, err)...)
		case before != nil:
			next.pluginMap[key] = before
		default:
			fresh[key] = s.begin(use)
			next.pluginMap[key] = fresh[key]
		}
	}
	for _, r := range fresh {
		if err := r.plugin().Ready(ctx); err != nil {
			mistakes = append(mistakes, r.mistakes(conf, err)...)
		}
	}
	if err := mistakes.Err(); err != nil {
		s.drop(fresh, 0)
		return next, err
	}
	return next, nil
}

// missing is why the plugin could not be started, if r has had nothing to run either. Whether another file
// takes the place of one that r runs is not asked here: that file may not be whole yet, and watch sees to it.
func (s *pluginSet) missing(use *pluginUse, r *runningPlugin) error {
	if s.attach[use.spec.File()] != nil || r != nil && r.plugin().SHA256() != "" {
		return nil
	}
	_, err := plughost.Check(use.spec.Path, use.spec.SHA256)
	return err
}

// forget drops what was prepared and is not to be used.
func (s *pluginSet) forget(next preparedPlugins) {
	fresh := pluginMap{}
	s.mu.Lock()
	for key, r := range next.pluginMap {
		if s.running[key] != r {
			fresh[key] = r
		}
	}
	s.mu.Unlock()
	s.drop(fresh, 0)
}

// use puts what was prepared in its place, and returns what is not used any more.
func (s *pluginSet) use(next preparedPlugins) (dropped pluginMap) {
	s.mu.Lock()
	defer s.mu.Unlock()
	dropped = pluginMap{}
	for key, r := range s.running {
		if next.pluginMap[key] != r {
			dropped[key] = r
		}
	}
	s.running = next.pluginMap
	for key, r := range s.running {
		r.move(next.places[key])
	}
	return dropped
}

// drop ends plugins once their calls have ended. Those of chains are kept for the time that a request
// which has begun with them may take. It does not wait.
func (s *pluginSet) drop(dropped pluginMap, request time.Duration) {
	heirs := s.listeners()
	for _, r := range dropped {
		var heir *runningPlugin
		if r.spec.Kind == wire.Listener {
			heir = heirs[r.spec.Name]
		}
		s.leaving.Go(func() { // ends with close at the latest
			if r.spec.Kind != wire.Listener && request > 0 {
				timer := time.NewTimer(request)
				defer timer.Stop()
				select {
				case <-timer.C:
				case <-s.closed:
				}
			}
			r.end(heir)
		})
	}
}

// all are the plugins that run, or should.
func (s *pluginSet) all() (all []*runningPlugin) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.running {
		all = append(all, r)
	}
	return all
}

// listeners are those that are listeners, by their names.
func (s *pluginSet) listeners() map[string]*runningPlugin {
	named := map[string]*runningPlugin{}
	for _, r := range s.all() {
		if r.spec.Kind == wire.Listener {
			named[r.spec.Name] = r
		}
	}
	return named
}

// subscriptions are the listeners of the configuration that are plugins.
func (s *pluginSet) subscriptions(conf *config.Config) (subs []delivery.Subscription) {
	byName := s.listeners()
	for _, l := range conf.Listeners {
		r := byName[l.Name]
		if l.Plugin == "" || r == nil {
			continue
		}
		sub := subscriptionOf(l, r, r.code)
		if len(sub.Match) == 0 {
			sub.Match = []core.Pattern{everything}
		}
		subs = append(subs, sub)
	}
	return subs
}

// Run is a service: it replaces plugins whose binaries are replaced, and ends all when nothing is given
// to them any more.
func (s *pluginSet) Run(ctx context.Context) error {
	s.watch(ctx)
	s.release()
	s.drop(s.use(preparedPlugins{}), 0)
	s.leaving.Wait()
	return nil
}

// release ends the wait for requests.
func (s *pluginSet) release() { s.once.Do(func() { close(s.closed) }) }

// close ends what still runs.
func (s *pluginSet) close() error {
	s.release()
	err := s.host.Close()
	s.leaving.Wait()
	return err
}
