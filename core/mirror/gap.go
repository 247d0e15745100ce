package mirror

import (
	"context"
	"encoding/json"
	"time"
)

// gapName is where it is kept until when webhooks may have been missed, for all processes.
const gapName = "gap"

type gap struct {
	Until time.Time `json:"until,omitzero"`
}

// NoteGap notes that webhooks may have been missed up to now. Once what came last has settled, the next comparison of an
// object lists all of it.
func (m *Mirror) NoteGap(ctx context.Context) error {
	return m.save(ctx, gapName, gap{m.opts.Now().UTC()})
}

// Gap is until when webhooks may have been missed that not all objects were looked at for; zero for none.
func (m *Mirror) Gap(ctx context.Context) (time.Time, error) {
	until, _, err := m.gap(ctx)
	return until, err
}

// gap reads it, and as what it is kept.
func (m *Mirror) gap(ctx context.Context) (until time.Time, was []byte, err error) {
	if was, err = m.State(ctx, gapName); err != nil || was == nil {
		return until, nil, err
	}
	var g gap
	if err = json.Unmarshal(was, &g); err != nil || g.Until.After(m.opts.Now().Add(clockMargin)) { // by a clock that was ahead
		err = m.NoteGap(ctx)
		return m.opts.Now(), nil, err
	}
	return g.Until, was, nil
}

// loadGap finds a gap that has settled, and returns as what it is kept.
func (c *comparison) loadGap(ctx context.Context) (was []byte, err error) {
	until, was, err := c.m.gap(ctx)
	if until.After(c.horizon) {
		return nil, err
	}
	c.gap = until
	return was, err
}

// closeGap ends the gap that loadGap found, once every object was listed after it; not one that was noted meanwhile.
func (c *comparison) closeGap(ctx context.Context, was []byte) error {
	if c.gap.IsZero() {
		return nil
	}
	_, err := c.m.swap(ctx, gapName, was, []byte("{}"))
	return err
}
