package main

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/delivery"
	"github.com/pipehook/pipehook/core/mirror"
	"github.com/pipehook/pipehook/core/telemetry"
)

// reconciling compares Pipedrive with the local tables and has what differs walk the pipeline.
type reconciling struct {
	a        *app
	metrics  *telemetry.Reconciles
	schedule *mirror.Schedule
	noted    sync.Map // object -> the note of its last comparison
}

func newReconciling(a *app) *reconciling {
	r := &reconciling{a: a, metrics: a.metrics.Reconciles()}
	r.schedule = mirror.NewSchedule(r.timing, r.lastGap, r.compared, func(ctx context.Context) (mirror.Report, error) {
		return r.run(ctx, mirror.ReconcileOptions{})
	}, a.log)
	return r
}

// gap has all compared after webhooks may have been missed, where tables are kept. It returns once that is noted there. Of a
// ban it is called when the ban has ended.
func (r *reconciling) gap(ctx context.Context, since time.Time, why string) error {
	if !comparesTables(r.a.conf.Load()) {
		return nil
	}
	tables := r.a.tables.now()
	if tables == nil {
		return errNoTables
	}
	if err := tables.NoteGap(ctx); err != nil {
		return err
	}
	r.a.log.Warn("webhooks may have been missed; all is compared soon", "since", since, "why", why)
	r.schedule.Wake()
	return nil
}

// lastGap is that which the tables tell of.
func (r *reconciling) lastGap(ctx context.Context) (time.Time, error) {
	if tables := r.a.tables.now(); tables != nil {
		return tables.Gap(ctx)
	}
	return time.Time{}, nil
}

// compared is when all was compared last, as the tables tell.
func (r *reconciling) compared(ctx context.Context) (time.Time, error) {
	if tables := r.a.tables.now(); tables != nil {
		return tables.Compared(ctx)
	}
	return time.Time{}, nil
}

// comparesTables reports whether there are tables, and an account to compare them with.
func comparesTables(conf *config.Config) bool {
	return syncListener(conf) != nil && conf.Pipedrive.Connected()
}

// timing is that of the configuration at the moment; nothing where no tables are kept.
func (r *reconciling) timing() mirror.Timing {
	conf := r.a.conf.Load()
	p := &conf.Pipedrive
	if !comparesTables(conf) {
		return mirror.Timing{Settle: p.Reconcile.Settle, Off: true}
	}
	return mirror.Timing{Every: p.Reconcile.Every, AtStart: p.Reconcile.AtStart && p.Reconcile.Every > 0, Settle: p.Reconcile.Settle}
}

// run compares once. Objects, since, deletes and progress are given; the rest is of the configuration.
func (r *reconciling) run(ctx context.Context, o mirror.ReconcileOptions) (mirror.Report, error) {
	report, err := r.compare(ctx, o)
	if _, busy := errors.AsType[*mirror.Busy](err); !busy && ctx.Err() == nil && !o.DryRun {
		whole := len(o.Objects) == 0 && o.Since.IsZero()
		r.metrics.Done(report.Differences(), whole, err == nil && report.Failed() == nil)
	}
	for i := range report.Objects {
		r.tell(&report.Objects[i], report.DryRun)
	}
	return report, err
}

// tell logs what was found of an object, when something was. What is not worth a word is left out.
func (r *reconciling) tell(o *mirror.ReconciledObject, dry bool) {
	attrs := []any{slog.String("object", o.Object)}
	if dry {
		attrs = append(attrs, slog.Bool("dryRun", true))
	}
	if o.Filled > 0 && !dry {
		r.a.log.Info("the local table was filled for the first time", append(attrs, "records", o.Filled, "took", took(o.TookMS))...)
	}
	if was, known := r.noted.Swap(o.Object, o.Note); o.Note != "" && (!known || was != o.Note) {
		r.a.log.Warn("the account does not have an object, so it is not compared; pipedrive.sync.objects says which are", append(attrs, "why", o.Note)...)
	}
	if o.Differing == 0 && o.Error == "" {
		return
	}
	for _, n := range []struct {
		key string
		n   int
	}{
		{"differing", o.Differing}, {"submitted", o.Submitted}, {"deletes", o.Deletes}, {"pending", o.Pending}, {"duplicates", o.Duplicates}, {"settling", o.Settling},
	} {
		if n.n > 0 {
			attrs = append(attrs, slog.Int(n.key, n.n))
		}
	}
	if o.Error != "" {
		r.a.log.Warn("not all was compared with Pipedrive", append(attrs, "err", o.Error)...)
		return
	}
	r.a.log.Info("compared with Pipedrive", attrs...)
}

func (r *reconciling) compare(ctx context.Context, o mirror.ReconcileOptions) (mirror.Report, error) {
	conf := r.a.conf.Load()
	if err := keepsTables(conf); err != nil {
		return mirror.Report{}, err
	}
	pipeline, err := reconcilePipeline(conf)
	if err != nil {
		return mirror.Report{}, err
	}
	client, me, err := r.a.account.whose(ctx, conf)
	if err != nil {
		return mirror.Report{}, err
	}
	tables := r.a.tables.now()
	if tables == nil {
		return mirror.Report{}, errNoTables
	}
	o.Fields = definitions.fields()
	p, listener := &conf.Pipedrive, syncListener(conf).Name
	o.Settle, o.Overlap, o.Sweep = p.Reconcile.Settle, p.Reconcile.Overlap, p.Reconcile.Deletes
	o.Owner, o.Serving = processName(), !r.a.apart
	o.CompanyID, o.Host = companyOf(me)
	o.LastSeq = r.a.store.LastSeq
	o.Pending = func(ctx context.Context, object string, ids []string) (map[string]bool, error) {
		return r.a.store.PendingFor(ctx, listener, mirror.Source, object, ids)
	}
	o.Unheard = func(ctx context.Context, object string, from, before time.Time, later int64, do func(id string, seq int64)) error {
		return r.a.store.Unheard(ctx, listener, mirror.Source, object, from, before, later, do)
	}
	sub := r.a.tables.subscription(conf)
	o.Events = func(ctx context.Context, seqs []int64) ([]core.Event, error) {
		stored, err := r.a.store.Numbered(ctx, seqs)
		var wanted []core.Event
		for i := range stored {
			if r.wanted(&sub, &stored[i], o.CompanyID) {
				wanted = append(wanted, stored[i])
			}
		}
		return wanted, err
	}
	o.Submit = func(ctx context.Context, ev core.Event) (core.Receipt, error) {
		ev.Pipeline = pipeline
		if err := ev.SetOrigin(core.OriginReconcile); err != nil {
			return core.Receipt{}, err
		}
		return r.a.handler.Submit(ctx, ev)
	}
	return tables.Reconcile(ctx, client, o)
}

// wanted reports whether the tables would have been given a stored event. It names it.
func (r *reconciling) wanted(sub *delivery.Subscription, ev *core.Event, companyID string) bool {
	if err := restore(ev); err != nil {
		r.a.log.Warn("a stored event could not be named again", "event", ev.ID, "listener", sub.Name, "err", err)
		return false
	}
	if of := ev.Facts.CompanyID; of != "" && companyID != "" && of != companyID {
		return false // another account's record may have the same id
	}
	wanted, _ := sub.Decide(ev)
	return wanted
}

// reconcilePipeline is the pipeline that events of comparisons walk.
func reconcilePipeline(conf *config.Config) (string, error) {
	var fitting []string
	for _, p := range conf.Pipelines {
		if p.Source != mirror.Source {
			continue
		}
		if p.Name == conf.Pipedrive.Pipeline {
			return p.Name, nil
		}
		fitting = append(fitting, p.Name)
	}
	if conf.Pipedrive.Pipeline == "" && len(fitting) == 1 {
		return fitting[0], nil
	}
	return "", usagef("set pipedrive.pipeline to the pipeline that Pipedrive's webhooks go to", "it is not known which pipeline the events of a comparison should walk")
}

// now are the tables at the moment, nil when none are kept. A reload may close them while they are used: then that fails.
func (t *localTables) now() *mirror.Mirror {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.mirror
}
