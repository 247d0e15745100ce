package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// backlog is F31: what waits reaches the bound. Senders are told to try again, readiness says why,
// and below nine tenths of it events are taken again. Nothing that was taken is dropped.
func backlog(ctx context.Context, r *round) error {
	const fills = 3
	most := 10_000
	if r.short {
		most = 100
	}
	r.rules.listeners = []string{"slow"}
	r.rules.statuses[http.StatusServiceUnavailable] = true
	r.load.rests = 20 * time.Millisecond
	r.load.rate = max(200, most/20)
	p, err := r.newProject()
	if err != nil {
		return err
	}
	p.maxPending = most
	if err := p.write(); err != nil {
		return err
	}
	v, err := r.start(ctx, p, r.readyWithin())
	if err != nil {
		return err
	}
	r.load.begin(ctx, p)
	within := time.Minute + time.Duration(most)*slowRun
	highest, asked, err := r.watchBound(ctx, v, fills, time.Duration(fills)*within)
	if err != nil {
		return err
	}
	r.load.finish(within)
	refused := r.load.status(http.StatusServiceUnavailable)
	r.checkBound(v, most, highest)
	if refused == 0 || asked == 0 {
		r.fail("I5", "at the bound %d requests were answered 503, and readiness said so %d times", refused, asked)
	}
	r.count("a bound of %d was reached %d times, %d pending at most", most, len(v.told(saidClosed)), highest)
	if err := r.drain(ctx, within); err != nil {
		return err
	}
	return r.end(ctx, v)
}

// watchBound looks on until the bound was reached and left some times: how many were pending at
// most, and how often readiness said so.
func (r *round) watchBound(ctx context.Context, v *victim, fills int, within time.Duration) (highest, asked int, err error) {
	db, err := r.open()
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = db.Close() }() // it is read only
	for began := time.Now(); len(v.told(saidOpen)) < fills; {
		var pending int
		if err := db.QueryRowContext(ctx, "SELECT count(*) FROM deliveries WHERE state = 0").Scan(&pending); err != nil {
			return highest, asked, err
		}
		highest = max(highest, pending)
		if status, text := readiness(v.project); status == http.StatusServiceUnavailable && strings.Contains(text, "store.max_pending") {
			asked++
		}
		if time.Since(began) > within {
			return highest, asked, fmt.Errorf("within %s the bound was reached %d times and left %d times", within, len(v.told(saidClosed)), len(v.told(saidOpen)))
		}
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return highest, asked, err
		}
	}
	return highest, asked, nil
}

const (
	saidClosed = "store.max_pending is reached"
	saidOpen   = "events are taken again"

	slowRun = 15 * time.Millisecond // of the slow listener
)

// checkBound judges when it closed and opened. The count is this process's own and exact but for
// what is being stored at the moment.
func (r *round) checkBound(v *victim, most, highest int) {
	const stored = 2 * workers // at a time, and once more while it is counted anew
	closed := false
	for _, s := range v.told(saidClosed, saidOpen) {
		closes := strings.HasPrefix(s.Msg, saidClosed)
		switch {
		case closes == closed:
			r.fail("I5", "the bound said %q twice", s.Msg)
		case closes && s.Pending < int64(most):
			r.fail("I5", "senders were told to try again with %d pending of %d", s.Pending, most)
		case !closes && s.Pending > int64(most*9/10):
			r.fail("I5", "events were taken again with %d pending of %d", s.Pending, most)
		}
		closed = closes
	}
	if highest > most+stored {
		r.fail("I5", "%d deliveries were pending with a bound of %d", highest, most)
	}
}

// readiness is what /readyz answers; 0 for nothing.
func readiness(p *project) (status int, text string) {
	resp, err := http.Get("http://" + p.admin + "/readyz")
	if err != nil {
		return 0, ""
	}
	defer func() { _ = resp.Body.Close() }()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b)
}

// status is how often it was answered.
func (l *load) status(code int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.statuses[code]
}
