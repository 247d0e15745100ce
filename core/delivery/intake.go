package delivery

import (
	"github.com/pipehook/pipehook/core"
)

// reserve keeps room for a delivery whose transaction is about to run.
func (l *lane) reserve(bytes int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.behind || l.used >= laneQueue || l.bytes+bytes > laneBytes || l.sub == nil || l.sub.readsBack() || l.gate.shut() {
		l.behind = true
		l.outstanding++
		return false
	}
	l.used++
	return true
}

// giveBack ends a reservation without a delivery, or a transaction that had none.
func (l *lane) giveBack(held, stored bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if held {
		l.used--
	} else {
		l.outstanding--
	}
	if stored {
		l.behind, l.missed = true, true
	}
	l.nudge()
}

// take is a delivery that was stored in a reserved slot.
func (l *lane) take(d core.Delivery) {
	epoch := l.engine.opts.Store.Epoch(d.Shard())
	l.mu.Lock()
	defer l.mu.Unlock()
	l.used--
	if epoch != l.scope[d.Shard()] { // what was stored before it has not been read
		l.rewind()
	}
	if l.behind || l.sub == nil { // it is on disk, where the feeder finds it in its turn
		l.behind, l.missed = true, true
		l.nudge()
		return
	}
	if !l.add(d.Pending, epoch, &d.Event) {
		l.behind, l.missed = true, true
		return
	}
	l.cursor = max(l.cursor, d.Turn)
}

func (l *lane) offer(ev core.Event, number int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.used >= laneQueue || l.sub == nil {
		return false
	}
	l.used++
	l.run(&item{Pending: core.Pending{Seq: number}, event: &ev, fleeting: true})
	return true
}

// look says that there may be more on disk.
func (l *lane) look(again bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if again {
		l.reset()
	}
	l.missed, l.late = true, true
	l.nudge()
}
