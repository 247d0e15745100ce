package main

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/pipehook/pipehook/cmd/pipehook/internal/program"
	"github.com/pipehook/pipehook/core/failpoint"
)

// killAtPoints is F2: the process kills itself at each of the named places, many times under load
// where load passes them, and at the others in the way that leads there.
func killAtPoints(ctx context.Context, r *round) error {
	p, err := r.newProject()
	if err != nil {
		return err
	}
	if err := r.killMigrations(ctx, p); err != nil {
		return err
	}
	r.load.shared = true
	r.load.begin(ctx, p)
	kills := 0
	for range max(1, r.kills/20) {
		points := failpoint.All()
		r.rng.Shuffle(len(points), func(i, k int) { points[i], points[k] = points[k], points[i] })
		for _, point := range points {
			if !r.underLoad(point) {
				continue
			}
			if err := r.killAt(ctx, p, point); err != nil {
				return err
			}
			kills++
		}
	}
	p.spoolAfter = "1s"
	if err := p.write(); err != nil {
		return err
	}
	v, err := r.start(ctx, p, r.readyWithin())
	if err != nil {
		return err
	}
	r.load.finish(20 * time.Second)
	if err := r.drain(ctx, 40*time.Second); err != nil {
		return err
	}
	replayed, err := r.killReplay(ctx, p)
	if err != nil {
		return err
	}
	r.count("%d kills at points under load and %d elsewhere, %d deliveries replayed", kills, 5, replayed)
	if err := r.end(ctx, v); err != nil {
		return err
	}
	return r.killRetention(ctx, p)
}

// underLoad reports whether the point is passed by the load alone.
func (r *round) underLoad(point failpoint.Point) bool {
	if r.store == postgres && (point == failpoint.AfterInsert || point == failpoint.BeforeEnd) {
		return false // the transaction is one statement
	}
	return !slices.Contains([]failpoint.Point{failpoint.Migration, failpoint.Retention, failpoint.Reload, failpoint.Replay}, point) || point == failpoint.Reload
}

// spools reports whether the point is passed by events that the store does not take at once.
func spools(point failpoint.Point) bool { return strings.HasPrefix(string(point), "spool-") }

// killAt starts a process that kills itself at the point, and waits for that.
func (r *round) killAt(ctx context.Context, p *project, point failpoint.Point) error {
	if p.spoolAfter = "1s"; spools(point) {
		p.spoolAfter = "100us" // hardly an event is stored so soon
	}
	if err := p.write(); err != nil {
		return err
	}
	v, err := r.launch(ctx, p, fmt.Sprintf("%s:%d", point, 1+r.rng.IntN(4)))
	if err != nil {
		return err
	}
	for began := time.Now(); v.alive() && time.Since(began) < 20*time.Second; {
		if point == failpoint.Reload && program.IsReady(p.admin) {
			_ = v.signal(syscall.SIGHUP) // it may be gone
		}
		if err := v.ended(ctx, 50*time.Millisecond); err != nil && err != errStuck {
			return err
		}
	}
	return r.diedAt(v, point)
}

func (r *round) diedAt(v *victim, point failpoint.Point) error {
	if v.alive() {
		r.fail("I7", "the point %s was not passed within 20s; it said: %v", point, v.sayings())
		v.kill()
	} else if v.by != syscall.SIGKILL {
		return fmt.Errorf("instead of at %s it ended by itself; it said: %v", point, v.sayings())
	}
	return nil
}

// killMigrations ends the process before each step of the schema.
func (r *round) killMigrations(ctx context.Context, p *project) error {
	for _, nth := range []int{1, 2, 1} { // before the first step, before the second, before the second again
		v, err := r.launch(ctx, p, fmt.Sprintf("%s:%d", failpoint.Migration, nth))
		if err != nil {
			return err
		}
		if err := v.ended(ctx, 20*time.Second); err != nil && err != errStuck {
			return err
		}
		if err := r.diedAt(v, failpoint.Migration); err != nil {
			return err
		}
	}
	return nil
}

// killReplay ends the command in the middle of a replay, beside the process that serves.
func (r *round) killReplay(ctx context.Context, p *project) (replayed int, err error) {
	args := []string{"events", "replay", "--config", p.config, "--listener", "ordered", "--since", "1h"}
	v, err := r.launchCommand(p, exec.CommandContext(ctx, r.bin, args...), string(failpoint.Replay)+":1")
	if err != nil {
		return 0, err
	}
	if err := v.ended(ctx, 20*time.Second); err != nil && err != errStuck {
		return 0, err
	}
	if err := r.diedAt(v, failpoint.Replay); err != nil {
		return 0, err
	}
	if n, err := r.countRows(ctx, "SELECT count(*) FROM deliveries WHERE replays > 0"); err != nil || n != 0 {
		r.fail("I6", "a replay that was killed before its commit left %d deliveries to be made again (%v)", n, err)
	}
	out, err := exec.CommandContext(ctx, r.bin, args...).CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("replay: %w: %s", err, out)
	}
	if err := r.drain(ctx, 40*time.Second); err != nil {
		return 0, err
	}
	replayed, err = r.countRows(ctx, "SELECT count(*) FROM deliveries WHERE replays = 1 AND listener = 'ordered'")
	if err == nil && replayed != len(r.load.entries) {
		r.fail("I2", "%d of %d deliveries were replayed; the command said: %s", replayed, len(r.load.entries), strings.TrimSpace(string(out)))
	}
	return replayed, err
}

// killRetention ends the process while it deletes, after everything else has been verified.
func (r *round) killRetention(ctx context.Context, p *project) error {
	p.retention = "1ms"
	if err := p.write(); err != nil {
		return err
	}
	before, err := r.countRows(ctx, "SELECT count(*) FROM events")
	if err != nil {
		return err
	}
	v, err := r.launch(ctx, p, fmt.Sprintf("%s:1", failpoint.Retention))
	if err != nil {
		return err
	}
	if err := v.ended(ctx, 20*time.Second); err != nil && err != errStuck {
		return err
	}
	if err := r.diedAt(v, failpoint.Retention); err != nil {
		return err
	}
	db, err := r.open()
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }() // it is read only
	if err := r.checkIntegrity(ctx, db); err != nil {
		return err
	}
	if n, err := r.countRows(ctx, "SELECT count(*) FROM events"); err != nil || n != before && r.store == sqlite {
		r.fail("I6", "%d of %d events are left by a deletion that was killed before its commit (%v)", n, before, err)
	}
	if v, err = r.start(ctx, p, r.readyWithin()); err != nil {
		return err
	}
	left := before
	for began := time.Now(); left > 0 && time.Since(began) < 20*time.Second; {
		if left, err = r.countRows(ctx, "SELECT (SELECT count(*) FROM events) + (SELECT count(*) FROM deliveries) + (SELECT count(*) FROM attempts)"); err != nil {
			return err
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	if left > 0 {
		r.fail("I7", "%d rows that are too old are still there", left)
	}
	return r.stop(ctx, v)
}

func (r *round) countRows(ctx context.Context, query string) (n int, err error) {
	db, err := r.open()
	if err != nil {
		return 0, err
	}
	defer func() { _ = db.Close() }() // it is read only
	err = db.QueryRowContext(ctx, query).Scan(&n)
	return n, err
}
