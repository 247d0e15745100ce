package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"reflect"
	"strings"
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

// pluginSet is all listeners that are plugins. Each has a process of its own.
type pluginSet struct {
	log  *slog.Logger
	host *plughost.Host

	mu      sync.Mutex
	running pluginMap
	leaving sync.WaitGroup // those that were replaced and still have calls
}

// pluginMap is plugins by the names of their listeners.
type pluginMap map[string]*runningPlugin

type runningPlugin struct {
	spec   plughost.Spec
	plugin *plughost.Plugin
	key    string // of the listener, such as listener[0]
}

// openPlugins starts the plugins. One that does not run is no reason not to serve; one that refuses
// its configuration is, like any other mistake in it.
func (a *app) openPlugins(ctx context.Context, conf *config.Config, again bool) error {
	host, err := plughost.Open(plughost.Options{Dir: filepath.Join(a.seat.Dir, "plugins"), Log: a.log})
	if err != nil {
		return err
	}
	a.plugins = &pluginSet{log: a.log, host: host, running: pluginMap{}}
	specs, err := pluginSpecs(conf)
	if err != nil {
		return &usageError{err: err}
	}
	for key, spec := range specs {
		a.plugins.running[spec.Name] = &runningPlugin{spec: spec, plugin: host.Start(spec), key: key}
	}
	ctx, cancel := context.WithTimeout(ctx, firstStarts)
	defer cancel()
	var mistakes config.Mistakes
	for _, r := range a.plugins.running {
		err := r.plugin.Ready(ctx)
		if err == nil {
			continue
		}
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("it was not ready within %s", firstStarts)
		}
		wrong := pluginMistakes(conf, r, err)
		if _, ok := errors.AsType[plughost.Refused](err); ok && !again {
			mistakes = append(mistakes, wrong...)
			continue
		}
		for _, one := range complaints(wrong.Err()) {
			a.log.Error("a plugin does not run; its deliveries wait", append(complaintAttrs(one), "listener", r.spec.Name)...)
		}
	}
	if err := mistakes.Err(); err != nil {
		return &usageError{err: err}
	}
	return nil
}

// pluginSpecs are the plugins that the configuration names, by its keys.
func pluginSpecs(conf *config.Config) (map[string]plughost.Spec, error) {
	specs := map[string]plughost.Spec{}
	var mistakes config.Mistakes
	for i, l := range conf.Listeners {
		if l.Plugin == "" {
			continue
		}
		key := fmt.Sprintf("listener[%d]", i)
		table, err := json.Marshal(l.Config)
		mistakes = conf.Collect(mistakes, key+".config", err)
		specs[key] = plughost.Spec{
			Kind: wire.Listener, Name: l.Name, Path: pluginPath(conf, l.Plugin), SHA256: strings.ToLower(l.SHA256), Config: table, Dir: filepath.Dir(conf.Path),
		}
	}
	return specs, mistakes.Err()
}

// pluginPath is a name's in the folder of plugins, or a path's.
func pluginPath(conf *config.Config, plugin string) string {
	if !strings.ContainsRune(plugin, filepath.Separator) {
		plugin = filepath.Join(conf.Plugins.Dir, plugin)
	}
	return beside(conf, plugin)
}

// pluginMistakes gives what keeps a plugin from running the places in the file that are to blame.
func pluginMistakes(conf *config.Config, r *runningPlugin, err error) config.Mistakes {
	if refused, ok := errors.AsType[plughost.Refused](err); ok {
		mistakes := make(config.Mistakes, len(refused))
		for i, wrong := range refused {
			key := r.key + ".config"
			if wrong.Key != "" {
				key += "." + wrong.Key
			}
			mistakes[i] = conf.Mistake(key, wrong.Msg, "")
		}
		return mistakes
	}
	if bad, ok := errors.AsType[*plughost.BinaryError](err); ok {
		key := r.key + ".plugin"
		if bad.Checksum {
			key = r.key + ".sha256"
		}
		return config.Mistakes{conf.Mistake(key, bad.Msg, bad.Hint)}
	}
	return config.Mistakes{conf.Mistake(r.key+".plugin", "does not start: "+err.Error(), "")}
}

// prepare starts what the configuration names and does not run as it should, on the side. When one
// does not start, nothing has changed.
func (s *pluginSet) prepare(ctx context.Context, conf *config.Config) (pluginMap, error) {
	specs, err := pluginSpecs(conf)
	if err != nil {
		return nil, &usageError{err: err}
	}
	next, fresh := pluginMap{}, pluginMap{}
	var mistakes config.Mistakes
	for key, spec := range specs {
		r := &runningPlugin{spec: spec, key: key}
		sum, err := plughost.Check(spec.Path, spec.SHA256)
		if err != nil {
			mistakes = append(mistakes, pluginMistakes(conf, r, err)...)
			continue
		}
		s.mu.Lock()
		before := s.running[spec.Name]
		s.mu.Unlock()
		if before != nil && reflect.DeepEqual(before.spec, spec) && before.plugin.SHA256() == sum {
			next[spec.Name] = before
			continue
		}
		r.plugin = s.host.Start(spec)
		next[spec.Name], fresh[spec.Name] = r, r
	}
	for _, r := range fresh {
		if err := r.plugin.Ready(ctx); err != nil {
			mistakes = append(mistakes, pluginMistakes(conf, r, err)...)
		}
	}
	if err := mistakes.Err(); err != nil {
		s.drop(fresh)
		return nil, err
	}
	return next, nil
}

// use puts what was prepared in its place, and returns what is not used any more.
func (s *pluginSet) use(next pluginMap) (dropped pluginMap) {
	s.mu.Lock()
	defer s.mu.Unlock()
	dropped = pluginMap{}
	for name, r := range s.running {
		if next[name] != r {
			dropped[name] = r
		}
	}
	s.running = next
	return dropped
}

// drop ends plugins once their calls have ended. It does not wait.
func (s *pluginSet) drop(dropped pluginMap) {
	for _, r := range dropped {
		s.leaving.Go(func() { r.plugin.Stop(context.Background()) })
	}
}

// subscriptions are the listeners of the configuration that are plugins.
func (s *pluginSet) subscriptions(conf *config.Config) (subs []delivery.Subscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range conf.Listeners {
		r, ok := s.running[l.Name]
		if l.Plugin == "" || !ok {
			continue
		}
		sub := subscriptionOf(l, r.plugin, r.plugin.Code)
		if len(sub.Match) == 0 {
			sub.Match = []core.Pattern{everything}
		}
		subs = append(subs, sub)
	}
	return subs
}

// Run is a service: it ends the plugins when nothing is given to them any more.
func (s *pluginSet) Run(ctx context.Context) error {
	<-ctx.Done()
	s.drop(s.use(pluginMap{}))
	s.leaving.Wait()
	return nil
}

// close ends what still runs.
func (s *pluginSet) close() error {
	err := s.host.Close()
	s.leaving.Wait()
	return err
}

// checkPlugins looks at the binaries, for check. It starts none.
func checkPlugins(conf *config.Config) (listeners []string, errs []error) {
	specs, err := pluginSpecs(conf)
	if err != nil {
		errs = append(errs, err)
	}
	for key, spec := range specs {
		listeners = append(listeners, spec.Name)
		if _, err := plughost.Check(spec.Path, spec.SHA256); err != nil {
			errs = append(errs, pluginMistakes(conf, &runningPlugin{key: key}, err))
		}
	}
	return listeners, errs
}
