package main

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/delivery"
	"github.com/pipehook/pipehook/core/ingress"
	"github.com/pipehook/pipehook/stages/dispatch"
)

// A plain stop goes from the front to the back: no requests, then no attempts, then no store. But
// where another process will answer whoever connects meanwhile, those wait, and they must not wait
// for a listener that takes its time. Then the attempts end first, while requests are still
// answered: what is stored without them is found by the other process.

// unanswered bounds how long requests that are not complete may keep others waiting.
const unanswered = 2 * time.Second

// deliveries runs the engine, and can end it before its time.
type deliveries struct {
	engine  *delivery.Engine
	log     *slog.Logger
	once    sync.Once
	quit    chan struct{}
	ended   chan struct{}
	overdue chan struct{} // closed when the stop waits no longer
	left    atomic.Bool   // attempts that still run are not waited for
}

func newDeliveries(engine *delivery.Engine, log *slog.Logger) *deliveries {
	return &deliveries{engine: engine, log: log, quit: make(chan struct{}), ended: make(chan struct{}), overdue: make(chan struct{})}
}

// Run runs the engine until ctx ends or quiesce is called, and returns when ctx has ended. Attempts
// that run then are waited for as long as bound allows.
func (d *deliveries) Run(ctx context.Context) error {
	running, end := context.WithCancel(ctx)
	defer end()
	failed := make(chan error, 1)
	go func() { // ends with the engine, which is told to below
		failed <- d.engine.Run(running)
		close(d.ended)
	}()
	select {
	case <-d.quit:
		end()
		<-ctx.Done()
	case <-ctx.Done():
	case err := <-failed:
		return err
	}
	if d.left.Load() {
		return nil
	}
	select {
	case err := <-failed:
		return err
	case <-d.overdue:
		d.leave()
		return nil
	}
}

// bound says that a stop has begun, and how long it may wait for attempts.
func (d *deliveries) bound(within time.Duration) {
	time.AfterFunc(within, func() { close(d.overdue) })
}

// leave no longer waits for the attempts that run.
func (d *deliveries) leave() {
	if !d.left.Swap(true) {
		d.log.Warn("attempts that still run are left behind; they will be made again")
	}
}

// quiesce begins no more attempts and waits for those that run, for a while.
func (d *deliveries) quiesce(within time.Duration) {
	d.once.Do(func() { close(d.quit) })
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-d.ended:
		return
	case <-d.overdue:
	case <-timer.C:
	}
	d.leave()
}

// attemptsWithin is how much of the grace period attempts may take, as requests may: the rest is
// for what has to be written after them.
func attemptsWithin(conf *config.Config) time.Duration { return conf.Server.ShutdownGrace * 4 / 5 }

// quiesce ends the attempts before the requests, where no answer depends on an attempt.
func (a *app) quiesce() {
	conf := a.conf.Load()
	if needsAttempts(conf) {
		return
	}
	a.loading.Lock() // no listener may be added to an engine that is about to end
	defer a.loading.Unlock()
	a.deliveries.quiesce(attemptsWithin(conf))
}

// needsAttempts reports whether some pipeline's events reach listeners in this process or not at
// all, or are answered after the attempt.
func needsAttempts(conf *config.Config) bool {
	for _, p := range conf.Pipelines {
		stored := false
		for _, s := range p.Stages {
			stored = stored || s.Use == "persist"
			if s.Use != "dispatch" {
				continue
			}
			c := dispatch.Config{Mode: "async"}
			if err := s.Decode(&c); err != nil || !stored || c.Mode == "inline" {
				return true
			}
		}
	}
	return false
}

// leave is how a door is left at this moment.
func (a *app) leave(name string) ingress.Leave {
	conf := a.conf.Load()
	how := ingress.Leaving(conf.Server.ShutdownGrace)
	waited := a.leaving.Load() != nil || a.doors[hooksDoor].socket().managed
	if name == adminDoor || waited && !needsAttempts(conf) {
		how.Cut = min(how.Cut, how.Linger+unanswered)
	}
	return how
}
