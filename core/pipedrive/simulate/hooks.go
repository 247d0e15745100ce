package simulate

import (
	"cmp"
	"context"
	"encoding/json"
	"hash/maphash"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/pipehook/pipehook/core/pipedrive/shape"
)

// HookStats say what became of one webhook's events.
type HookStats struct {
	Sent      int64 `json:"sent"` // attempts
	Succeeded int64 `json:"succeeded"`
	Failed    int64 `json:"failed"`  // all four attempts
	Dropped   int64 `json:"dropped"` // by a fault
	Late      int64 `json:"late"`    // held back by a fault
	Lost      int64 `json:"lost"`    // to a ban
	Bans      int64 `json:"bans"`
}

type hookOptions struct {
	Account Account
	Now     func() time.Time // nil: the time of day
	Scale   float64          // how many seconds pass in one
	Lanes   int              // deliveries of one webhook at a time; 0 is 16. One record's keep their order
	Check   bool             // a new webhook's URL is asked for. Whether Pipedrive does that is a guess
	Seed    int64
	Log     *slog.Logger
	Caller  func(*http.Request) Caller // nil: user 1, by API token
	Faults  func() HookFaults          // as they are now; nil for none
	Clock   hookClock                  // nil: the time of day, scaled
}

// hooks are the webhooks of the account: who wants what, and what is on its way to them.
type hooks struct {
	o       hookOptions
	clock   hookClock
	client  *http.Client
	timeout time.Duration
	seed    maphash.Seed

	mu      sync.Mutex
	list    []*hook
	lastID  int64
	losers  map[string]Record // of merges whose other half is still to come
	rng     *rand.Rand
	timers  map[*hookTimer]struct{}
	running context.Context // nil when run does not
	pending gauge           // deliveries that are not over
	active  gauge           // of these the ones that wait for no time
	wg      sync.WaitGroup
}

func newHooks(o hookOptions) *hooks {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Caller == nil {
		o.Caller = func(*http.Request) Caller { return Caller{UserID: 1} }
	}
	if o.Faults == nil {
		o.Faults = func() HookFaults { return HookFaults{} }
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Scale <= 0 {
		o.Scale = 1
	}
	if o.Clock == nil {
		o.Clock = scaled(o.Scale)
	}
	o.Lanes = cmp.Or(o.Lanes, 16)
	return &hooks{
		o: o, clock: o.Clock, client: hookClient(), seed: maphash.MakeSeed(),
		timeout: max(timeout, time.Duration(o.Scale*float64(leastTimeout))),
		losers:  map[string]Record{}, timers: map[*hookTimer]struct{}{},
		rng: rand.New(rand.NewPCG(uint64(o.Seed), 0)),
	}
}

// hook is one webhook, and what is on its way to it.
type hook struct {
	Subscription
	lanes    []lane
	failures int    // first attempts that failed, since the last ban
	banned   bool   // for half an hour
	gone     bool   // deleted by somebody: it is not listed any more
	spared   func() // stops the three days to its deletion; nil while it succeeds
	stats    HookStats
}

// lane is a queue of which one is sent at a time.
type lane struct {
	queue []*delivery
	busy  bool
}

type delivery struct {
	hook    *hook
	event   *hookEvent
	attempt int
}

// hookEvent is a change and its bodies' parts, made once for all webhooks.
type hookEvent struct {
	ch    Change
	id    string
	loser Record
	v1    func() (after, before json.RawMessage)
	v2    func() (after, before json.RawMessage)
}

func (h *hooks) event(ch Change) *hookEvent {
	e := &hookEvent{ch: ch, id: uuid.NewString(), loser: h.loser(ch)}
	e.v1 = sync.OnceValues(func() (json.RawMessage, json.RawMessage) { return partsV1(ch, &h.o.Account, e.loser) })
	e.v2 = sync.OnceValues(func() (json.RawMessage, json.RawMessage) { return partsV2(ch, &h.o.Account) })
	return e
}

func (e *hookEvent) body(w Subscription, a *Account, attempt int) []byte {
	s := Send{Event: e.id, Attempt: attempt, Loser: e.loser}
	if w.Version == version1 {
		current, previous := e.v1()
		return envelopeV1(current, previous, e.ch, w, a, s)
	}
	data, previous := e.v2()
	return envelopeV2(data, previous, e.ch, w, a, s)
}

// loser keeps the record that a merge deletes until the survivor's half asks for it.
func (h *hooks) loser(ch Change) Record {
	if ch.MergedTo != "" {
		h.losers[ch.Object+"/"+ch.ID] = ch.Before
	}
	if ch.MergedFrom == "" {
		return nil
	}
	key := ch.Object + "/" + ch.MergedFrom
	defer delete(h.losers, key)
	return h.losers[key]
}

// changed queues a change for every webhook that wants it, and waits for nothing. Changes of one record are
// sent in the order in which it is told of them.
func (h *hooks) changed(ch Change) {
	if o, ok := shape.Find(ch.Object); !ok || !o.Hooks {
		return
	}
	if ch.Correlation == "" {
		ch.Correlation = uuid.NewString()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	e := h.event(ch)
	for _, w := range h.list {
		if !w.wants(ch) || w.gone || w.RemoveTime != "" {
			continue
		}
		if w.banned {
			w.stats.Lost++
			continue
		}
		h.enqueue(&delivery{hook: w, event: e, attempt: 1})
	}
}

// enqueue puts a first attempt behind the others of its record, or lets a fault have it.
func (h *hooks) enqueue(d *delivery) {
	faults := h.o.Faults()
	if h.hit(faults.Drop) {
		d.hook.stats.Dropped++
		return
	}
	if h.hit(faults.Duplicate) {
		again := *d
		h.queue(&again)
	}
	if h.hit(faults.Reorder) {
		d.hook.stats.Late++
		h.pending.add(1)
		h.later(time.Duration(h.rng.Int64N(int64(cmp.Or(faults.Hold, longestHold))))+1, func() { h.send(d) })
		return
	}
	h.queue(d)
}

// longestHold is how late a delivery comes that a fault holds back and says nothing else.
const longestHold = 2 * time.Second

func (h *hooks) hit(rate float64) bool { return rate > 0 && h.rng.Float64() < rate }

func (h *hooks) queue(d *delivery) {
	h.pending.add(1)
	h.active.add(1)
	i := maphash.String(h.seed, d.event.ch.Object+"/"+d.event.ch.ID) % uint64(len(d.hook.lanes))
	l := &d.hook.lanes[i]
	l.queue = append(l.queue, d)
	h.drain(l)
}

// Settle waits until every event is delivered, failed for good or lost.
func (h *hooks) Settle(ctx context.Context) error { return h.wait(ctx, &h.pending) }

// quiet waits until nothing is being sent: what is left waits for its time.
func (h *hooks) quiet(ctx context.Context) error { return h.wait(ctx, &h.active) }

func (h *hooks) wait(ctx context.Context, g *gauge) error {
	h.mu.Lock()
	done := g.done()
	h.mu.Unlock()
	if done == nil {
		return nil
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Stats are by the number of the webhook; a deleted one is still among them.
func (h *hooks) Stats() map[int64]HookStats {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make(map[int64]HookStats, len(h.list))
	for _, w := range h.list {
		all[w.ID] = w.stats
	}
	return all
}

// drained reads an answer to its end, so that the connection is used again.
func drained(body io.ReadCloser) {
	_, _ = io.CopyN(io.Discard, body, 1<<20)
	_ = body.Close()
}
