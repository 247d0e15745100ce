package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// plugged is the listener that is a compiled plugin.
const plugged = "plugged"

// plugging is a row's plugin: its binary and the ledger that it writes itself, since its lines in the
// log of a host that is killed may be lost.
type plugging struct {
	r           *round
	bin, ledger string
}

// pluginLine is a line of the ledger.
type pluginLine struct {
	at   time.Time
	pid  int
	what string // that of a script's lines, or start, or orphan
	of   string // the event; of start and orphan, the host's number
}

// plug builds the plugin and makes a project that runs it.
func (r *round) plug(ctx context.Context, settings string, child bool) (*project, *plugging, error) {
	name := "plugin-" + filepath.Base(r.home)
	g := &plugging{r: r, bin: filepath.Join(r.dir, name), ledger: filepath.Join(r.dir, name+".ledger")}
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", g.bin, "github.com/pipehook/pipehook/cmd/pipehook/torture/plugin")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return nil, nil, err
	}
	r.rules.listeners = []string{"loose", "ordered", plugged}
	p, err := r.newProject()
	if err != nil {
		return nil, nil, err
	}
	p.plugins = map[string]string{plugged: fmt.Sprintf("plugin = %q\nconfig = { ledger = %q, child = %t }\n%s", g.bin, g.ledger, child, settings)}
	return p, g, p.write()
}

func (g *plugging) remove() {
	_, _ = os.Remove(g.bin), os.Remove(g.ledger) // they may not be there
}

// lines are those of the ledger so far, in the order in which they were written.
func (g *plugging) lines() ([]pluginLine, error) {
	text, err := os.ReadFile(g.ledger)
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	var all []pluginLine
	for line := range strings.Lines(string(text)) {
		parts := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(parts) != 4 {
			return nil, fmt.Errorf("the plugin's ledger has the line %q", line)
		}
		at, err := strconv.ParseInt(parts[0], 10, 64)
		if err != nil {
			return nil, err
		}
		pid, err := strconv.Atoi(parts[1])
		if err != nil {
			return nil, err
		}
		all = append(all, pluginLine{time.Unix(0, at), pid, parts[2], parts[3]})
	}
	return all, nil
}

// started are the plugin's processes so far, in their order.
func (g *plugging) started() ([]pluginLine, error) {
	lines, err := g.lines()
	var starts []pluginLine
	for _, l := range lines {
		if l.what == "start" {
			starts = append(starts, l)
		}
	}
	return starts, err
}

// again waits until the plugin has been started more often than n times, and returns the last.
func (g *plugging) again(ctx context.Context, n int, within time.Duration) (last pluginLine, err error) {
	var starts []pluginLine
	waited := until(ctx, "the plugin is started", within, func() bool {
		starts, err = g.started()
		return err != nil || len(starts) > n
	})
	if err != nil || waited != nil {
		return last, cmp.Or(err, waited)
	}
	return starts[len(starts)-1], nil
}

// account gives the verifier what the plugin did. Each of its processes is taken for one that was
// killed when the next began: only then may what it had completed come again.
func (g *plugging) account() error {
	lines, err := g.lines()
	if err != nil {
		return err
	}
	numbers := map[int]int{}
	var last *victim
	ended := make(chan struct{})
	close(ended)
	for _, l := range lines {
		switch {
		case l.what == "start":
			if last != nil {
				last.died = l.at
			}
			last = &victim{number: len(g.r.victims), exit: ended, died: time.Now()}
			g.r.victims = append(g.r.victims, last)
			numbers[l.pid] = last.number
		case kinds[l.what] != 0:
			number, known := numbers[l.pid]
			if !known {
				return fmt.Errorf("the plugin's process %d never began", l.pid)
			}
			if number != last.number {
				g.r.fail("I3", "the plugin's process %d went on after process %d was started", number, last.number)
			}
			g.r.runs.lines = append(g.r.runs.lines, runLine{at: l.at, victim: number, kind: kinds[l.what], listener: plugged, event: l.of})
		}
	}
	return nil
}

// pluginHangs is F21: the plugin is frozen, and it is given events on which it loops for ever. That
// costs it the calls it had, and nobody else anything.
func pluginHangs(ctx context.Context, r *round) error {
	const attempts = 5
	p, g, err := r.plug(ctx, fmt.Sprintf("timeout = \"300ms\"\nretry = { attempts = %d, first = \"20ms\", max = \"100ms\" }\nbreaker = { failures = 0 }\n", attempts), false)
	if err != nil {
		return err
	}
	defer g.remove()
	stops, loops := 3, 2
	if !r.short {
		stops, loops = 30, 10
	}
	v, err := r.start(ctx, p, r.readyWithin())
	if err != nil {
		return err
	}
	r.load.begin(ctx, p)
	slowest := time.Duration(0)
	for range stops {
		took, err := g.freeze(ctx, 10*time.Second)
		if err != nil {
			return err
		}
		slowest = max(slowest, took)
		if err := pause(ctx, r.between(0, 300*time.Millisecond)); err != nil {
			return err
		}
	}
	poisoned, err := r.sendMarked(ctx, p, slices.Repeat([]string{`"torture_loop":true`}, loops)...)
	if err != nil {
		return err
	}
	r.load.finish(20 * time.Second)
	if err := r.drain(ctx, 40*time.Second+time.Duration(loops*attempts)*2*time.Second); err != nil {
		return err
	}
	if !r.short { // nobody calls it, and it is noticed all the same
		took, err := g.freeze(ctx, time.Minute)
		if err != nil {
			return err
		}
		r.count("idle and frozen, running again after %s", took.Round(time.Second))
	}
	starts, err := g.started()
	if err != nil {
		return err
	}
	r.count("%d stops, running again after %s at most, %d loops, %d starts, p99 %s", stops, slowest.Round(time.Millisecond), loops, len(starts), r.load.percentile(0.99).Round(100*time.Microsecond))
	if slow := time.Second; r.load.percentile(0.99) > slow {
		r.fail("I5", "the 99th percentile of the answers is above %s", slow)
	}
	if err := r.checkHangs(ctx, poisoned, attempts); err != nil {
		return err
	}
	if err := r.stop(ctx, v); err != nil {
		return err
	}
	if err := g.account(); err != nil {
		return err
	}
	return r.end(ctx)
}

// freeze stops the plugin's process and waits for the next one.
func (g *plugging) freeze(ctx context.Context, within time.Duration) (took time.Duration, err error) {
	last, err := g.again(ctx, 0, 10*time.Second)
	if err != nil {
		return 0, err
	}
	starts, err := g.started()
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if err := syscall.Kill(last.pid, syscall.SIGSTOP); err != nil {
		return 0, err
	}
	if _, err := g.again(ctx, len(starts), within); err != nil {
		return 0, err
	}
	if lives(last.pid) {
		g.r.fail("I8", "the frozen process %d lives on", last.pid)
	}
	return time.Since(began), nil
}

// sendMarked sends an event for each mark, such as "torture_loop":true, which the plugin obeys. Each is
// followed by another of its record.
func (r *round) sendMarked(ctx context.Context, p *project, marks ...string) (ids []string, err error) {
	if r.marked == nil {
		r.marked = &bodies{rng: r.rng, now: time.Now().Add(-time.Hour)}
	}
	for i, mark := range marks {
		bad := r.marked.make(80+i%3, 0)
		bad.body = bytes.Replace(bad.body, []byte(`"torture_ms"`), []byte(mark+`,"torture_ms"`), 1)
		bad.sum = sha256.Sum256(bad.body)
		for _, e := range []*entry{bad, r.marked.make(bad.record, 0)} {
			r.load.add(e)
			for !r.load.send(ctx, e, p) {
				if err := pause(ctx, 10*time.Millisecond); err != nil {
					return nil, err
				}
			}
		}
		ids = append(ids, bad.id)
	}
	return ids, nil
}

// checkHangs holds what hanging cost against what it may cost.
func (r *round) checkHangs(ctx context.Context, poisoned []string, attempts int) error {
	for what, query := range map[string]string{
		"deliveries of the scripts needed more than one attempt": "SELECT count(*) FROM deliveries WHERE listener <> '" + plugged + "' AND (attempts <> 1 OR state <> 1)",
		"deliveries of the plugin count as crashes":              "SELECT count(*) FROM deliveries WHERE crashes > 0",
		"events were given up that it does not loop on": "SELECT count(*) FROM deliveries d JOIN events e ON e.seq = d.event_seq WHERE d.listener = '" + plugged +
			"' AND d.state <> 1 AND e.id NOT IN ('" + strings.Join(poisoned, "','") + "')",
	} {
		if n, err := r.countRows(ctx, query); err != nil || n > 0 {
			r.fail("I2", "%d %s (%v)", n, what, err)
		}
	}
	n, err := r.countRows(ctx, fmt.Sprintf("SELECT count(*) FROM deliveries d JOIN events e ON e.seq = d.event_seq WHERE d.listener = '%s' AND d.state = 2 AND d.attempts = %d AND e.id IN ('%s')",
		plugged, attempts, strings.Join(poisoned, "','")))
	if err == nil && n != len(poisoned) {
		r.fail("I2", "%d of %d events on which it loops are given up after %d attempts", n, len(poisoned), attempts)
	}
	return err
}

// hostDies is F24: pipehook is killed while its plugin runs, and while a child of the plugin lives
// that has left its group. The plugin dies with it; the child before another plugin is started.
func hostDies(ctx context.Context, r *round) error {
	p, g, err := r.plug(ctx, "concurrency = 4\nretry = { attempts = 8, first = \"20ms\", max = \"100ms\" }\n", true)
	if err != nil {
		return err
	}
	defer g.remove()
	kills := max(5, r.kills/10)
	r.load.begin(ctx, p)
	var slowest time.Duration
	starts := 0
	for range kills {
		v, err := r.start(ctx, p, r.readyWithin())
		if err != nil {
			return err
		}
		last, err := g.again(ctx, starts, 10*time.Second)
		if err != nil {
			return err
		}
		starts++
		if err := pause(ctx, r.between(20*time.Millisecond, 300*time.Millisecond)); err != nil {
			return err
		}
		v.kill()
		killed := time.Now()
		if err := until(ctx, "the plugin is gone", 5*time.Second, func() bool { return !lives(last.pid) }); err != nil {
			r.fail("I8", "the plugin lives on after its host was killed")
			return err
		}
		if took := time.Since(killed); took > time.Second {
			r.fail("I8", "the plugin lived for %s after its host", took)
		} else {
			slowest = max(slowest, took)
		}
	}
	v, err := r.start(ctx, p, r.readyWithin())
	if err != nil {
		return err
	}
	r.load.finish(20 * time.Second)
	if err := r.drain(ctx, 40*time.Second); err != nil {
		return err
	}
	if err := r.stop(ctx, v); err != nil {
		return err
	}
	if err := g.checkOrphans(kills, slowest); err != nil {
		return err
	}
	if err := g.account(); err != nil {
		return err
	}
	return r.end(ctx)
}

// checkOrphans holds that no child of a plugin was left when the next plugin began.
func (g *plugging) checkOrphans(kills int, slowest time.Duration) error {
	lines, err := g.lines()
	if err != nil {
		return err
	}
	host, orphans := "", map[int]bool{}
	for _, l := range lines {
		switch l.what {
		case "start":
			host = l.of
		case "orphan":
			orphans[l.pid] = true
			if l.of != host {
				g.r.fail("I3", "a child of host %s's plugin lived when that of host %s had begun", l.of, host)
			}
		}
	}
	if len(orphans) < kills {
		g.r.fail("I8", "only %d of %d plugins had a child that could be left: the row does not test what it should", len(orphans), kills)
	}
	g.r.count("%d kills, the plugin gone after %s at most, %d children left and ended", kills, slowest.Round(time.Millisecond), len(orphans))
	return nil
}

// lives reports whether a process runs. One that has ended and was not waited for does not.
func lives(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil && !os.IsNotExist(err) || err == nil && !bytes.Contains(status, []byte(") Z "))
}
