package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

const workers = 8

// load is the sender: workers that each send the events of their own records one after the other,
// an event again until it has been answered 2xx, as a patient sender does. It keeps the ledger.
type load struct {
	r       *round
	client  *http.Client
	records int  // of each worker
	shared  bool // all send events of one more record
	rate    int
	begun   int           // how often
	rests   time.Duration // after an answer that is not 2xx

	mu       sync.Mutex
	targets  []*project
	entries  []*entry
	statuses map[int]int // how often which was answered; 0 is no answer
	acks     int
	copies   int             // answers that say duplicate
	took     []time.Duration // of what was answered 2xx
	longest  time.Duration   // until an answer of any kind
	dropped  string          // why the first of those without an answer had none
	password string

	cancel  context.CancelFunc
	quit    chan struct{}
	running sync.WaitGroup
}

func newLoad(r *round) *load {
	return &load{
		r: r, records: 4, rate: r.rate, rests: 5 * time.Millisecond, statuses: map[int]int{}, password: password,
		client: &http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 4 * workers}},
	}
}

// begin sends to the processes in turn until finish is called.
func (l *load) begin(ctx context.Context, targets ...*project) { l.beginWith(ctx, l.work, targets...) }

func (l *load) beginWith(ctx context.Context, work func(ctx context.Context, w int, b *bodies), targets ...*project) {
	ctx, l.cancel = context.WithCancel(ctx)
	l.aim(targets...)
	l.quit = make(chan struct{})
	l.begun++
	for w := range workers {
		b := &bodies{rng: l.r.random(l.r.store, l.r.home[strings.LastIndexByte(l.r.home, '/'):], fmt.Sprint(w, l.begun)), now: time.Now()}
		l.running.Go(func() { work(ctx, w, b) })
	}
}

// aim changes whom is sent to from now on.
func (l *load) aim(targets ...*project) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.targets = targets
}

func (l *load) target(n int) *project {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.targets[n%len(l.targets)]
}

// finish lets the workers have their last events answered, for at most the time given.
func (l *load) finish(within time.Duration) {
	if l.cancel == nil {
		return
	}
	close(l.quit)
	timer := time.AfterFunc(within, l.cancel)
	l.running.Wait()
	timer.Stop()
	l.cancel()
	l.cancel = nil
	l.client.CloseIdleConnections()
}

// stop ends the workers of a row that ended early.
func (l *load) stop() {
	if l.cancel != nil {
		l.cancel()
		l.finish(0)
	}
}

func (l *load) work(ctx context.Context, w int, b *bodies) {
	every := time.Duration(workers) * time.Second / time.Duration(l.rate)
	due := time.Now().Add(every * time.Duration(w) / workers)
	for n := 0; ; n++ {
		select {
		case <-l.quit:
			return
		default:
		}
		if pause(ctx, time.Until(due)) != nil {
			return
		}
		if due = due.Add(every); time.Since(due) > time.Second {
			due = time.Now() // what an outage held up is not sent in a burst
		}
		record := 100 + w*l.records + b.rng.IntN(l.records)
		if l.shared && b.rng.IntN(5) == 0 {
			record = shared
		}
		e := b.make(record, b.fails())
		l.add(e)
		for at := w + n; !l.send(ctx, e, l.target(at)); at++ {
			if pause(ctx, l.rests) != nil {
				return
			}
		}
	}
}

func (l *load) add(e *entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = append(l.entries, e)
}

// answer is what pipehook says.
type answer struct {
	status     int
	requestID  string
	retryAfter string
	Status, ID string
	Error      struct {
		Code, Message string
		RequestID     string `json:"request_id"`
	}
	text string
}

// post sends once and judges the answer's form.
func (l *load) post(ctx context.Context, body []byte, to *project) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+to.address+hookPath, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	l.mu.Lock()
	secret := l.password
	l.mu.Unlock()
	req.SetBasicAuth(username, secret)
	resp, err := l.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	text, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		return answer{}, err
	}
	a := answer{status: resp.StatusCode, requestID: resp.Header.Get("X-Request-Id"), retryAfter: resp.Header.Get("Retry-After"), text: string(text)}
	if json.Unmarshal(text, &a) != nil {
		l.r.fail("I5", "%d was answered with %q, which is no JSON", a.status, text)
	}
	l.r.judge(&a)
	return a, nil
}

// judge holds an answer against what all answers are like.
func (r *round) judge(a *answer) {
	if !r.rules.statuses[a.status] {
		r.fail("I5", "answer %d %s", a.status, a.text)
	}
	if a.requestID == "" {
		r.fail("I5", "answer %d has no X-Request-Id", a.status)
	}
	if a.status/100 == 2 {
		if a.ID == "" || a.Status != "accepted" && a.Status != "duplicate" {
			r.fail("I5", "answer %d says %s", a.status, a.text)
		}
		return
	}
	if a.Error.Code == "" || a.Error.RequestID != a.requestID {
		r.fail("I5", "answer %d says %s, its X-Request-Id is %q", a.status, a.text, a.requestID)
	}
	if a.status == http.StatusServiceUnavailable && a.retryAfter == "" {
		r.fail("I5", "answer 503 has no Retry-After")
	}
	for _, secret := range []string{password, r.home, "goroutine "} {
		if strings.Contains(a.text, secret) {
			r.fail("I5", "answer %d gives away %q: %s", a.status, secret, a.text)
		}
	}
}

// send sends the event once and notes the outcome. It reports whether it was settled: sent again it
// would be answered the same.
func (l *load) send(ctx context.Context, e *entry, to *project) (settled bool) {
	began := time.Now()
	l.mu.Lock()
	if e.tries++; e.tries == 1 {
		e.first = began
	}
	l.mu.Unlock()
	a, err := l.post(ctx, e.body, to)
	took := time.Since(began)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.statuses[a.status]++
	l.longest = max(l.longest, took)
	if err != nil && l.dropped == "" {
		l.dropped = err.Error()
	}
	if err != nil || a.status/100 != 2 {
		e.refused = a.status/100 == 4
		return e.refused
	}
	l.took = append(l.took, took)
	l.acks++
	if a.Status == "duplicate" {
		l.copies++
	}
	if e.id == "" {
		e.id, e.acked = a.ID, time.Now()
		if !e.copies {
			e.body = nil // its sum is enough
		}
	} else if e.id != a.ID && !l.r.spooled() {
		l.r.fail("I3", "one event was answered as %s and as %s", e.id, a.ID)
	}
	return true
}

// use changes the password that requests are sent with from now on.
func (l *load) use(secret string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.password = secret
}

// duplicates is how often an event turned out to have been stored without an answer.
func (l *load) duplicates() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.copies
}

// accepted is how often an answer said that an event is new.
func (l *load) accepted() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.acks - l.copies
}

// more waits until further events have been acknowledged.
func (l *load) more(ctx context.Context, n int, within time.Duration) error {
	l.mu.Lock()
	until := l.acks + n
	l.mu.Unlock()
	for began := time.Now(); ; {
		l.mu.Lock()
		acks := l.acks
		l.mu.Unlock()
		if acks >= until {
			return nil
		}
		if time.Since(began) > within {
			return fmt.Errorf("only %d of %d events were acknowledged within %s", acks-until+n, n, within)
		}
		if err := pause(ctx, 2*time.Millisecond); err != nil {
			return err
		}
	}
}

// outcome is the ledger in a line.
func (l *load) outcome() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	acked := 0
	for _, e := range l.entries {
		if e.id != "" {
			acked++
		}
	}
	text := fmt.Sprintf("%d sent, %d acked", len(l.entries), acked)
	if n := l.statuses[0]; n > 0 {
		text += fmt.Sprintf(", %d without answer", n)
	}
	for _, status := range []int{400, 401, 404, 500, 503} {
		if n := l.statuses[status]; n > 0 {
			text += fmt.Sprintf(", %d times %d", n, status)
		}
	}
	if len(l.took) > 0 {
		text += fmt.Sprintf(", slowest 2xx %s", slices.Max(l.took).Round(time.Millisecond))
	}
	return text
}
