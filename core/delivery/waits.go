package delivery

import (
	"container/heap"
	"slices"
	"time"

	"github.com/pipehook/pipehook/core"
)

func (l *lane) await(it *item, at place, due time.Time) {
	it.at, it.due = at, due
	heap.Push(&l.waits, it)
	l.nudge()
}

// release moves what has waited long enough, as far as there is room.
func (l *lane) release() {
	now := l.now()
	if l.gate.reopen(now) {
		l.work.Broadcast()
	}
	for len(l.waits) > 0 && !l.waits[0].due.After(now) && l.used < laneQueue {
		it := l.waits[0]
		if it.at == waiting && !it.saved {
			return // its failed attempt is on disk in a moment, which wakes us
		}
		epoch := l.engine.opts.Store.Epoch(it.Shard())
		if epoch == 0 { // what comes after it must not go ahead when the shard comes back
			l.abandon(it)
			return
		}
		heap.Pop(&l.waits)
		it.Due = 0
		if it.at == gathering {
			l.gather(it)
		} else if c, busy := l.chains[it.Record]; l.sub.ordered() && it.Record != 0 && (!busy || c.head != it) {
			if busy { // others of its record have gone ahead: it takes its place again in front of the rest
				l.parkAll(c, it)
				continue
			}
			l.chains[it.Record] = &chain{head: it}
		}
		it.epoch = epoch
		l.used++
		it.at, it.event = toLoad, nil
		l.unloaded = append(l.unloaded, it)
	}
}

// gather makes one attempt of all that came for the record: one stands for the others.
func (l *lane) gather(it *item) {
	c := l.chains[it.Record]
	if c == nil || len(c.next) == 0 {
		return
	}
	all := append([]core.Pending{it.Pending}, c.next...)
	slices.SortFunc(all, byTurn)
	l.parked -= len(c.next)
	c.next = nil
	last := len(all) - 1
	it.Pending, it.others = all[last], all[:last:last]
	for _, p := range all {
		l.known[p.Seq] = it
	}
}

// waits is a heap by due.
type waits []*item

func (w waits) Len() int           { return len(w) }
func (w waits) Less(i, j int) bool { return w[i].due.Before(w[j].due) }
func (w waits) Swap(i, j int)      { w[i], w[j] = w[j], w[i]; w[i].index, w[j].index = i, j }

func (w *waits) Push(x any) {
	it := x.(*item)
	it.index = len(*w)
	*w = append(*w, it)
}

func (w *waits) Pop() any {
	old := *w
	it := old[len(old)-1]
	old[len(old)-1] = nil
	*w = old[:len(old)-1]
	return it
}
