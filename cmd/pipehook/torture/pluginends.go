package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// pluginCrashes is F20: events that end the plugin's process in different ways. Each is left alone after
// three times, what runs beside it is not blamed, and the scripts notice nothing.
func pluginCrashes(ctx context.Context, r *round) error {
	p, g, err := r.plug(ctx, "concurrency = 4\nretry = { attempts = 5, first = \"20ms\", max = \"100ms\" }\nbreaker = { failures = 0 }\n", false)
	if err != nil {
		return err
	}
	defer g.remove()
	rounds := 1
	if !r.short {
		rounds = 5
	}
	v, err := r.start(ctx, p, r.readyWithin())
	if err != nil {
		return err
	}
	r.load.begin(ctx, p)
	var poisoned []string
	for range rounds {
		for _, way := range []string{"panic", "exit", "kill"} {
			ids, err := r.sendMarked(ctx, p, fmt.Sprintf(`"torture_end":%q`, way))
			if err != nil {
				return err
			}
			if poisoned = append(poisoned, ids...); len(poisoned) == 3*rounds {
				break
			}
			if err := g.recovers(ctx); err != nil {
				return err
			}
		}
	}
	r.load.finish(20 * time.Second)
	if err := r.drain(ctx, 60*time.Second); err != nil {
		return err
	}
	starts, err := g.started()
	if err != nil {
		return err
	}
	r.count("%d events that end it, %d starts", len(poisoned), len(starts))
	if most := 1 + 4*len(poisoned); len(starts) > most { // once in company, three times alone
		r.fail("I7", "it was started %d times, %d would do", len(starts), most)
	}
	if err := r.checkCrashes(ctx, poisoned); err != nil {
		return err
	}
	if err := r.stop(ctx, v); err != nil {
		return err
	}
	if err := g.checkAtOnce(4); err != nil {
		return err
	}
	if err := g.account(); err != nil {
		return err
	}
	return r.end(ctx)
}

// recovers waits until the plugin has handled so much again that its next ends are not taken for more of
// the same.
func (g *plugging) recovers(ctx context.Context) error {
	was, err := g.ended()
	if err != nil {
		return err
	}
	return until(ctx, "the plugin handles events again", 20*time.Second, func() bool {
		now, err := g.ended()
		return err == nil && now > was+150
	})
}

// ended is how many events the plugin has handled.
func (g *plugging) ended() (n int, err error) {
	lines, err := g.lines()
	for _, l := range lines {
		if l.what == lineEnd {
			n++
		}
	}
	return n, err
}

// checkCrashes holds who is blamed for the ends of the process.
func (r *round) checkCrashes(ctx context.Context, poisoned []string) error {
	list := "('" + strings.Join(poisoned, "','") + "')"
	for what, query := range map[string]string{
		"deliveries of the scripts needed more than one attempt": "SELECT count(*) FROM deliveries WHERE listener <> '" + plugged + "' AND (attempts <> 1 OR state <> 1)",
		"events are blamed that did not end the plugin": "SELECT count(*) FROM deliveries d JOIN events e ON e.seq = d.event_seq WHERE d.listener = '" + plugged +
			"' AND (d.state <> 1 OR d.crashes > 0) AND e.id NOT IN " + list,
	} {
		if n, err := r.countRows(ctx, query); err != nil || n > 0 {
			r.fail("I2", "%d %s (%v)", n, what, err)
		}
	}
	n, err := r.countRows(ctx, "SELECT count(*) FROM deliveries d JOIN events e ON e.seq = d.event_seq WHERE d.listener = '"+plugged+"' AND d.state = 4 AND d.crashes = 3 AND e.id IN "+list)
	if err == nil && n != len(poisoned) {
		r.fail("I2", "%d of %d events that end the plugin are quarantined after 3 ends", n, len(poisoned))
	}
	return err
}

// checkAtOnce holds how many events a process of the plugin had at a time.
func (g *plugging) checkAtOnce(most int) error {
	lines, err := g.lines()
	if err != nil {
		return err
	}
	open := map[int]int{}
	for _, l := range lines {
		switch l.what {
		case lineBegin:
			if open[l.pid]++; open[l.pid] > most {
				g.r.fail("I5", "the plugin had %d events at once", open[l.pid])
			}
		case lineEnd:
			open[l.pid]--
		}
	}
	return nil
}

// strangers are files that are no plugins, and what is said of them.
var strangers = map[string]struct{ text, says string }{
	"stranger-greets":  {"echo hello; sleep 600", `the first it says is "hello"`},
	"stranger-version": {"echo '1|99|unix|/nowhere|grpc|'; sleep 600", "99"},
	"stranger-babbles": {"yes | tr -d '\\n'", `the first it says is "yyyy`},
	"stranger-ends":    {"exit 3", "exit status 3"},
}

// pluginBabbles is F22: a plugin writes lines that never end, and answers after its deadline, and beside it
// stand files that are no plugins. Memory stays what it was, and each of the files is refused with the reason.
func pluginBabbles(ctx context.Context, r *round) error {
	const bytesMore, megabytes = 48 << 20, 100
	p, g, err := r.plug(ctx, "concurrency = 4\ntimeout = \"5s\"\nretry = { attempts = 3, first = \"20ms\", max = \"100ms\" }\nbreaker = { failures = 0 }\n", false)
	if err != nil {
		return err
	}
	defer g.remove()
	for name, s := range strangers {
		path := filepath.Join(filepath.Dir(g.bin), name+"-"+filepath.Base(g.bin))
		defer func() { _ = os.Remove(path) }() // when it was made
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+s.text+"\n"), 0o700); err != nil {
			return err
		}
		p.listeners = append(p.listeners, name)
		p.plugins[name] = fmt.Sprintf("plugin = %q\nmatch = [\"never.never\"]\n", path)
	}
	if err := p.write(); err != nil {
		return err
	}
	v, err := r.start(ctx, p, r.readyWithin()+10*time.Second) // it waits for what comes of the first starts
	if err != nil {
		return err
	}
	r.load.begin(ctx, p)
	if err := g.recovers(ctx); err != nil {
		return err
	}
	before, times := v.resident(), 1
	if !r.short {
		times = 10
	}
	for range times {
		if _, err := r.sendMarked(ctx, p, fmt.Sprintf(`"torture_say":%d`, megabytes), `"torture_late":true`, `"torture_late":true`); err != nil {
			return err
		}
		if err := g.recovers(ctx); err != nil {
			return err
		}
		if now := v.resident(); now > before+bytesMore {
			r.fail("I8", "%d MB are resident, %d MB were before the long lines", now>>20, before>>20)
		}
	}
	r.load.finish(20 * time.Second)
	if err := r.drain(ctx, 40*time.Second); err != nil {
		return err
	}
	if err := r.checkBabble(ctx, v, g); err != nil {
		return err
	}
	r.count("%d lines of %d MB, %d MB resident before and %d MB after", times, megabytes, before>>20, v.resident()>>20)
	if err := r.stop(ctx, v); err != nil {
		return err
	}
	if err := g.account(); err != nil {
		return err
	}
	return r.end(ctx)
}

// checkBabble holds that none of it has cost an attempt or the process, and that each stranger is refused.
func (r *round) checkBabble(ctx context.Context, v *victim, g *plugging) error {
	n, err := r.countRows(ctx, "SELECT count(*) FROM deliveries WHERE attempts <> 1 OR state <> 1 OR crashes > 0")
	if err != nil {
		return err
	}
	if n > 0 {
		r.fail("I2", "%d deliveries needed more than one attempt", n)
	}
	starts, err := g.started()
	if err != nil {
		return err
	}
	if len(starts) != 1 {
		r.fail("I5", "the plugin was started %d times", len(starts))
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for name, s := range strangers {
		refused := false
		for _, line := range v.said {
			refused = refused || strings.Contains(line.Err, s.says)
		}
		if !refused {
			r.fail("I5", "nothing is said of %s, which is no plugin", name)
		}
	}
	return nil
}
