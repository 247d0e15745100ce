package simulate

import "time"

const (
	banAt        = 10 // first attempts that failed; retries are not counted
	banFor       = 30 * time.Minute
	deletedAfter = 3 * 24 * time.Hour
)

// failed counts a failed attempt: at the tenth first one the webhook is banned, and after three days without a
// success it is deleted. That the days are counted from the first failure after a success is a guess. h.mu is held.
func (h *hooks) failed(w *hook, attempt int) {
	if w.gone || w.RemoveTime != "" {
		return
	}
	if w.spared == nil {
		w.spared = h.later(deletedAfter, func() { h.remove(w) })
	}
	if attempt > 1 || w.banned {
		return
	}
	if w.failures++; w.failures >= banAt {
		h.ban(w)
	}
}

// ban silences a webhook. What waits for its first attempt is lost with what happens until it is over.
func (h *hooks) ban(w *hook) {
	w.banned = true
	w.stats.Bans++
	n := w.discard()
	w.stats.Lost += int64(n)
	h.pending.add(-n)
	h.active.add(-n)
	h.o.Log.Info("webhook banned", "webhook", w.ID, "for", banFor)
	h.later(banFor, func() { w.banned, w.failures = false, 0 })
}

// succeeded ends the days to the deletion. That it leaves the counter of the ban alone is a guess: the guide
// speaks only of the end of a ban. h.mu is held.
func (h *hooks) succeeded(w *hook) {
	if w.spared != nil {
		w.spared()
		w.spared = nil
	}
}

// remove is Pipedrive's deletion of a webhook that does not work. That it stays in the list, with when and why,
// is a guess from the keys that are there for it.
func (h *hooks) remove(w *hook) {
	w.spared = nil
	w.RemoveTime, w.RemoveReason = hookTime(h.o.Now()), "no successful delivery in three days"
	h.forget(w)
	h.o.Log.Info("webhook deleted", "webhook", w.ID, "reason", w.RemoveReason)
}

// forget ends what waits in the queues of a webhook that is no more. h.mu is held.
func (h *hooks) forget(w *hook) {
	n := w.discard()
	h.pending.add(-n)
	h.active.add(-n)
	h.succeeded(w)
}

// discard empties the queues, and tells how many there were in them.
func (w *hook) discard() (n int) {
	for i := range w.lanes {
		n += len(w.lanes[i].queue)
		w.lanes[i].queue = nil
	}
	return n
}
