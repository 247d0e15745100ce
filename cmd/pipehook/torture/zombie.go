package main

import (
	"cmp"
	"context"
	"fmt"
	"os/exec"
	"slices"
	"syscall"
	"time"

	"github.com/pipehook/pipehook/cmd/pipehook/internal/program"
)

// lease is how long a process holds its shards without a sign of life, as docs/delivery.md says.
const lease = 15 * time.Second

// zombies is F17: a process is frozen in the middle of an attempt until others hold its shards. When
// it goes on, its result is refused, and it begins nothing that others have.
func zombies(ctx context.Context, r *round) error {
	r.rules.listeners = []string{"lasting", "ordered"}
	r.load.rate, r.load.shared, r.rules.several = 20, true, true
	r.load.client.Timeout = time.Second // as long as a frozen process holds its senders
	rs, err := r.newReplicas(ctx, nil)
	defer rs.close()
	if err != nil {
		return err
	}
	hold, times := 2*lease, max(1, int(r.duration/(2*time.Minute)))
	if r.short {
		hold = lease + time.Second
	}
	r.load.begin(ctx, rs.projects...)
	var slowest time.Duration
	for n := range times {
		if n > 0 {
			if err := rs.awaitShares(ctx); err != nil {
				return err
			}
		}
		took, err := rs.freeze(ctx, r.rng.IntN(len(rs.victims)), hold)
		if err != nil {
			return err
		}
		slowest = max(slowest, took)
	}
	r.count("%d times frozen for %s or more, taken over in %s at most, each late result refused", times, hold, slowest.Round(100*time.Millisecond))
	return r.end(ctx, rs.victims...)
}

// freeze freezes a process in an attempt, until its shards are others', and lets it go on. Its
// listener is paused meanwhile, so that the delivery is pending when the late result comes: only
// the token says then that it does not count.
func (rs *replicas) freeze(ctx context.Context, i int, hold time.Duration) (took time.Duration, err error) {
	r, v := rs.r, rs.victims[i]
	event, err := r.freezeRunning(ctx, v, "lasting")
	if err != nil {
		return 0, err
	}
	r.load.aim(rs.others(i)...)
	if took, err = rs.loses(ctx, i, hold); err != nil {
		_ = v.signal(syscall.SIGCONT) // what is frozen could not even be stopped
		return took, err
	}
	v.frozen[len(v.frozen)-1][1] = time.Now()
	if err := v.signal(syscall.SIGCONT); err != nil {
		return took, err
	}
	err = until(ctx, "the process that was frozen ends its attempt", 10*time.Second, func() bool { return r.completed(event, "lasting", v.number) })
	if err == nil {
		err = rs.outlasts(ctx, i)
	}
	if err != nil {
		return took, err
	}
	query := "SELECT count(*) FROM deliveries d JOIN events e ON e.seq = d.event_seq WHERE d.listener = 'lasting' AND e.id = '" + event + "' AND d.state = "
	if n, err := r.countRows(ctx, query+"0"); err != nil || n != 1 {
		r.fail("I3", "the late result of event %s was taken from a process that had lost its shard (%v)", event, err)
	}
	if err := rs.listener(ctx, i, "resume", "lasting"); err != nil {
		return took, err
	}
	err = until(ctx, "the attempt is made by whom it is now for", 20*time.Second, func() bool {
		n, err := r.countRows(ctx, query+"1")
		return err == nil && n == 1
	})
	if err != nil {
		return took, err
	}
	r.load.aim(rs.projects...)
	return took, r.load.more(ctx, 2*workers, 20*time.Second)
}

// loses waits until others hold the shards of a frozen process, and it has been frozen for so long.
func (rs *replicas) loses(ctx context.Context, i int, hold time.Duration) (took time.Duration, err error) {
	began := time.Now()
	if err := rs.listener(ctx, i, "pause", "lasting", "--reason", "a process is frozen"); err != nil {
		return 0, err
	}
	number := rs.projects[i].replica()
	var failed error
	err = until(ctx, "a frozen process has lost its shards", 2*takeoverWithin, func() bool {
		var left int
		left, failed = rs.shards(ctx, number)
		return failed != nil || left == 0
	})
	if err := cmp.Or(failed, err); err != nil {
		return 0, err
	}
	if took = time.Since(began); took > takeoverWithin {
		rs.r.fail("I7", "a frozen process had its shards for %s", took.Round(time.Millisecond))
	}
	return took, pause(ctx, hold-took)
}

// outlasts waits until what the process had to say when it went on has reached the database: its
// spool is empty, and an event that it is sent after that is stored.
func (rs *replicas) outlasts(ctx context.Context, i int) error {
	r, p := rs.r, rs.projects[i]
	err := until(ctx, "its spool is empty", 10*time.Second, func() bool {
		figures, err := program.Metrics(p.admin)
		return err == nil && figures["pipehook_spool_bytes"] == 0
	})
	if err != nil {
		return err
	}
	b := &bodies{rng: r.rng, now: time.Now().Add(-time.Hour)} // not the times of the other senders
	e := b.make(90, 0)
	r.load.add(e)
	return until(ctx, "an event is taken by the process that was frozen", 10*time.Second, func() bool { return r.load.send(ctx, e, p) })
}

// listener does something by hand, with the configuration of one of the processes.
func (rs *replicas) listener(ctx context.Context, i int, args ...string) error {
	args = append([]string{"listeners"}, append(args, "--config", rs.projects[i].config)...)
	if out, err := exec.CommandContext(ctx, rs.r.bin, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w: %s", args, err, out)
	}
	return nil
}

// freezeRunning freezes the process while an attempt of the listener runs in it.
func (r *round) freezeRunning(ctx context.Context, v *victim, listener string) (event string, err error) {
	for range 1000 {
		err := until(ctx, "an attempt runs", 20*time.Second, func() bool { return r.running(v, listener) != "" })
		if err != nil {
			return "", err
		}
		at := time.Now()
		if err := v.signal(syscall.SIGSTOP); err != nil {
			return "", err
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil { // what it has said is read
			return "", err
		}
		if event = r.running(v, listener); event != "" {
			v.frozen = append(v.frozen, [2]time.Time{at, at.Add(time.Hour)})
			return event, nil
		}
		if err := v.signal(syscall.SIGCONT); err != nil {
			return "", err
		}
	}
	return "", fmt.Errorf("it was never frozen in an attempt")
}

// running is an event whose attempt runs, as far as the process has said so; "" for none.
func (r *round) running(v *victim, listener string) string {
	r.runs.mu.Lock()
	defer r.runs.mu.Unlock()
	ended := map[string]bool{}
	for _, line := range slices.Backward(r.runs.lines[max(0, len(r.runs.lines)-200):]) {
		if line.victim != v.number || line.listener != listener {
			continue
		}
		if line.kind == '>' && !ended[line.event] {
			return line.event
		}
		ended[line.event] = true
	}
	return ""
}

// completed reports whether the process has completed the event.
func (r *round) completed(event, listener string, by int) bool {
	return slices.ContainsFunc(r.runs.said(), func(line runLine) bool {
		return line.kind == '<' && line.event == event && line.listener == listener && line.victim == by
	})
}
