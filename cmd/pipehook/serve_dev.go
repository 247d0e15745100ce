package main

import (
	"cmp"
	"context"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/samples"
	"github.com/pipehook/pipehook/core/store"
)

func (c *cli) devCommand() *cobra.Command {
	var sample bool
	cmd := &cobra.Command{
		Use: "dev", Short: "Serve, show every event live, reload on save", Args: cobra.NoArgs,
		Long: "Serve and show every event live. Scripts and the configuration are reloaded when they are\nsaved. Without a pipeline.toml it runs the example, with its store in " + devFolder + "/. It sends itself a\nsample event at the start and after every change, so that there is something to see. What waits to\nbe tried again is tried at once when its script is saved.",
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			taken := stamp(c.path) // before the file is read, so that no change is missed
			conf, example, err := c.loadOrExample()
			if err != nil {
				return err
			}
			if len(conf.Pipelines) == 0 {
				return usagef("add a [[pipeline]]", "%s describes no pipeline", conf.Path)
			}
			attach, err := c.attachments()
			if err != nil {
				return err
			}
			if example && filepath.Dir(conf.Scripts.Dir) == devFolder {
				if _, err := writeScripts(conf.Scripts.Dir); err != nil {
					return err
				}
			}
			view := newLiveView(c.stdout)
			saves := &saves{changed: make(chan struct{}, 1)}
			load := func() (*config.Config, error) {
				conf, err := c.readServing(nil)
				return forPerson(conf), err
			}
			logs, err := openLogs(view.logWriter(), forPerson(conf))
			if err != nil {
				return err
			}
			defer func() { err = joinClose(err, logs.close) }()
			a, err := newApp(cmd.Context(), conf, parts{logs: logs, attach: attach, see: watchers{
				request: view.request, attempt: view.attempt, said: view.said, broken: view.broken, reloaded: saves.add,
			}})
			if err != nil {
				return err
			}
			defer func() { err = joinClose(err, a.close) }()
			view.banner(conf, example, a.doors[hooksDoor].address())
			k := &keeper{a: a, path: c.path, load: load, taken: taken}
			if example {
				k.instead = func() {
					a.log.Info("there is a configuration now: start pipehook dev again to use it", "file", c.path)
				}
			}
			a.also("configuration", k)
			a.also("saves", core.ServiceFunc(func(ctx context.Context) error { return a.followSaves(ctx, view, saves, sample) }))
			_, err = a.run(cmd.Context())
			return err
		},
	}
	cmd.Flags().BoolVar(&sample, "sample", true, "send a sample event at the start and after every change")
	return cmd
}

// forPerson has the log be text, wherever it goes, unless the configuration says otherwise.
func forPerson(conf *config.Config) *config.Config {
	if conf != nil && conf.Log.Format == "auto" {
		conf.Log.Format = "text"
	}
	return conf
}

func notify(ch chan<- struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// saves are the listeners that were saved and not yet dealt with.
type saves struct {
	changed chan struct{}

	mu    sync.Mutex
	names []string
}

// add notes a change, of these listeners and perhaps of other things.
func (s *saves) add(listeners []string) {
	s.mu.Lock()
	s.names = append(s.names, listeners...)
	s.mu.Unlock()
	notify(s.changed)
}

func (s *saves) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := s.names
	s.names = nil
	return names
}

// followSaves sends a sample now and after every change, if it is to, and has what waits for another
// attempt by a listener that was saved attempted at once: who has mended a script wants to see it work,
// and the samples are of one record, which wait for each other.
func (a *app) followSaves(ctx context.Context, view *liveView, s *saves, sample bool) error {
	for {
		saved := s.take()
		if err := a.retryNow(ctx, saved); err != nil && ctx.Err() == nil {
			view.note("what waits could not be tried again now: " + err.Error())
		}
		conf := a.conf.Load()
		// The samples are Pipedrive's.
		if i := slices.IndexFunc(conf.Pipelines, func(p config.Pipeline) bool { return p.Source == "pipedrive" }); i >= 0 && sample {
			a.sendSample(ctx, view, conf.Pipelines[i], saved)
		}
		select {
		case <-s.changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// retryNow has pending deliveries to the listeners attempted now.
func (a *app) retryNow(ctx context.Context, listeners []string) (err error) {
	if len(listeners) == 0 {
		return nil
	}
	m, err := store.OpenManager(ctx, storeURL(a.conf.Load()))
	if err != nil {
		return err
	}
	defer func() { err = joinClose(err, m.Close) }()
	for _, name := range listeners {
		if _, err := m.Retry(ctx, store.Choice{Listener: name, State: core.Waiting.String()}, nil); err != nil {
			return err
		}
	}
	a.engine.Look(true)
	return nil
}

func (a *app) sendSample(ctx context.Context, view *liveView, p config.Pipeline, saved []string) {
	_, body, _ := samples.For(a.sampleType(saved))
	if _, err := send(ctx, p, "http://"+a.doors[hooksDoor].address()+p.Path, samples.Fresh(body, time.Now())); err != nil && ctx.Err() == nil {
		view.note("the sample could not be sent: " + err.Error())
	}
}

// sampleType is an event that a listener which was saved wants, else one that any does.
func (a *app) sampleType(saved []string) string {
	const usual = "updated.deal"
	some := ""
	for _, event := range append([]string{usual}, samples.Types()...) {
		_, body, _ := samples.For(event)
		ev := &core.Event{Source: "pipedrive", Body: body}
		if restore(ev) != nil {
			continue
		}
		wanted, _ := a.engine.Route(ev)
		if slices.ContainsFunc(saved, func(name string) bool { return slices.Contains(wanted, name) }) {
			return event
		}
		if some == "" && len(wanted) > 0 {
			some = event
		}
	}
	return cmp.Or(some, usual)
}
