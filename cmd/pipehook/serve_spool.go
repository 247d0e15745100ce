package main

import (
	"context"
	"fmt"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/seat"
	"github.com/pipehook/pipehook/core/spool"
	"github.com/pipehook/pipehook/core/store"
)

// lookForLeft is how often a process looks for events that another left on this machine.
const lookForLeft = 10 * time.Second

func (a *app) spoolOptions(conf *config.Config, dir string) spool.Options {
	return spool.Options{Dir: dir, Store: a.store, Restore: restore, Log: a.log, Limits: spoolLimits(conf)}
}

func spoolLimits(conf *config.Config) spool.Limits {
	return spool.Limits{After: conf.Spool.After, MaxBytes: int64(conf.Spool.MaxSize)}
}

// adopt gives the store what processes on this machine left that no longer run, and points out what
// was left for another store. It is a service.
func (a *app) adopt(ctx context.Context) error {
	tick := time.NewTicker(lookForLeft)
	defer tick.Stop()
	told := map[string]bool{}
	var trouble core.Trouble
	for {
		conf := a.conf.Load()
		mine := store.Identity(storeURL(conf))
		err := seat.EachFree(beside(conf, conf.Spool.Dir), func(folder, of string) error {
			if of != "" && of != mine {
				a.tellForeign(folder, of, told)
				return nil
			}
			left, err := spool.Open(a.spoolOptions(conf, folder))
			if err != nil {
				return err
			}
			return left.Drain(ctx)
		})
		if ctx.Err() == nil {
			trouble.Note(a.log, time.Now(), err, "events of a process that no longer runs could not all be stored; trying again", "all events of processes that no longer run are stored")
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// tellForeign says once that events wait for a store that is not this process's.
func (a *app) tellForeign(folder, of string, told map[string]bool) {
	if told[folder] || !spool.Holds(folder) {
		return
	}
	told[folder] = true
	a.log.Warn("events wait for another store; they are stored when pipehook serves that one with this spool.dir", "dir", folder, "store", of)
}

// waits says what the spool holds, for /readyz; "" when the store takes events.
func (a *app) waits() string {
	state := a.spool.State()
	if state.Since.IsZero() {
		return ""
	}
	return fmt.Sprintf("%d bytes of events wait since %s: %v", state.Bytes, state.Since.UTC().Format(time.RFC3339), state.Cause)
}

// storeAnswers is how long the store may take to answer. Whoever asks for readiness waits for a
// second at most, and must learn in that time that webhooks are taken all the same.
const storeAnswers = 300 * time.Millisecond

// answers reports whether the store does.
func (a *app) answers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, storeAnswers)
	defer cancel()
	err := a.store.Ping(ctx)
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("it did not answer within %s: %w", storeAnswers, err)
	}
	return err
}

// probes are what readiness depends on. A store that is away does not make the process less able to
// take webhooks, as long as the spool does.
func (a *app) probes() []probe {
	return []probe{
		{name: "store", check: a.answers, bearable: func() bool { return a.spool.State().Full == nil }},
		{name: "spool", check: func(context.Context) error {
			if text := a.waits(); text != "" {
				return fmt.Errorf("%s", text)
			}
			return nil
		}, bearable: func() bool { return a.spool.State().Full == nil }},
		a.guardProbe(),
		{name: "backlog", check: func(context.Context) error { return a.bound.check() }, bearable: func() bool { return false }},
	}
}
