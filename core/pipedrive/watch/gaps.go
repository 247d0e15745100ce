package watch

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
)

// gap is a time in which webhooks may have been missed, for one reason.
type gap struct {
	Since time.Time
	At    time.Time // when it was last noticed
	Told  time.Time `json:",omitzero"` // when it was told; zero while nobody was
}

// toldFor is how long a gap that was told stays known, to processes that have it untold.
const toldFor = 24 * time.Hour

// covers reports whether nobody needs to be told of another gap of the same reason, as this one was told.
func (g gap) covers(o gap) bool {
	return !g.Told.IsZero() && !g.Told.Before(o.At) && !g.Since.After(o.Since)
}

// with is what two of one reason come to: what is not told stays so.
func (g gap) with(o gap) gap {
	switch {
	case g.covers(o):
		return g
	case o.covers(g):
		return o
	case g.Told.IsZero() != o.Told.IsZero():
		if g.Told.IsZero() {
			return g
		}
		return o
	case o.Told.After(g.Told):
		return o
	case g.Told.After(o.Told):
		return g
	}
	if o.Since.Before(g.Since) {
		g.Since = o.Since
	}
	if o.At.After(g.At) {
		g.At = o.At
	}
	return g
}

// gap notes one, which is kept until it is told.
func (w *Watch) gap(since time.Time, why string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.noteGap(why, gap{Since: since, At: w.opts.Now()})
}

// noteGap is gap with the lock held.
func (w *Watch) noteGap(why string, g gap) {
	if has, ok := w.gaps[why]; ok {
		g = has.with(g)
	}
	w.gaps[why] = g
}

// joinGaps takes those that another process has noted or told. The lock is held.
func (w *Watch) joinGaps(others map[string]gap) {
	for why, g := range others {
		w.noteGap(why, g)
	}
	now := w.opts.Now()
	maps.DeleteFunc(w.gaps, func(_ string, g gap) bool { return !g.Told.IsZero() && now.Sub(g.Told) >= toldFor })
}

// tellGaps tells of the gaps that nobody was told of, and reports whether it has of any. What can't be told is told the
// next time. It belongs to Run.
func (w *Watch) tellGaps(ctx context.Context) (told bool) {
	ctx, cancel := context.WithTimeout(ctx, saveWithin)
	defer cancel()
	w.mu.Lock()
	now, gaps := w.opts.Now(), maps.Clone(w.gaps)
	w.mu.Unlock()
	var err error
	for _, why := range slices.Sorted(maps.Keys(gaps)) {
		g := gaps[why]
		if !g.Told.IsZero() {
			continue
		}
		if err = w.opts.OnGap(ctx, g.Since, why); err != nil {
			err = fmt.Errorf("since %s: %w", g.Since.UTC().Format(time.RFC3339), err)
			break
		}
		told = true
		w.mu.Lock()
		if w.gaps[why] == g { // else there is more to tell
			g.Told = now
			w.gaps[why] = g
		}
		w.mu.Unlock()
	}
	w.deaf.Note(w.opts.Log, now, err, "that webhooks may have been missed can't be told", "that webhooks may have been missed is told again")
	return told
}
