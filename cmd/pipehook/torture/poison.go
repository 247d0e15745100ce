package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// poison is F27: events that end the process each time a listener gets them. Each is left alone
// after three times, and what is behind it goes on.
func poison(ctx context.Context, r *round) error {
	r.rules.listeners = []string{"fragile", "loose", "moody", "ordered"}
	p, err := r.newProject()
	if err != nil {
		return err
	}
	p.isolation = "none" // so that what ends is the process
	r.crashes = true
	if err := p.write(); err != nil {
		return err
	}
	r.load.begin(ctx, p)
	b := &bodies{rng: r.rng, now: time.Now().Add(-time.Hour)}
	n := 2
	if !r.short {
		n = 10
	}
	poisoned := map[string]bool{}
	v, err := r.start(ctx, p, r.readyWithin())
	if err != nil {
		return err
	}
	ends := 0
	for i := range n {
		bad := b.make(80+i%3, 0)
		bad.body = bytes.Replace(bad.body, []byte(`"torture_ms"`), []byte(`"torture_poison":true,"torture_ms"`), 1)
		bad.sum, bad.copies = sha256.Sum256(bad.body), true
		after := b.make(bad.record, 0)
		r.load.add(bad)
		r.load.add(after)
		for _, e := range []*entry{bad, after} {
			for !r.load.send(ctx, e, p) {
				if v, err = r.revive(ctx, v, &ends); err != nil {
					return err
				}
			}
		}
		poisoned[bad.id] = true
	}
	// It is restarted as a service manager would, until the last of them is left alone and it lives.
	alone := "SELECT count(*) FROM deliveries d JOIN events e ON e.seq = d.event_seq WHERE d.listener = 'fragile' AND d.state = 4 AND e.id IN ('" +
		strings.Join(slices.Collect(maps.Keys(poisoned)), "','") + "')"
	for began, left := time.Now(), n; (left > 0 || !v.alive()) && time.Since(began) < time.Minute; {
		got, err := r.countRows(ctx, alone)
		if err != nil {
			return err
		}
		left = n - got
		if v, err = r.revive(ctx, v, &ends); err != nil {
			return err
		}
	}
	r.count("%d poisoned events, %d ends", n, ends)
	if ends > 3*n {
		r.fail("I7", "%d events ended their process %d times", n, ends)
	}
	if err := r.end(ctx, v); err != nil {
		return err
	}
	for id := range poisoned {
		query := fmt.Sprintf("SELECT count(*) FROM deliveries d JOIN events e ON e.seq = d.event_seq WHERE e.id = '%s' AND d.listener = 'fragile' AND d.state = 4 AND d.crashes = 3", id)
		if got, err := r.countRows(ctx, query); err != nil || got != 1 {
			r.fail("I2", "poisoned event %s is not quarantined after 3 ends (%v)", id, err)
		}
	}
	return nil
}

// revive starts the process again if it has ended.
func (r *round) revive(ctx context.Context, v *victim, ends *int) (*victim, error) {
	if err := pause(ctx, 10*time.Millisecond); err != nil || v.alive() {
		return v, err
	}
	*ends++
	return r.launch(ctx, v.project, "")
}
