package simulate

import (
	"bytes"
	"context"
	"net/http"
	"time"
)

const (
	timeout = 10 * time.Second
	// leastTimeout is of the time of day. However fast time passes, a receiver that works is given it.
	leastTimeout = time.Second
)

// retryAfter is how long after an attempt the next one comes. That it is counted from the attempt before, and
// not from the first, is a guess.
var retryAfter = [...]time.Duration{3 * time.Second, 30 * time.Second, 150 * time.Second}

func hookClient() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = nil
	transport.MaxIdleConns, transport.MaxIdleConnsPerHost = 0, 256
	return &http.Client{
		Transport: transport,
		// A redirect is not followed since 2022 and counts as a failure.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// run delivers until ctx is done. It is called once.
func (h *hooks) run(ctx context.Context) error {
	h.mu.Lock()
	h.running = ctx
	for _, w := range h.list {
		for i := range w.lanes {
			h.drain(&w.lanes[i])
		}
	}
	h.mu.Unlock()
	<-ctx.Done()
	h.mu.Lock()
	h.running = nil
	for t := range h.timers {
		t.stop()
	}
	clear(h.timers)
	h.mu.Unlock()
	h.wg.Wait()
	h.client.CloseIdleConnections()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, w := range h.list {
		w.discard()
	}
	h.pending.add(-h.pending.n)
	h.active.add(-h.active.n)
	return nil
}

// drain sends a lane's queue, if nobody does yet. h.mu is held.
func (h *hooks) drain(l *lane) {
	if h.running == nil || l.busy || len(l.queue) == 0 {
		return
	}
	l.busy = true
	ctx := h.running
	h.wg.Go(func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		for len(l.queue) > 0 && ctx.Err() == nil {
			d := l.queue[0]
			l.queue[0] = nil
			l.queue = l.queue[1:]
			h.mu.Unlock()
			h.attempt(ctx, d)
			h.mu.Lock()
		}
		l.busy = false
	})
}

// send makes an attempt beside the queues: a retry, or what a fault has held back. h.mu is held.
func (h *hooks) send(d *delivery) {
	if d.hook.gone || d.hook.RemoveTime != "" {
		h.pending.add(-1)
		return
	}
	if h.running == nil { // held back by a fault before anything is sent
		h.pending.add(-1)
		h.queue(d)
		return
	}
	ctx := h.running
	h.active.add(1)
	h.wg.Go(func() { h.attempt(ctx, d) })
}

func (h *hooks) attempt(ctx context.Context, d *delivery) {
	h.mu.Lock()
	w := d.hook.Subscription
	d.hook.stats.Sent++
	h.mu.Unlock()
	status := h.post(ctx, w, d.event.body(w, &h.o.Account, d.attempt))
	if ctx.Err() != nil { // run accounts for what it has interrupted
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	defer h.active.add(-1) // last, when a retry waits for its time
	d.hook.LastDelivery, d.hook.LastStatus = hookTime(h.o.Now()), status
	if status >= 200 && status < 300 {
		d.hook.stats.Succeeded++
		h.pending.add(-1)
		h.succeeded(d.hook)
		return
	}
	h.failed(d.hook, d.attempt)
	if d.attempt > len(retryAfter) || d.hook.gone || d.hook.RemoveTime != "" {
		d.hook.stats.Failed++
		h.pending.add(-1)
		return
	}
	// Attempts that are due go on during a ban, which is a guess: it is events of the time of the ban that the
	// guide says are lost.
	wait := retryAfter[d.attempt-1]
	d.attempt++
	h.later(wait, func() { h.send(d) })
}

// post is the status of the answer; 0 when there was none in time.
func (h *hooks) post(ctx context.Context, w Subscription, body []byte) int {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer h.clock.After(h.timeout, cancel)()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.URL, bytes.NewReader(body))
	if err != nil {
		return 0
	}
	req.Header.Set("User-Agent", "Pipedrive Webhooks")
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/plain, */*")
	req.Header.Set("Accept-Encoding", "gzip, compress, deflate, br")
	if w.AuthUser != "" || w.AuthPassword != "" {
		req.SetBasicAuth(w.AuthUser, string(w.AuthPassword))
	}
	res, err := h.client.Do(req)
	if err != nil {
		return 0
	}
	drained(res.Body)
	return res.StatusCode
}

// hookTimer is something that waits for its time.
type hookTimer struct{ stop func() }

// later calls f after a time, unless run has ended or what it gives is called. h.mu is held by its caller, and
// while f runs.
func (h *hooks) later(d time.Duration, f func()) (cancel func()) {
	t := &hookTimer{}
	h.timers[t] = struct{}{}
	t.stop = h.clock.After(d, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if _, due := h.timers[t]; due {
			delete(h.timers, t)
			f()
		}
	})
	return func() {
		delete(h.timers, t)
		t.stop()
	}
}
