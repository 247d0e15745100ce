package model_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/delivery"
)

const (
	// slack is how far the clocks of the test, the engine and the store may be apart.
	slack = 200 * time.Millisecond

	// maxCrashes is how often a delivery may end its runner.
	maxCrashes = 3
)

// event is one that was accepted.
type event struct {
	*core.Event
	number int // in the order of acceptance
}

// about names the event's record for people.
func (e *event) about() string {
	if e.ObjectID == "" {
		return "no record"
	}
	return e.Object + " " + e.ObjectID
}

// row is what there is of a delivery on disk.
type row struct {
	state    core.State
	attempts int
	crashes  int
	replays  int
	due      time.Time // with Waiting; zero is at once
}

// dealing is one event on its way to one listener.
type dealing struct {
	ev       *event
	listener string
	turn     int
	disk     row
	now      row           // ahead of disk while a result is on its way there
	running  bool          // a call is open
	ended    bool          // it has ended, or needs no call, and the engine has not said so yet
	unsaved  bool          // the result is known, and not on disk
	void     bool          // cancelled meanwhile: the result does not count
	came     outcome       // of the last call
	wait     time.Duration // with unsaved
	mark     time.Time     // with unsaved: what was handled by it
	rule     *delivery.Subscription
}

func (d *dealing) record() int64 { return d.ev.Record() }

func (d *dealing) pending() bool { return d.now.state == core.Waiting && !d.void }

func (d *dealing) busy() bool { return d.running || d.ended || d.unsaved }

func (d *dealing) String() string {
	return fmt.Sprintf("%s: event %d of %s", d.listener, d.ev.number, d.ev.about())
}

// aspect is what stale = "drop" compares within.
type aspect struct {
	listener string
	record   int64
}

// model says what may and what must happen.
type model struct {
	turns   int
	events  []*event
	byKey   map[string]*event
	noted   int64                 // what the store said was its last event
	numbers map[int64]int         // how many events there were then
	all     map[string][]*dealing // by listener, in the order of events
	subs    map[string]*delivery.Subscription
	paused  map[string]bool
	gates   map[string]*breaker
	handled map[aspect]time.Time

	holding bool       // results are kept from the store
	held    []*dealing // those, in order
	stalled bool       // what is read does not arrive: nothing must run then
}

func newModel() *model {
	return &model{
		byKey: map[string]*event{}, numbers: map[int64]int{}, all: map[string][]*dealing{}, subs: map[string]*delivery.Subscription{},
		paused: map[string]bool{}, gates: map[string]*breaker{}, handled: map[aspect]time.Time{},
	}
}

// accept takes an event and returns the receipt that its sender must get.
func (m *model) accept(ev *core.Event, now time.Time) core.Receipt {
	if slices.ContainsFunc(m.events, func(e *event) bool { return e.ID == ev.ID }) {
		return core.Receipt{ID: ev.ID}
	}
	if first := m.forestalled(ev, now); first != nil {
		return core.Receipt{ID: first.ID, Duplicate: true}
	}
	key := string(ev.Plan.Key)
	if first := m.holder(ev.Plan.Key, ev.Plan.Window, now); first != nil {
		return core.Receipt{ID: first.ID, Duplicate: true}
	}
	m.turns++
	e := &event{Event: ev, number: len(m.events) + 1}
	m.events = append(m.events, e)
	if key != "" {
		m.byKey[key] = e
	}
	for _, name := range ev.Plan.Listeners {
		m.all[name] = append(m.all[name], &dealing{ev: e, listener: name, turn: m.turns})
	}
	return core.Receipt{ID: ev.ID}
}

// holder is the event that is kept under the key and is not too old to count.
func (m *model) holder(key []byte, window time.Duration, now time.Time) *event {
	first := m.byKey[string(key)]
	if key == nil || first == nil || window != 0 && first.ReceivedAt.Before(now.Add(-window)) {
		return nil
	}
	return first
}

// forestalled is what makes the event a duplicate although its key may be free.
func (m *model) forestalled(ev *core.Event, now time.Time) *event {
	if first := m.holder(ev.Plan.State, ev.Plan.Window, now); first != nil {
		return first
	}
	if ev.Plan.After == 0 || ev.ObjectID == "" {
		return nil
	}
	for _, e := range m.events[m.numbers[ev.Plan.After]:] {
		if e.Object == ev.Object && e.ObjectID == ev.ObjectID {
			return e
		}
	}
	return nil
}

// wanted lists the listeners that want the event.
func (m *model) wanted(ev *core.Event) (names []string) {
	for _, name := range listeners {
		if sub := m.subs[name]; sub != nil && (sub.Match[0].Object() == "*" || sub.Match[0].Object() == ev.Object) {
			names = append(names, name)
		}
	}
	return names
}

func (m *model) find(listener, id string) *dealing {
	for _, d := range m.all[listener] {
		if d.ev.ID == id {
			return d
		}
	}
	return nil
}

func (m *model) running(listener string) (n int) {
	for _, d := range m.all[listener] {
		if d.running {
			n++
		}
	}
	return n
}

// lines is what is pending for the listener or runs, in the order of turns: a line for each record,
// and one for each delivery that has no order.
func (m *model) lines(listener string) (lines [][]*dealing) {
	sub := m.subs[listener]
	at := map[int64]int{}
	all := slices.Clone(m.all[listener])
	slices.SortFunc(all, func(a, b *dealing) int { return cmp.Compare(a.turn, b.turn) })
	for _, d := range all {
		if !d.pending() && !d.busy() || !d.void && d.now.state != core.Waiting {
			continue
		}
		if sub.Order == delivery.Unordered || d.record() == 0 {
			lines = append(lines, []*dealing{d})
			continue
		}
		i, ok := at[d.record()]
		if !ok {
			i = len(lines)
			at[d.record()], lines = i, append(lines, nil)
		}
		lines[i] = append(lines[i], d)
	}
	return lines
}

// next lists which of a line's deliveries may run, the first in turn first; must says that one has to.
func (m *model) next(sub *delivery.Subscription, line []*dealing, now time.Time) (may []*dealing, must bool) {
	if slices.ContainsFunc(line, func(d *dealing) bool { return d.running }) {
		return nil, false
	}
	unsure := false
	for _, d := range line {
		if d.void { // that it was cancelled is seen when its result is saved
			unsure = true
			continue
		}
		early := d.busy() || d.now.due.After(now.Add(slack))
		sure := !early && !d.now.due.After(now.Add(-slack)) && !d.disk.due.After(now.Add(-slack))
		if !early {
			may = append(may, d)
		}
		// What waits after a failure is looked at only once all results are on disk.
		must = must || sure && !m.stalled && !unsure && !(m.holding && d.now.attempts > 0)
		// With skip what waits after a failure holds nobody up. It comes before what is behind it if
		// its time has come before that was chosen, which may be long before it can run.
		if sub.OnFailure == delivery.Block || d.now.attempts == 0 {
			break
		}
	}
	return may, must
}

// silent is what becomes of a delivery without a call.
func (m *model) silent(sub *delivery.Subscription, d *dealing) (core.State, bool) {
	switch {
	case d.now.crashes >= maxCrashes:
		return core.Quarantined, true
	case sub.DropStale && !d.ev.OccurredAt.IsZero() && d.ev.OccurredAt.Before(m.newest(d)):
		return core.Skipped, true
	}
	return core.Waiting, false
}

// newest is what was handled last of the delivery's record.
func (m *model) newest(d *dealing) time.Time {
	if d.record() == 0 {
		return time.Time{} // nothing else is about the same
	}
	newest := m.handled[aspect{d.listener, d.record()}]
	for _, other := range m.all[d.listener] {
		if other.record() == d.record() {
			newest = later(newest, other.mark)
		}
	}
	return newest
}

// reach says whether the delivery may run now. What stands before it in its line and needs no call has
// ended, then, though its result may be told later.
func (m *model) reach(d *dealing, now time.Time) error {
	sub, g := m.subs[d.listener], m.gates[d.listener]
	switch {
	case sub == nil:
		return fmt.Errorf("%v: it ran, but there is no such listener now", d)
	case m.paused[d.listener]:
		return fmt.Errorf("%v: it ran, but the listener is paused", d)
	case d.running:
		return fmt.Errorf("%v: it ran twice at a time", d)
	case !d.pending():
		return fmt.Errorf("%v: it ran, but it is %v", d, d.disk.state)
	case g.shut(now.Add(slack)):
		return fmt.Errorf("%v: it ran, but the circuit breaker is open", d)
	case m.running(d.listener) >= sub.Concurrency:
		return fmt.Errorf("%v: it ran beside %d others", d, m.running(d.listener))
	}
	for _, line := range m.lines(d.listener) {
		if !slices.Contains(line, d) {
			continue
		}
		for {
			may, _ := m.next(sub, line, now)
			if len(may) == 0 || slices.Contains(may, d) {
				break
			}
			state, ok := m.silent(sub, may[0])
			if !ok {
				break
			}
			may[0].now.state, may[0].ended, may[0].rule = state, true, sub
			line = slices.DeleteFunc(line, func(o *dealing) bool { return o == may[0] })
		}
		if may, _ := m.next(sub, line, now); slices.Contains(may, d) {
			return nil
		}
	}
	return fmt.Errorf("%v: it ran out of turn\n%s", d, m.describe(d.listener, now))
}

// idle says what should have run by now and did not.
func (m *model) idle(now time.Time) error {
	for name, sub := range m.subs {
		for _, d := range m.all[name] {
			if d.ended {
				return fmt.Errorf("%v: it has ended as %v, and no result was told", d, d.now.state)
			}
		}
		if m.paused[name] || m.gates[name].closed(now) || m.running(name) >= sub.Concurrency {
			continue
		}
		for _, line := range m.lines(name) {
			if may, must := m.next(sub, line, now); must {
				return fmt.Errorf("%v: it should have run\n%s", may[0], m.describe(name, now))
			}
		}
	}
	return nil
}

// describe shows what is pending of a listener, for people.
func (m *model) describe(listener string, now time.Time) string {
	var b strings.Builder
	if sub := m.subs[listener]; sub != nil {
		fmt.Fprintf(&b, "  order %d, on failure %d, stale %v, concurrency %d, %d running\n", sub.Order, sub.OnFailure, sub.DropStale, sub.Concurrency, m.running(listener))
	}
	for _, d := range m.all[listener] {
		if d.pending() || d.busy() {
			fmt.Fprintf(&b, "  event %d of %s, turn %d: %v due in %s (on disk %s), %d attempts, %d crashes, running %v ended %v unsaved %v void %v\n",
				d.ev.number, d.ev.about(), d.turn, d.now.state, left(d.now.due, now), left(d.disk.due, now), d.now.attempts, d.now.crashes, d.running, d.ended, d.unsaved, d.void)
		}
	}
	return b.String()
}

func left(due, now time.Time) time.Duration {
	if due.IsZero() {
		return 0
	}
	return due.Sub(now).Round(time.Millisecond)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
