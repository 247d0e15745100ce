package delivery

import (
	"context"
	"time"

	"github.com/pipehook/pipehook/core"
)

// feed brings into memory what can run. It is the only reader of the store for this lane.
func (l *lane) feed(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for wake := l.wake; ; {
		select {
		case <-ctx.Done():
			l.mu.Lock()
			l.work.Broadcast()
			l.mu.Unlock()
			return
		case <-wake:
		case <-timer.C:
		}
		next, err := l.round(ctx)
		if ctx.Err() == nil {
			l.trouble.Note(l.engine.opts.Log, l.now(), err, "deliveries could not be read; trying again until they can", "deliveries can be read again", "listener", l.name)
		}
		if wake = l.wake; err != nil {
			wake = nil // a store that can't be read is not asked for every event that comes
		}
		timer.Reset(next)
	}
}

// round does what is due and returns when to look again.
func (l *lane) round(ctx context.Context) (time.Duration, error) {
	l.mu.Lock()
	idle := l.sub == nil
	if now := l.now(); !idle && now.Sub(l.polled) >= poll {
		l.polled = now
		l.missed, l.late = true, true
		l.whole = l.whole || !l.behind && !now.Before(l.wholeAt)
	}
	if !idle {
		l.release()
	}
	l.mu.Unlock()
	if idle {
		return poll, nil
	}
	var err error
	for more := true; more && err == nil && ctx.Err() == nil; {
		if err = l.fetch(ctx); err == nil {
			err = l.load(ctx)
		}
		if err == nil {
			more, err = l.read(ctx)
		}
		if more { // others store all the time: what waits may not wait for the end of it
			l.mu.Lock()
			if l.sub != nil {
				l.release()
			}
			l.mu.Unlock()
		}
	}
	if err != nil {
		return poll, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	next := max(poll-l.now().Sub(l.polled), 0)
	if len(l.waits) > 0 && l.used < laneQueue && (l.waits[0].saved || l.waits[0].at == gathering) {
		next = min(next, l.waits[0].due.Sub(l.now()))
	}
	if left := l.gate.left(l.now()); left > 0 {
		next = min(next, left)
	}
	return max(next, 0), nil
}

// scan reads a page; the caller, which then holds mu, ends looking.
func (l *lane) scan(ctx context.Context, after, record int64) ([]core.Pending, error) {
	l.mu.Lock()
	l.looking = true
	clear(l.recent)
	l.mu.Unlock()
	began := l.now()
	page, err := l.engine.opts.Store.Scan(ctx, l.name, after, record, pageSize)
	took := l.now().Sub(began)
	for i := range page { // a slow answer makes nothing wait longer
		if page[i].Due > 0 {
			page[i].Due = max(page[i].Due-took, 0)
		}
	}
	return page, err
}
