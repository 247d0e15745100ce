package coretest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
)

// Batch is what every listener does that takes several events at once, beside what Listener says. start
// makes one that obeys as Obey does, until the test ends.
func Batch(t *testing.T, but Differences, start func(t *testing.T) core.BatchListener) {
	l := start(t)
	t.Run("it says in order what came of each event", func(t *testing.T) { inOrder(t, but, l) })
	t.Run("it leaves out what was called back", func(t *testing.T) { calledBack(t, l) })
	t.Run("each event has its own time", func(t *testing.T) { ownTime(t, l) })
	t.Run("it takes batches of large events", func(t *testing.T) { heavy(t, l) })
	t.Run("it takes several batches at once", func(t *testing.T) { sideBySide(t, l) })
	t.Run("it ends with its context", func(t *testing.T) { endsBatch(t, l) })
}

// ledger is what a batch has asked and told. It finds what it may not.
type ledger struct {
	t     *testing.T
	most  int // that may begin
	begun int
	done  []core.Outcome
	over  bool // HandleBatch has returned
	busy  sync.Mutex
}

func (b *ledger) alone() func() {
	if !b.busy.TryLock() {
		b.t.Error("begin and done were called at the same time")
		return func() {}
	}
	if b.over {
		b.t.Error("begin or done was called after the end")
	}
	return b.busy.Unlock
}

func (b *ledger) begin(i int) bool {
	defer b.alone()()
	if i != b.begun {
		b.t.Errorf("it asked for event %d when %d had begun", i, b.begun)
	}
	if i >= b.most {
		return false
	}
	b.begun++
	return true
}

func (b *ledger) end(i int, out core.Outcome) {
	defer b.alone()()
	if i != len(b.done) || i >= b.begun {
		b.t.Errorf("event %d has ended when %d had begun and %d ended", i, b.begun, len(b.done))
	}
	if out.Took < 0 || out.Took > plenty {
		b.t.Errorf("event %d took %s", i, out.Took)
	}
	b.done = append(b.done, out)
}

// batch hands orders over and returns what came of those that began.
func batch(t *testing.T, l core.BatchListener, timeout time.Duration, most int, orders ...core.Event) []core.Outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*plenty)
	defer cancel()
	b := &ledger{t: t, most: most}
	l.HandleBatch(ctx, timeout, deliveries(orders), b.begin, b.end)
	if !b.busy.TryLock() {
		t.Error("it has returned before begin or done has")
	}
	b.over = true
	if len(b.done) != b.begun {
		t.Errorf("%d events have begun and %d ended", b.begun, len(b.done))
	}
	return b.done
}

func deliveries(orders []core.Event) []core.Delivery {
	all := make([]core.Delivery, len(orders))
	for i, ev := range orders {
		ev.ID = fmt.Sprint(i, " ", ev.Object)
		all[i].Seq, all[i].Event = int64(i), ev
	}
	return all
}

func inOrder(t *testing.T, but Differences, l core.BatchListener) {
	var orders []core.Event
	var want []result
	for i := range 100 {
		w := expected[i%len(expected)]
		if i%len(expected) != i && len(w.text) > 1000 { // once is enough
			w = result{name: "a success", object: "succeed", kind: "done"}
		}
		ev := order(w.object, w.text)
		ev.ObjectID = w.id
		orders, want = append(orders, ev), append(want, w)
	}
	for i, out := range batch(t, l, plenty, len(orders), orders...) {
		t.Run(fmt.Sprint(i, " ", want[i].name), func(t *testing.T) { want[i].check(t, but, out.Err) })
	}
	one := batch(t, l, plenty, 1, order("fail", "alone"))
	if len(one) != 1 || one[0].Err == nil || !strings.Contains(one[0].Err.Error(), "alone") {
		t.Errorf("a batch of one came to %v", one)
	}
	batch(t, l, plenty, 0)
}

func calledBack(t *testing.T, l core.BatchListener) {
	orders := slices.Repeat([]core.Event{order("succeed", "")}, 70)
	for _, most := range []int{0, 1, 33, 69} {
		if got := batch(t, l, plenty, most, orders...); len(got) != most {
			t.Errorf("%d events have ended, %d began", len(got), most)
		}
	}
}

func ownTime(t *testing.T, l core.BatchListener) {
	began := time.Now()
	orders := []core.Event{order("succeed", ""), order("slow", ""), order("fail", "quickly"), order("slow", ""), order("succeed", "")}
	var got []string
	for _, out := range batch(t, l, little, len(orders), orders...) {
		got = append(got, outcome(out.Err))
	}
	if want := []string{"done", "failed", "failed", "failed", "done"}; !slices.Equal(got, want) {
		t.Errorf("they came to %v, want %v", got, want)
	}
	if took := time.Since(began); took < 2*little || took > 2*little+late {
		t.Errorf("it took %s", took)
	}
}

func heavy(t *testing.T, l core.BatchListener) {
	var orders []core.Event
	for i := range 24 {
		ev := order("tell", fmt.Sprintf(`{"%d":"%s"}`, i, strings.Repeat("é", 1<<19)))
		ev.Action, ev.Current, ev.Previous = "sum", ev.Body, ev.Body
		orders = append(orders, ev)
	}
	for i, out := range batch(t, l, plenty, len(orders), orders...) {
		if want := Tell(t.Context(), &orders[i], "sum"); out.Err == nil || !strings.Contains(out.Err.Error(), want) {
			t.Errorf("event %d came to %v, want %s", i, out.Err, want)
		}
	}
}

func sideBySide(t *testing.T, l core.BatchListener) {
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			var orders []core.Event
			for j := range 50 {
				orders = append(orders, order("fail", fmt.Sprintf("<event %d of batch %d>", j, i)))
			}
			for j, out := range batch(t, l, plenty, len(orders), orders...) {
				if out.Err == nil || !strings.Contains(out.Err.Error(), string(orders[j].Body)) {
					t.Errorf("event %d of batch %d came to %v", j, i, out.Err)
				}
			}
		})
	}
	wg.Wait()
}

// endsBatch holds that nothing is silent, and nobody's crash, when nobody waits any more.
func endsBatch(t *testing.T, l core.BatchListener) {
	ctx, cancel := context.WithCancel(t.Context())
	orders := []core.Event{order("succeed", ""), order("slow", ""), order("succeed", "")}
	b := &ledger{t: t, most: len(orders)}
	began := time.Now()
	time.AfterFunc(little, cancel)
	l.HandleBatch(ctx, plenty, deliveries(orders), b.begin, b.end)
	if took := time.Since(began); took > little+late {
		t.Errorf("it took %s", took)
	}
	for i, out := range b.done {
		if got := outcome(out.Err); got == "crashed" || got == "permanent" || i == 1 && got == "done" {
			t.Errorf("event %d came to %v", i, out.Err)
		}
	}
	if got := batch(t, l, plenty, 1, order("succeed", "")); len(got) != 1 || got[0].Err != nil {
		t.Errorf("the next batch came to %v", got)
	}
}
