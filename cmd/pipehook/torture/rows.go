package main

import (
	"context"
	"time"
)

// rows is the fault matrix, in the order in which it is run.
var rows = []row{
	{name: "F1", title: "kill -9 under load, at random", run: killAtRandom},
	{name: "F2", title: "kill -9 at named points", run: killAtPoints},
	{name: "F3", title: "stopped and reloaded by signals under load", run: bySignal},
	{name: "F11", title: "a second process on the same SQLite file", stores: []string{sqlite}, run: secondProcess},
	{name: "F35", title: "bodies cut short, and clients that go", run: clientsThatGo},
	{name: "F32", title: "a storm of copies", run: copyStorm},
	{name: "F27", title: "an event that ends what runs it", run: poison},
	{name: "F28", title: "reloads of damaged and wrong configurations", stores: []string{sqlite}, run: brokenReloads},
	{name: "F29", title: "passwords and listeners change under load", run: reloads},
	{name: "F30", title: "a handler that is slower than what comes", run: slowHandler},
	{name: "F31", title: "a bound on the backlog", run: backlog},
	{name: "F33", title: "tries that come after newer events", run: latecomers},
	{name: "F13", title: "the database ends connections", stores: []string{postgres}, run: backendsDie},
	{name: "F14", title: "a commit whose outcome is not known", stores: []string{postgres}, run: unknownOutcome},
	{name: "F15", title: "a bad network to the database", stores: []string{postgres}, run: badNetwork},
	{name: "F16", title: "processes that share a database are killed", stores: []string{postgres}, run: replicasDie},
	{name: "F17", title: "a process that was given up goes on", stores: []string{postgres}, run: zombies},
	{name: "F18", title: "the process that deletes for all dies", stores: []string{postgres}, run: dutyDies},
	{name: "F12", title: "the database is restarted", stores: []string{postgres}, run: databaseRestarts},
	{name: "F20", title: "events that end a plugin", run: pluginCrashes},
	{name: "F21", title: "a plugin hangs", run: pluginHangs},
	{name: "F22", title: "a plugin babbles and is late, and files that are none", run: pluginBabbles},
	{name: "F24", title: "the host dies, its plugin stays", run: hostDies},
}

// readyWithin is how soon a process must serve after the one before it was killed.
func (r *round) readyWithin() time.Duration {
	if r.store == sqlite {
		return 2 * time.Second
	}
	return 5 * time.Second
}

// end ends a row in which one process is left: what was sent is acknowledged, what was stored is
// delivered, the process stops as it should, and the ledgers agree with the store.
func (r *round) end(ctx context.Context, left ...*victim) error {
	r.load.finish(20 * time.Second)
	if err := r.drain(ctx, 40*time.Second); err != nil {
		return err
	}
	for _, v := range left {
		if err := r.stop(ctx, v); err != nil {
			return err
		}
	}
	if err := r.checkLeft(); err != nil {
		return err
	}
	return r.verify(ctx)
}
