package main

import (
	"context"
	"strconv"
	"time"

	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/ingress"
	"github.com/pipehook/pipehook/core/pipedrive/watch"
	"github.com/pipehook/pipehook/core/telemetry"
)

// pipedriveSource is the source of the pipelines whose answers Pipedrive judges.
const pipedriveSource = "pipedrive"

// guard watches the webhooks that Pipedrive sends. It has the settings of the start.
func (a *app) guard(conf *config.Config) *watch.Watch {
	w := watch.New(watch.Options{
		States: a.store, Every: conf.Pipedrive.Watch.Every, Quiet: conf.Pipedrive.Watch.Quiet, Log: a.log, Now: time.Now,
		OnGap: a.reconciling.gap,
	})
	a.metrics.Pipedrive(func() map[string]telemetry.PipedriveFlow {
		flows := map[string]telemetry.PipedriveFlow{}
		for name, is := range w.Pipelines() {
			flows[name] = telemetry.PipedriveFlow(is)
		}
		return flows
	}, func() map[string]bool {
		active := map[string]bool{}
		for id, h := range w.Webhooks() {
			active[strconv.FormatInt(id, 10)] = h.Active
		}
		return active
	})
	return w
}

// judged tells the guard of an answer that Pipedrive judges.
func (a *app) judged(o ingress.Outcome) {
	if o.Event.Source == pipedriveSource {
		a.watch.Seen(o.Event, o.Status, o.Took)
	}
}

// guardProbe is bearable: webhooks are taken, as far as Pipedrive sends them.
func (a *app) guardProbe() probe {
	return probe{name: "pipedrive", check: func(context.Context) error { return a.watch.Check() }, bearable: func() bool { return true }}
}
