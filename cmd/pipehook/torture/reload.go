package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/pipehook/pipehook/cmd/pipehook/internal/program"
)

const (
	saidRefused = "the configuration was not reloaded"
	saidTaken   = "configuration reloaded"
)

// told are the lines that begin with one of the texts.
func (v *victim) told(texts ...string) (found []said) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, s := range v.said {
		for _, text := range texts {
			if strings.HasPrefix(s.Msg, text) {
				found = append(found, s)
			}
		}
	}
	return found
}

// until waits until the condition holds.
func until(ctx context.Context, what string, within time.Duration, holds func() bool) error {
	for began := time.Now(); !holds(); {
		if time.Since(began) > within {
			return fmt.Errorf("it did not come true within %s that %s", within, what)
		}
		if err := pause(ctx, 2*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// reload has the process read its configuration and waits for its judgement.
func (r *round) reload(ctx context.Context, v *victim) error {
	before := len(v.told(saidRefused, saidTaken))
	if err := v.signal(syscall.SIGHUP); err != nil {
		return err
	}
	return until(ctx, "a reload is judged", 10*time.Second, func() bool { return len(v.told(saidRefused, saidTaken)) > before })
}

// nobodyDropped is I5 where nobody may notice anything.
func (r *round) nobodyDropped() {
	r.load.mu.Lock()
	defer r.load.mu.Unlock()
	if n := r.load.statuses[0]; n > 0 {
		r.fail("I5", "%d requests had no answer; the first: %s", n, r.load.dropped)
	}
}

// brokenReloads is F28: configurations that are damaged at random or wrong on purpose. The old one
// goes on, or the damage is a valid configuration and is taken; nobody is dropped either way.
func brokenReloads(ctx context.Context, r *round) error {
	r.rules.listeners = []string{"loose", "ordered"}
	r.rules.strays, r.rules.mayMiss, r.rules.unacked = true, true, true
	r.rules.statuses[http.StatusUnauthorized], r.rules.statuses[http.StatusNotFound] = true, true // damage may be another password or path
	p, err := r.newProject()
	if err != nil {
		return err
	}
	p.maxPending = 1_000_000 // a damaged 0 would be a bound so low that senders are rightly refused
	if err := p.write(); err != nil {
		return err
	}
	// Where it listens may not be where the damage says, or there would be nobody to send to.
	p.environ = []string{"PIPEHOOK_SERVER__LISTEN=" + p.address, "PIPEHOOK_ADMIN__LISTEN=" + p.admin}
	v, err := r.start(ctx, p, r.readyWithin())
	if err != nil {
		return err
	}
	r.load.begin(ctx, p)
	good := p.text()
	for n := range r.kills {
		text := damage(r.rng, good)
		if n%4 == 3 { // half a file, as some editors write it
			if err := os.WriteFile(p.config, []byte(text[:len(text)/2]), 0o600); err != nil {
				return err
			}
			if err := pause(ctx, r.between(0, 20*time.Millisecond)); err != nil {
				return err
			}
		}
		if err := p.replace(text); err != nil {
			return err
		}
		if err := r.reload(ctx, v); err != nil {
			return err
		}
	}
	for _, s := range v.told(saidRefused) {
		if s.Level != "ERROR" || s.File != p.config || s.Line == 0 {
			r.fail("I5", "a mistake without its place: %+v", s)
		}
	}
	r.count("%d damaged files refused and %d taken", len(v.told(saidRefused)), len(v.told(saidTaken)))
	if err := p.write(); err != nil {
		return err
	}
	if err := r.reload(ctx, v); err != nil {
		return err
	}
	r.load.finish(20 * time.Second)
	r.nobodyDropped()
	if err := r.stop(ctx, v); err != nil {
		return err
	}
	return r.wrongOnPurpose(ctx, p)
}

// wrongOnPurpose tries mistakes that random damage does not make.
func (r *round) wrongOnPurpose(ctx context.Context, p *project) error {
	p.environ = nil
	v, err := r.start(ctx, p, r.readyWithin())
	if err != nil {
		return err
	}
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer func() { _ = busy.Close() }()
	r.load.begin(ctx, p)
	good := p.text()
	mistakes := []struct{ old, new, key string }{
		{p.address, busy.Addr().String(), "server.listen"},
		{password, "${TORTURE_IS_NOT_SET}", "password"},
		{p.storeURL, "sqlite:" + filepath.Join(r.home, "another.db"), "store.url"},
		{`dir = "spool"`, `dir = "spool2"`, "spool.dir"},
		{"concurrency = 4", `concurrency = "4"`, "concurrency"},
		{"[log]", "[logs]", "logs"},
		{`retention = "30d"`, `retention = "30"`, "store.retention"},
		{`use = "dispatch"`, `use = "despatch"`, "stage"},
		{"concurrency = 4\n", "concurrency = 4\nmatch = [\"updated\"]\n", "match"},
		{"concurrency = 4\n", "concurrency = 4\nwhere = { \"current.x\" = { resembles = 1 } }\n", "where"},
	}
	for _, m := range mistakes {
		if err := r.load.more(ctx, 3, 10*time.Second); err != nil {
			return err
		}
		before := len(v.told(saidRefused))
		if err := p.replace(strings.Replace(good, m.old, m.new, 1)); err != nil {
			return err
		}
		if err := r.reload(ctx, v); err != nil {
			return err
		}
		found := v.told(saidRefused)[before:]
		if len(found) == 0 || !strings.Contains(found[0].Key+found[0].Err, m.key) || found[0].Line == 0 {
			r.fail("I5", "%q instead of %q was not refused with its place: %+v", m.new, m.old, found)
		}
		if figures, err := program.Metrics(p.admin); err != nil || figures["pipehook_config_last_reload_success"] != 0 {
			r.fail("I5", "a refused configuration is not to be seen in the metrics (%v)", err)
		}
	}
	if err := p.write(); err != nil {
		return err
	}
	if err := r.reload(ctx, v); err != nil {
		return err
	}
	r.load.finish(20 * time.Second)
	r.nobodyDropped()
	if figures, err := program.Metrics(p.admin); err != nil || figures["pipehook_config_last_reload_success"] != 1 {
		r.fail("I5", "the good configuration is not to be seen in the metrics (%v)", err)
	}
	r.count("%d mistakes refused", len(mistakes))
	return r.end(ctx, v)
}

// damage changes some bits or cuts the text, but not in the middle of the chain: a chain that ends
// early is a configuration like any other, and one that persists nothing promises nothing.
func damage(rng *rand.Rand, text string) string {
	if rng.IntN(4) == 0 {
		cut := rng.IntN(len(text))
		if cut > strings.Index(text, "[[pipeline.stage]]") {
			cut = max(cut, strings.Index(text, "[[listener]]"))
		}
		return text[:cut]
	}
	b := []byte(text)
	for range 1 + rng.IntN(3) {
		b[rng.IntN(len(b))] ^= 1 << rng.IntN(8)
	}
	return string(b)
}

// reloads is F29: the password changes, a listener comes and goes, and nobody notices.
func reloads(ctx context.Context, r *round) error {
	p, err := r.newProject()
	if err != nil {
		return err
	}
	r.rules.strays = true // events have a delivery to the other listener, or not
	usual := p.listeners
	v, err := r.start(ctx, p, r.readyWithin())
	if err != nil {
		return err
	}
	base, err := v.base(ctx)
	if err != nil {
		return err
	}
	r.load.begin(ctx, p)
	current, passwords := password, 0
	for n := range r.kills {
		next := current
		if n%2 == 0 {
			passwords++
			next = fmt.Sprintf("password %d of the torture", n)
			p.authenticate = fmt.Sprintf("basic = { username = %q, password = %q, previous_password = %q }", username, next, current)
		} else {
			p.listeners = append([]string{"fragile"}, usual...)
			if n%4 == 1 {
				p.listeners = usual
			}
		}
		if err := p.write(); err != nil {
			return err
		}
		if err := r.reload(ctx, v); err != nil {
			return err
		}
		if current != next {
			r.load.use(next)
			current = next
			if err := r.load.more(ctx, 2*workers, 10*time.Second); err != nil { // nobody uses the one before
				return err
			}
		}
	}
	p.listeners = append([]string{"fragile"}, usual...)
	if err := p.write(); err != nil {
		return err
	}
	if err := r.reload(ctx, v); err != nil {
		return err
	}
	if refused := v.told(saidRefused); len(refused) > 0 {
		r.fail("I5", "a good configuration was refused: %+v", refused[0])
	}
	r.load.finish(20 * time.Second)
	r.nobodyDropped()
	if err := r.drain(ctx, 40*time.Second); err != nil {
		return err
	}
	base["go_goroutines"] += 8    // the further listener's
	base["process_open_fds"] += 4 // and those to its process
	if err := r.settled(ctx, v, base); err != nil {
		return err
	}
	r.count("%d reloads, %d passwords", r.kills+1, passwords)
	return r.end(ctx, v)
}
