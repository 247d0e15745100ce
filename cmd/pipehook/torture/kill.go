package main

import (
	"context"
	"fmt"
	"syscall"
	"time"
)

// killAtRandom is F1.
func killAtRandom(ctx context.Context, r *round) error {
	p, err := r.newProject()
	if err != nil {
		return err
	}
	least, most := 100*time.Millisecond, 2*time.Second
	if r.short {
		least, most = 20*time.Millisecond, 200*time.Millisecond
	}
	r.load.shared = true
	r.load.begin(ctx, p)
	var slowest time.Duration
	for range r.kills {
		began := time.Now()
		v, err := r.start(ctx, p, r.readyWithin())
		if err != nil {
			return err
		}
		slowest = max(slowest, time.Since(began))
		if err := pause(ctx, r.between(least, most)); err != nil {
			return err
		}
		if !v.alive() {
			return fmt.Errorf("it ended by itself; it said: %v", v.sayings())
		}
		v.kill()
	}
	v, err := r.start(ctx, p, r.readyWithin())
	if err != nil {
		return err
	}
	r.count("%d kills, ready after %s at most", r.kills, slowest.Round(time.Millisecond))
	return r.end(ctx, v)
}

// bySignal is F3.
func bySignal(ctx context.Context, r *round) error {
	p, err := r.newProject()
	if err != nil {
		return err
	}
	stops, hangups := max(3, r.kills/20), 0
	r.rules.statuses[503] = true // to who is still being answered when the store has closed
	r.load.shared = true
	r.load.begin(ctx, p)
	var slowest time.Duration
	hurried, before := true, 0
	for range stops {
		v, err := r.start(ctx, p, r.readyWithin())
		if err != nil {
			return err
		}
		if err := r.load.more(ctx, 2*workers, 20*time.Second); err != nil { // each has sent what it had open
			return err
		}
		if n := r.load.duplicates() - before; n > 0 && !hurried {
			r.fail("I5", "a stop stored %d events without answering their senders", n)
		}
		before = r.load.duplicates()
		for range r.rng.IntN(3) {
			hangups++
			if err := v.signal(syscall.SIGHUP); err != nil {
				return err
			}
			if err := pause(ctx, r.between(0, 100*time.Millisecond)); err != nil {
				return err
			}
		}
		first := []syscall.Signal{syscall.SIGTERM, syscall.SIGINT}[r.rng.IntN(2)]
		began := time.Now()
		if err := v.signal(first); err != nil {
			return err
		}
		if hurried = r.rng.IntN(3) == 0; hurried {
			if err := pause(ctx, r.between(0, 100*time.Millisecond)); err != nil {
				return err
			}
			_ = v.signal(first) // it may have ended
		}
		if err := v.ended(ctx, 12*time.Second); err != nil {
			return err
		}
		slowest = max(slowest, time.Since(began))
		if code := v.cmd.ProcessState.ExitCode(); code != 0 && v.by == 0 {
			r.fail("I5", "a stop ended with exit code %d; it said: %v", code, v.sayings())
		}
	}
	v, err := r.start(ctx, p, r.readyWithin())
	if err != nil {
		return err
	}
	r.count("%d stops in %s at most, %d reloads", stops, slowest.Round(time.Millisecond), hangups)
	return r.end(ctx, v)
}
