package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/delivery"
	"github.com/pipehook/pipehook/core/ingress"
	"github.com/pipehook/pipehook/core/jshost"
	"github.com/pipehook/pipehook/core/pipedrive/watch"
	"github.com/pipehook/pipehook/core/plughost"
	"github.com/pipehook/pipehook/core/refused"
	"github.com/pipehook/pipehook/core/rotation"
	"github.com/pipehook/pipehook/core/seat"
	"github.com/pipehook/pipehook/core/spool"
	"github.com/pipehook/pipehook/core/store"
	"github.com/pipehook/pipehook/core/telemetry"
	"github.com/pipehook/pipehook/stages"
)

// app is everything that serves, built and joined but not yet running.
type app struct {
	conf        atomic.Pointer[config.Config]
	log         *slog.Logger
	logs        *logs
	seat        *seat.Seat
	crashed     bool // the last process in the seat ended by itself, and not well
	store       *store.Store
	spool       *spool.Spool // before the store
	bound       *bound       // before the spool
	engine      *delivery.Engine
	refusals    *refused.Keeper
	rotation    *rotation.Keeper
	handler     *ingress.Handler
	watch       *watch.Watch
	effects     *effects
	scripts     *scriptSet
	chains      *chainScripts
	plugins     *pluginSet
	tables      *localTables
	account     *accountClient
	reconciling *reconciling
	metrics     *telemetry.Metrics
	reloads     *telemetry.Reloads
	deps        stages.Deps
	doors       map[string]*door
	manager     manager
	stop        context.CancelFunc        // of run
	leaving     atomic.Pointer[successor] // nil unless one takes over
	moved       chan struct{}             // tells the watcher of the scripts that the folders are others
	reloaded    func(renewed []string)
	further     []further
	apart       bool // it takes no webhooks, so it does not say that somebody does, and compares only when it is told to

	deliveries *deliveries
	loading    sync.Mutex // held while scripts or the configuration are taken
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
	request  func(ingress.Outcome)                // then requests are not logged
	attempt  func(ev *core.Event, a core.Attempt) // then attempts are not logged
	broken   func(error)                          // why a file does not compile, after the log has said so
	said     func(jshost.Line)                    // then the scripts' lines are not logged
	reloaded func(renewed []string)               // the listeners that run another version; other things may have changed
}

// parts are what newApp needs besides the configuration.
type parts struct {
	logs    *logs
	see     watchers
	from    *inheritance // nil when nothing was passed to the process
	manager manager
	attach  map[string]*plughost.Attachment // plugins that somebody else has started
	again   bool                            // it served before with this configuration, and must do so again
}

// newApp opens and joins all parts. When it fails nothing stays open. The store comes last of what
// takes time, since a predecessor may have to let go of it first.
func newApp(ctx context.Context, conf *config.Config, p parts) (_ *app, err error) {
	bare := bareDraft(conf)
	if _, err := assemble(conf, bareDeps(conf), bare); err != nil {
		return nil, err // before anything is opened
	}
	a := &app{
		log: p.logs.logger(), logs: p.logs, metrics: telemetry.New(), manager: p.manager,
		doors: map[string]*door{}, moved: make(chan struct{}, 1), reloaded: p.see.reloaded,
	}
	a.reloads = a.metrics.Reloads()
	a.conf.Store(conf)
	defer func() {
		if err != nil {
			err = errors.Join(err, a.close())
		}
	}()
	if err := a.openDoors(conf, p.from); err != nil {
		return nil, err
	}
	host := jshost.Options{Log: a.log, Said: p.see.said}
	if p.see.said != nil {
		host.Log = slog.New(slog.DiscardHandler)
	}
	if p.see.broken == nil {
		p.see.broken = func(error) {}
	}
	a.effects = &effects{log: a.log}
	a.scripts, a.chains = newScriptSet(a.effects, host, a.log), newChainScripts(a.effects, host, a.log)
	a.scripts.told, a.chains.told = p.see.broken, p.see.broken
	subs, _, _ := a.scripts.load(conf)
	if err := a.openStore(ctx, conf, p.from); err != nil {
		return nil, err
	}
	a.effects.kv = a.store // what plugins ask for at their start
	a.account = &accountClient{states: a.store, log: a.log}
	a.account.use(conf)
	a.effects.account, a.effects.echoes = a.account, a.effects.newLedger(conf)
	if err := a.openPlugins(ctx, conf, bare.plugins, p); err != nil {
		return nil, err
	}
	a.tables = &localTables{log: a.log}
	next, err := a.tables.prepare(ctx, conf)
	if err != nil {
		return nil, err
	}
	a.tables.use(next)
	a.reconciling = newReconciling(a)
	if a.spool, err = spool.Open(a.spoolOptions(conf, a.seat.Dir)); err != nil {
		return nil, err
	}
	a.bound = &bound{next: a.spool, pending: a.store.Pending, log: a.log}
	a.bound.limit(conf.Store.MaxPending)
	a.metrics.Spool(func() (int64, time.Time) {
		state := a.spool.State()
		return state.Bytes, state.Since
	})
	a.engine = delivery.New(delivery.Options{
		Store: a.store, Journal: a.seat, Restore: restore, Log: a.log, Quiet: p.see.attempt != nil,
		Observe: func(ev *core.Event, at core.Attempt) {
			a.metrics.Attempt(at)
			if p.see.attempt != nil {
				p.see.attempt(ev, at)
			}
		},
	})
	a.metrics.Listeners(a.standing, a.store.Shards)
	a.effects.routes, a.effects.commit = a.engine, a.bound // before anything runs
	a.deliveries = newDeliveries(a.engine, a.log)
	a.store.Attach(a.engine)
	a.rotation = rotation.NewKeeper(a.store, a.rotated, a.log)
	a.deps = stages.Deps{
		Log: a.log, Now: time.Now, Store: a.spool, Committer: a.bound, Deliverer: a.engine,
		Resolve:              func(path string) string { return beside(conf, path) },
		AuthenticationFailed: a.metrics.AuthenticationFailed, JudgeCredential: a.judgeCredential,
		Echoes: a.effects.echoes, EchoSeen: a.metrics.Echo, TablesKept: a.tablesKept,
	}
	chain := a.chains.draft(conf, a.plugins.running)
	hooks, err := assemble(conf, a.deps, chain)
	chain.use(0) // there was none before
	if err != nil {
		return nil, err
	}
	a.refusals, a.watch = a.newRefusals(), a.guard()
	a.handler = a.newHandler(conf, hooks, p.see)
	a.doors[hooksDoor].handle(a.handler)
	a.doors[adminDoor].handle(a.adminHandler(conf))
	subs = append(append(subs, a.plugins.subscriptions(conf)...), a.tables.subscriptions(conf)...)
	a.engine.Subscribe(subs)
	a.tellOrphans(ctx)
	return a, nil
}

// openDoors takes the sockets that were passed and opens those that were not.
func (a *app) openDoors(conf *config.Config, from *inheritance) error {
	for _, d := range []struct{ name, address string }{{hooksDoor, conf.Server.Listen}, {adminDoor, conf.Admin.Listen}} {
		at, err := openSocket(from, d.name, d.address, doorKeys[d.name])
		if err != nil {
			return err
		}
		a.doors[d.name] = newDoor(at, a.log, func() ingress.Leave { return a.leave(d.name) })
	}
	if err := checkExposed(a.doors[adminDoor].socket(), conf); err != nil {
		return &usageError{err: err}
	}
	return from.rest()
}

var doorKeys = map[string]string{hooksDoor: "server.listen", adminDoor: "admin.listen"}

func (a *app) newHandler(conf *config.Config, hooks []ingress.Hook, see watchers) *ingress.Handler {
	log := a.log
	if see.request != nil {
		log = slog.New(slog.DiscardHandler)
	}
	limits := limitsOf(conf)
	return ingress.New(ingress.Options{
		MaxBody: limits.MaxBody, AckWithin: limits.AckWithin, TrustedProxies: limits.TrustedProxies, Log: log,
		Observe: func(o ingress.Outcome) {
			a.metrics.Request(o.Event.Pipeline, o.Code, o.Took)
			a.keepRefused(o)
			a.judged(o)
			if see.request != nil {
				see.request(o)
			}
		},
	}, hooks)
}

func limitsOf(conf *config.Config) ingress.Limits {
	return ingress.Limits{MaxBody: int64(conf.Server.MaxBody), AckWithin: conf.Server.AckWithin, TrustedProxies: conf.Server.TrustedProxies}
}

func (a *app) adminHandler(conf *config.Config) http.Handler {
	mux := adminHandler(conf.Admin.Token, a.probes(), a.metrics.Handler(), a.plugins.states, a.reconciling)
	if app := namedApp(conf, a.store); app != nil {
		mux.Handle("GET "+callbackPath, &callback{app: app, states: a.store, log: a.log, now: time.Now})
	}
	return ownSite(mux)
}

// openStore takes a seat and opens the store, when it is this process's turn.
func (a *app) openStore(ctx context.Context, conf *config.Config, in *inheritance) (err error) {
	takesOver := in != nil && in.from != nil && !sharedStore(conf)
	if takesOver {
		if err := in.from.turn(ctx); err != nil {
			return err
		}
	}
	if a.seat, err = seat.Take(beside(conf, conf.Spool.Dir), store.Identity(storeURL(conf))); err != nil {
		return &hinted{fmt.Errorf("spool.dir: %w", err), "name a folder that pipehook may write to with spool.dir"}
	}
	last, err := keepCrash(a.seat.Dir)
	if err != nil {
		return fmt.Errorf("keep what a crash says: %w", err)
	}
	if a.crashed = last != ""; a.crashed {
		a.log.Error("the last process here crashed; what it said is kept", "file", filepath.Join(a.seat.Dir, crashFile+".last"), "said", last)
	}
	opts := store.Options{
		URL: storeURL(conf), Keep: keepOf(conf), Log: a.log, Replica: a.seat.Number, Name: processName(),
		Away: true, Ready: a.countCrashes,
	}
	a.store, err = store.Open(ctx, opts)
	if takesOver && isHeld(err) {
		a.store, err = openReleased(ctx, opts)
	}
	return err
}

// openReleased opens a store that a predecessor has let go of as its last act: the system may need a
// moment more.
func openReleased(ctx context.Context, opts store.Options) (*store.Store, error) {
	ctx, cancel := context.WithTimeout(ctx, storeWithin)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		s, err := store.Open(ctx, opts)
		if !isHeld(err) {
			return s, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, err
		}
	}
}

// isHeld reports whether another process holds the store.
func isHeld(err error) bool {
	_, held := errors.AsType[*store.HeldError](err)
	return held
}

// processName is how people tell the processes on one database apart.
func processName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s:%d", host, os.Getpid())
}

// sharedStore reports whether several processes may use the store at once.
func sharedStore(conf *config.Config) bool {
	return !strings.HasPrefix(string(conf.Store.URL), "sqlite:")
}

// run serves until ctx ends, then answers what it has taken and stops. It returns the successor,
// when one takes over: it must be told once a is closed.
func (a *app) run(ctx context.Context) (*successor, error) {
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	a.stop = stop
	defer context.AfterFunc(ctx, func() {
		a.log.Info("stopping; a second signal ends it at once")
		a.manager.tell(stateStopping)
		if at := a.doors[hooksDoor].socket(); at != nil && at.managed {
			a.quiesce() // whoever connects from now on waits for the next process
		}
		stop()
	})()
	var g core.Group
	g.Add("store", a.store)
	g.Add("refused requests", a.refusals)
	g.Add("spool", a.spool)
	g.Add("left events", core.ServiceFunc(a.adopt))
	g.Add("plugins", a.plugins)
	g.Add("delivery", a.deliveries)
	g.Add("scripts", core.ServiceFunc(a.watchScripts))
	g.Add("rotation", a.rotation)
	if !a.apart {
		g.Add("webhook watch", a.watch)
		g.Add("comparisons", a.reconciling.schedule)
	}
	g.Add("doors", core.ServiceFunc(a.runDoors))
	for _, f := range a.further {
		g.Add(f.name, f.service)
	}
	g.Add("ready", core.ServiceFunc(func(ctx context.Context) error {
		a.log.Info("pipehook serves", "listen", a.doors[hooksDoor].address(), "version", currentVersion())
		a.manager.tell(stateReady)
		<-ctx.Done()
		return nil
	}))
	err := g.RunWithin(running, func() time.Duration {
		conf := a.conf.Load()
		a.deliveries.bound(attemptsWithin(conf))
		return conf.Server.ShutdownGrace
	})
	next := a.leaving.Load()
	if next == nil {
		a.log.Info("pipehook has stopped")
	}
	return next, err
}

// runDoors serves at both doors, and leaves them at the same time.
func (a *app) runDoors(ctx context.Context) error {
	ctx, end := context.WithCancel(ctx)
	defer end()
	errs := make(chan error, len(a.doors))
	for _, d := range a.doors {
		go func() { // owned here: runDoors waits for all
			err := d.Run(ctx)
			end() // one that breaks ends the other
			errs <- err
		}()
	}
	var all []error
	for range a.doors {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
}

// close releases what newApp opened. It is safe after run and on a half-made app.
func (a *app) close() error {
	var errs []error
	for _, d := range a.doors {
		errs = append(errs, d.close())
	}
	if a.plugins != nil {
		errs = append(errs, a.plugins.close())
	}
	if a.chains != nil {
		a.chains.close()
	}
	if a.scripts != nil {
		a.scripts.close()
	}
	if a.tables != nil {
		errs = append(errs, a.tables.close())
	}
	if a.store != nil {
		errs = append(errs, a.store.Close())
	}
	if a.seat != nil {
		errs = append(errs, a.seat.Close())
	}
	return errors.Join(errs...)
}
