package main

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/ingress"
	"github.com/pipehook/pipehook/core/pipedrive/hooks"
	"github.com/pipehook/pipehook/core/pipedrive/watch"
	"github.com/pipehook/pipehook/core/telemetry"
)

// pipedriveSource is the source of the pipelines whose answers Pipedrive judges.
const pipedriveSource = "pipedrive"

// guard watches the webhooks that Pipedrive sends, always as the configuration says that holds.
func (a *app) guard() *watch.Watch {
	opts := watch.Options{
		States: a.store, API: a, Log: a.log, Now: time.Now,
		Every: func() time.Duration {
			if p := &a.conf.Load().Pipedrive; p.Connected() {
				return p.Watch.Every
			}
			return 0
		},
		Quiet: func() float64 { return a.conf.Load().Pipedrive.Watch.Quiet },
		OnGap: a.reconciling.gap, Has: func(pipeline string) bool {
			return slices.ContainsFunc(a.conf.Load().Pipelines, func(p config.Pipeline) bool { return p.Name == pipeline && p.Source == pipedriveSource })
		},
	}
	w := watch.New(opts)
	a.metrics.Pipedrive(func() map[string]telemetry.PipedriveFlow {
		flows := map[string]telemetry.PipedriveFlow{}
		for name, is := range w.Pipelines() {
			flows[name] = telemetry.PipedriveFlow{Failed: is.Failed, Suspected: is.Suspected, Last: is.Last}
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

// Webhooks is part of watch.API.
func (a *app) Webhooks(ctx context.Context) (whose string, all []watch.Webhook, err error) {
	conf := a.conf.Load()
	client, me, err := a.account.whose(ctx, conf)
	if err != nil {
		return "", nil, err
	}
	has, err := client.Webhooks(ctx)
	if err != nil {
		return "", nil, err
	}
	all = make([]watch.Webhook, len(has))
	for i := range has {
		is := hookOf(&has[i])
		all[i] = watch.Webhook{
			ID: is.ID, Name: is.Name, Event: is.Event.String(), URL: is.URL, Pipeline: pipelineAt(conf, is.URL),
			Active: is.Active, LastStatus: is.LastStatus, LastDelivery: is.LastDelivery,
		}
	}
	whose = fmt.Sprintf("company %d, user %d", me.CompanyID, me.ID)
	if conf.Pipedrive.APIToken == "" { // an app sees no webhooks but its own
		whose += ", app " + conf.Pipedrive.OAuth.ClientID
	}
	return whose, all, nil
}

// pipelineAt is the pipeline that a webhook's URL leads to; "" for none of this configuration's.
func pipelineAt(conf *config.Config, target string) string {
	u, err := url.Parse(target)
	if err != nil {
		return ""
	}
	public := strings.TrimRight(conf.Pipedrive.PublicURL, "/")
	for _, p := range conf.Pipelines {
		if p.Source == pipedriveSource && (public == "" && u.Path == p.Path || public != "" && hooks.SameURL(target, public+p.Path)) {
			return p.Name
		}
	}
	return ""
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
