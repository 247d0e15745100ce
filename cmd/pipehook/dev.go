package main

import (
	"context"
	"path/filepath"
	"slices"
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
			taken := stamp(c.path) // before the file is read, so that no change is missed
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
			load := func() (*config.Config, error) {
				conf, err := c.loadServing(nil)
				return forPerson(conf), err
			}
			logs, err := openLogs(view.logWriter(), forPerson(conf))
			if err != nil {
				return err
			}
			defer func() { err = joinClose(err, logs.close) }()
			a, err := newApp(cmd.Context(), conf, parts{logs: logs, see: watchers{
				request: view.request, attempt: view.attempt, said: view.said, reloaded: func() { notify(changed) },
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
			if sample {
				a.also("sample", core.ServiceFunc(func(ctx context.Context) error { return a.sendSamples(ctx, view, changed) }))
			}
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

// sendSamples sends one sample now and one after every change.
func (a *app) sendSamples(ctx context.Context, view *liveView, changed <-chan struct{}) error {
	for {
		conf := a.conf.Load()
		// The samples are Pipedrive's.
		if i := slices.IndexFunc(conf.Pipelines, func(p config.Pipeline) bool { return p.Source == "pipedrive" }); i >= 0 {
			a.sendSample(ctx, view, conf.Pipelines[i])
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

func (a *app) sendSample(ctx context.Context, view *liveView, p config.Pipeline) {
	_, body, _ := samples.For(a.sampleType())
	if _, err := send(ctx, p, "http://"+a.doors[hooksDoor].address()+p.Path, samples.Fresh(body, time.Now())); err != nil && ctx.Err() == nil {
		view.note("the sample could not be sent: " + err.Error())
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
