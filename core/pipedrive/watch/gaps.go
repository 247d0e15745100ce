package watch

import (
	"context"
	"fmt"
	"time"
)

// gap is a time in which webhooks may have been missed.
type gap struct {
	since time.Time
	why   string
}

// gap notes one, which is told before anything more is kept.
func (w *Watch) gap(since time.Time, why string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gaps = append(w.gaps, gap{since, why})
}

// owes reports whether gaps are still to be told.
func (w *Watch) owes() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.gaps) > 0
}

// tellGaps tells of all gaps, and of those that could not be told the next time. It belongs to Run, which alone takes them away.
func (w *Watch) tellGaps(ctx context.Context) error {
	for w.owes() {
		w.mu.Lock()
		g := w.gaps[0]
		w.mu.Unlock()
		if err := w.opts.OnGap(ctx, g.since, g.why); err != nil {
			return fmt.Errorf("that webhooks may have been missed since %s can't be told: %w", g.since.UTC().Format(time.RFC3339), err)
		}
		w.mu.Lock()
		w.gaps = w.gaps[1:]
		w.mu.Unlock()
	}
	return nil
}
