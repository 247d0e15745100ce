package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/samples"
)

func (c *cli) devCommand() *cobra.Command {
	var sample bool
	cmd := &cobra.Command{
		Use: "dev", Short: "Serve, show every event live, reload on save", Args: cobra.NoArgs,
		Long: "Serve and show every event live. Scripts and the configuration are reloaded when they are\nsaved. Without a pipeline.toml it runs the example, with its store in " + devFolder + "/. It sends itself a\nsample event at the start and after every change, so that there is something to see.",
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			conf, example, err := c.loadOrExample()
			if err != nil {
				return err
			}
			if len(conf.Pipelines) == 0 {
				return usagef("add a [[pipeline]]", "%s describes no pipeline", conf.Path)
			}
			if example && filepath.Dir(conf.Scripts.Dir) == devFolder {
				if _, err := writeScripts(conf.Scripts.Dir); err != nil {
					return err
				}
			}
			view := newLiveView(c.stdout)
			changed := make(chan struct{}, 1)
			if conf.Log.Format == "auto" {
				conf.Log.Format = "text" // for a person, wherever it goes
			}
			log, closeLog := newLogger(view.logWriter(), conf.Log)
			defer func() { err = joinClose(err, closeLog) }()
			a, err := newApp(cmd.Context(), conf, log, watchers{
				request: view.request, attempt: view.attempt, said: view.said, reloaded: func() { notify(changed) },
			})
			if err != nil {
				return err
			}
			defer func() { err = joinClose(err, a.close) }()
			view.banner(conf, example, a.hooksAt.Addr().String())
			a.also("configuration", core.ServiceFunc(func(ctx context.Context) error { return a.watchConfig(ctx, c, example) }))
			if sample {
				a.also("sample", core.ServiceFunc(func(ctx context.Context) error { return a.sendSamples(ctx, view, changed) }))
			}
			return a.run(cmd.Context())
		},
	}
	cmd.Flags().BoolVar(&sample, "sample", true, "send a sample event at the start and after every change")
	return cmd
}

func notify(ch chan<- struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// sendSamples sends one sample now and one after every change.
func (a *app) sendSamples(ctx context.Context, view *liveView, changed <-chan struct{}) error {
	for {
		conf := a.conf.Load()
		event := a.sampleType()
		_, body, _ := samples.For(event)
		p := conf.Pipelines[0]
		if _, err := send(ctx, p, "http://"+a.hooksAt.Addr().String()+p.Path, samples.Fresh(body, time.Now())); err != nil && ctx.Err() == nil {
			view.note("the sample could not be sent: " + err.Error())
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// sampleType is an event that some listener wants.
func (a *app) sampleType() string {
	const usual = "updated.deal"
	for _, event := range append([]string{usual}, samples.Types()...) {
		_, body, _ := samples.For(event)
		ev := &core.Event{Source: "pipedrive", Body: body}
		if restore(ev) != nil {
			continue
		}
		if wanted, _ := a.engine.Route(ev); len(wanted) > 0 {
			return event
		}
	}
	return usual
}

// watchConfig reloads the configuration when its file changes. It looks twice a second: the file
// may be replaced, appear or go, which a look can't miss.
func (a *app) watchConfig(ctx context.Context, c *cli, example bool) error {
	last := stamp(c.path)
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		now := stamp(c.path)
		if now == last {
			continue
		}
		last = now
		if example {
			a.log.Info("there is a configuration now: start pipehook dev again to use it", "file", c.path)
			continue
		}
		a.reload(c)
	}
}

func stamp(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	return fmt.Sprint(info.ModTime().UnixNano(), info.Size())
}

// reload takes the new configuration at once, or keeps the old one and says what is wrong.
func (a *app) reload(c *cli) {
	conf, err := c.load(nil)
	if err == nil {
		deps := a.deps
		deps.Resolve = func(path string) string { return beside(conf, path) }
		hooks, wrong := assemble(conf, deps)
		if err = wrong; err == nil {
			a.handler.SetHooks(hooks)
		}
	}
	if err != nil {
		a.log.Error("the configuration was not reloaded; the old one goes on", "err", err)
		return
	}
	old := a.conf.Swap(conf)
	a.log.Info("configuration reloaded", "file", conf.Path)
	if !sameProcess(old, conf) {
		a.log.Warn("a change of server, store, admin, log or scripts needs a new start")
	}
	for _, cost := range costs(conf) {
		a.log.Warn(cost)
	}
	a.loadScripts()
}

func sameProcess(a, b *config.Config) bool {
	return a.Server.Listen == b.Server.Listen && a.Server.MaxBody == b.Server.MaxBody && a.Server.AckWithin == b.Server.AckWithin &&
		a.Store == b.Store && a.Admin == b.Admin && a.Log.Level == b.Log.Level && a.Log.File == b.Log.File && a.Scripts == b.Scripts
}
