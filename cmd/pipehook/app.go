package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/delivery"
	"github.com/pipehook/pipehook/core/ingress"
	"github.com/pipehook/pipehook/core/jshost"
	"github.com/pipehook/pipehook/core/seat"
	"github.com/pipehook/pipehook/core/store"
	"github.com/pipehook/pipehook/core/telemetry"
	"github.com/pipehook/pipehook/stages"
)

// app is everything that serves, built and joined but not yet running.
type app struct {
	conf    atomic.Pointer[config.Config]
	log     *slog.Logger
	seat    *seat.Seat
	store   *store.Store
	engine  *delivery.Engine
	handler *ingress.Handler
	scripts *scriptSet
	metrics *telemetry.Metrics
	deps    stages.Deps

	hooksAt, adminAt net.Listener
	reloaded         func()
	further          []further
}

// further is a service that runs beside the usual ones.
type further struct {
	name    string
	service core.Service
}

// also adds a service, which starts last and stops first.
func (a *app) also(name string, s core.Service) { a.further = append(a.further, further{name, s}) }

// watchers see what happens, for the live view; any may be nil.
type watchers struct {
	request  func(ingress.Outcome) // then requests are not logged
	attempt  func(ev *core.Event, a core.Attempt)
	said     func(jshost.Line) // then the scripts' lines are not logged
	reloaded func()
}

// newApp opens and joins all parts. When it fails nothing stays open.
func newApp(ctx context.Context, conf *config.Config, log *slog.Logger, see watchers) (_ *app, err error) {
	if _, err := assemble(conf, bareDeps(conf)); err != nil {
		return nil, err // before anything is opened
	}
	a := &app{log: log, metrics: telemetry.New(), reloaded: see.reloaded}
	a.conf.Store(conf)
	defer func() {
		if err != nil {
			err = errors.Join(err, a.close())
		}
	}()
	if a.hooksAt, err = listen(conf.Server.Listen, "server.listen"); err != nil {
		return nil, err
	}
	if conf.Admin.Listen != "" {
		if a.adminAt, err = listen(conf.Admin.Listen, "admin.listen"); err != nil {
			return nil, err
		}
	}
	if a.seat, err = seat.Take(beside(conf, conf.Spool.Dir)); err != nil {
		return nil, &hinted{fmt.Errorf("spool.dir: %w", err), "name a folder that pipehook may write to with spool.dir"}
	}
	a.store, err = store.Open(ctx, store.Options{
		URL: storeURL(conf), Retention: conf.Store.Retention, Log: log, Replica: a.seat.Number, Name: processName(),
	})
	if err != nil {
		return nil, err
	}
	if err := a.countCrashes(ctx); err != nil {
		return nil, err
	}
	a.metrics.Waiting(a.store.Reader().Waiting)
	a.engine = delivery.New(delivery.Options{
		Store: a.store, Journal: a.seat, Restore: restore, Log: log,
		Observe: func(ev *core.Event, at core.Attempt) {
			a.metrics.Attempt(at)
			if see.attempt != nil {
				see.attempt(ev, at)
			}
		},
	})
	a.store.Attach(a.engine)
	host := jshost.Options{Log: log, Said: see.said}
	if see.said != nil {
		host.Log = slog.New(slog.DiscardHandler)
	}
	a.scripts = newScriptSet(host, log)
	a.deps = stages.Deps{
		Log: log, Now: time.Now, Store: a.store, Committer: a.store, Deliverer: a.engine,
		Resolve:              func(path string) string { return beside(conf, path) },
		AuthenticationFailed: a.metrics.AuthenticationFailed,
	}
	hooks, err := assemble(conf, a.deps)
	if err != nil {
		return nil, err
	}
	hookLog := log
	if see.request != nil {
		hookLog = slog.New(slog.DiscardHandler)
	}
	a.handler = ingress.New(ingress.Options{
		MaxBody: int64(conf.Server.MaxBody), AckWithin: conf.Server.AckWithin, TrustedProxies: conf.Server.TrustedProxies, Log: hookLog,
		Observe: func(o ingress.Outcome) {
			a.metrics.Request(o.Event.Pipeline, o.Code, o.Took)
			if see.request != nil {
				see.request(o)
			}
		},
	}, hooks)
	subs, _ := a.scripts.load(conf)
	a.engine.Subscribe(subs)
	a.tellOrphans(ctx, subs)
	return a, nil
}

// countCrashes tells the store which attempts the last process in this seat did not live to end.
func (a *app) countCrashes(ctx context.Context) error {
	crashes := make([]store.Crash, len(a.seat.Left))
	for i, left := range a.seat.Left {
		crashes[i] = store.Crash{DeliveryKey: left.DeliveryKey, Number: left.Number}
		a.log.Warn("the last process ended while this attempt ran", "listener", left.Listener, "seq", left.Seq, "attempt", left.Number)
	}
	if err := a.store.Crashed(ctx, crashes); err != nil {
		return err
	}
	a.seat.Forget()
	return nil
}

// processName is how people tell the processes on one database apart.
func processName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s:%d", host, os.Getpid())
}

func listen(address, key string) (net.Listener, error) {
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return nil, &hinted{fmt.Errorf("%s: %w", key, err), "stop what listens there, or choose another address with " + key}
	}
	return ln, nil
}

// run serves until ctx ends, then answers what it has taken and stops.
func (a *app) run(ctx context.Context) error {
	conf := a.conf.Load()
	grace := conf.Server.ShutdownGrace
	var g core.Group
	g.Add("store", a.store)
	g.Add("delivery", a.engine)
	g.Add("scripts", core.ServiceFunc(func(ctx context.Context) error {
		return jshost.Watch(ctx, scriptDirs(conf), a.loadScripts)
	}))
	if a.adminAt != nil {
		probes := []probe{{"store", a.store.Ping}}
		g.Add("admin", ingress.Serve(a.adminAt, adminHandler(conf.Admin.Token, probes, a.metrics.Handler()), a.log, grace))
	}
	g.Add("ingress", ingress.Serve(a.hooksAt, a.handler, a.log, grace))
	for _, f := range a.further {
		g.Add(f.name, f.service)
	}
	a.log.Info("pipehook serves", "listen", a.hooksAt.Addr().String(), "version", currentVersion())
	err := g.Run(ctx, grace)
	a.log.Info("pipehook has stopped")
	return err
}

// loadScripts takes the scripts as they are now.
func (a *app) loadScripts() {
	subs, changed := a.scripts.load(a.conf.Load())
	a.engine.Subscribe(subs)
	if changed && a.reloaded != nil {
		a.reloaded()
	}
}

// close releases what newApp opened. It is safe after run and on a half-made app.
func (a *app) close() error {
	var errs []error
	for _, ln := range []net.Listener{a.hooksAt, a.adminAt} {
		if ln == nil {
			continue
		}
		if err := ln.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if a.store != nil {
		errs = append(errs, a.store.Close())
	}
	if a.seat != nil {
		errs = append(errs, a.seat.Close())
	}
	return errors.Join(errs...)
}

// tellOrphans says which stored deliveries wait for listeners that there are not.
func (a *app) tellOrphans(ctx context.Context, subs []delivery.Subscription) {
	waiting, err := a.store.Reader().Waiting(ctx)
	if err != nil {
		return // the store says so itself when it matters
	}
	for _, sub := range subs {
		delete(waiting, sub.Name)
	}
	for listener, n := range waiting {
		a.log.Warn("deliveries wait for a listener that does not exist", "listener", listener, "count", n)
	}
}
