package mirror

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/pipedrive/shape"
)

// submitters is how many events are submitted at a time, so that they share the store's transactions.
const submitters = 32

// page compares the records of a page with their rows.
func (l *look) page(ctx context.Context, records []shape.Record, asked time.Time) error {
	l.read(len(records))
	l.done.Looked += len(records)
	ids := idsOf(records)
	for i := range records {
		if l.there != nil {
			l.there[ids[i]] = struct{}{}
		}
	}
	if l.object.Name == "deal" && !l.sweep {
		l.deals = append(l.deals, ids...)
	}
	rows, err := l.m.Rows(ctx, l.object.Name, ids)
	if err != nil {
		return err
	}
	var quiet []Change
	var found []shape.Record
	for _, r := range records {
		row, known := rows[r.ID]
		if fresh := l.fresh[l.object.Name]; fresh != nil && !known && !r.Deleted {
			fresh[r.ID] = r.Added
		}
		switch v, _ := l.judge(r, row, known, asked); {
		case v == ignored:
		case v == settles:
			l.done.Settling++
		case v == agrees || !l.object.Hooks:
			quiet = l.learnt(quiet, r, row, known, asked)
		default:
			found = append(found, r)
		}
	}
	if err := l.write(ctx, quiet); err != nil {
		return err
	}
	return l.tell(ctx, found, asked)
}

// learnt adds what the row would learn of the record.
func (l *look) learnt(quiet []Change, r shape.Record, row Row, known bool, asked time.Time) []Change {
	if c := seen(r, asked, FromReconcile); !known || row.learns(&c, l.now()) {
		quiet = append(quiet, c)
	}
	return quiet
}

// write has the tables learn what no event tells.
func (l *look) write(ctx context.Context, changes []Change) error {
	if l.o.DryRun || len(changes) == 0 {
		return nil
	}
	results, err := l.m.Apply(ctx, changes)
	for _, result := range results {
		if result == Applied {
			l.done.Written++
		}
	}
	return err
}

// tell submits the events of records that differ. The order of the questions is what makes it exact: what is stored later than
// seq makes the event a duplicate; what was stored before and is on its way is pending; what was handled is in the
// row that is read after that; and what never will be, the tables take over now.
func (l *look) tell(ctx context.Context, found []shape.Record, asked time.Time) error {
	l.done.Differing += len(found)
	if len(found) == 0 || l.o.DryRun {
		l.done.Unsent += len(found)
		return nil
	}
	seq, err := l.o.LastSeq(ctx)
	if err != nil {
		l.done.Unsent += len(found)
		return err
	}
	found, err = l.arrived(ctx, found)
	if err != nil {
		l.done.Unsent += len(found)
		return err
	}
	rows, err := l.heard(ctx, found, seq)
	if err != nil {
		l.done.Unsent += len(found)
		return err
	}
	var quiet []Change
	var rest []func(ctx context.Context) error
	for _, r := range found {
		row, known := rows[r.ID]
		v, keys := l.judge(r, row, known, asked)
		switch v {
		case agrees:
			quiet = l.learnt(quiet, r, row, known, asked)
		case ignored:
		case settles:
			l.done.Settling++
			l.hold(r)
		default:
			rest = append(rest, func(ctx context.Context) error {
				return l.submit(ctx, l.event(v, r, row, keys, seq), seen(r, asked, FromReconcile), v)
			})
			continue
		}
		l.done.Differing--
	}
	if err := l.write(ctx, quiet); err != nil {
		l.done.Unsent += len(rest)
		return err
	}
	err = l.together(ctx, len(rest), func(ctx context.Context, i int) error { return rest[i](ctx) })
	dropped := l.dropped
	l.dropped = nil
	return errors.Join(err, l.write(ctx, dropped))
}

// arrived leaves out the records whose event is still on its way to the tables.
func (l *look) arrived(ctx context.Context, found []shape.Record) ([]shape.Record, error) {
	pending, err := l.o.Pending(ctx, l.object.Name, idsOf(found))
	if err != nil {
		return found, err
	}
	var rest []shape.Record
	for _, r := range found {
		if !pending[r.ID] {
			rest = append(rest, r)
			continue
		}
		l.done.Pending++
		l.hold(r)
	}
	return rest, nil
}

func idsOf(records []shape.Record) []string {
	ids := make([]string, len(records))
	for i := range records {
		ids[i] = records[i].ID
	}
	return ids
}

// heard are the rows after they have taken over what is stored about the records and never came to them. The
// listeners have heard of that, so that only what differs still is to be told.
func (l *look) heard(ctx context.Context, found []shape.Record, seq int64) (map[string]Row, error) {
	ids := idsOf(found)
	rows, err := l.m.Rows(ctx, l.object.Name, ids)
	if err != nil || len(found) == 0 {
		return rows, err
	}
	from := l.base.Cursor // what changed before was compared; since then a record may have changed more than once
	for i := range found {
		at := changedAt(found[i])
		if at.IsZero() { // it is gone, since it was last known to be there; of what has no time all may tell
			at = rows[found[i].ID].SeenAt
		}
		from = earlier(from, at)
	}
	if err := l.unheard(ctx, from.Add(-clockMargin), seq); err != nil {
		return rows, err
	}
	var missed []int64
	for _, id := range ids {
		missed = append(missed, l.missed[plain(id)]...)
	}
	if len(missed) == 0 {
		return rows, nil
	}
	slices.Sort(missed)
	for some := range slices.Chunk(missed, atOnce) {
		events, err := l.o.Events(ctx, some)
		if err == nil {
			err = l.takeOver(ctx, events)
		}
		if err != nil {
			return rows, err
		}
	}
	now, err := l.m.Rows(ctx, l.object.Name, ids)
	for id, row := range now { // that it was changed just now does not mean that more is coming
		row.ChangedAt = rows[id].ChangedAt
		now[id] = row
	}
	return now, err
}

// unheard finds what the tables have not got of all that was received from a time on and is stored up to seq. However many
// pages ask, each stored event is looked at once.
func (l *look) unheard(ctx context.Context, from time.Time, seq int64) error {
	if l.missed == nil {
		l.missed, l.missedTo = map[string][]int64{}, seq
	} else {
		from = earlier(from, l.missedFrom)
	}
	err := l.o.Unheard(ctx, l.object.Name, from, l.missedFrom, l.missedTo, func(id string, seq int64) { l.missed[id] = append(l.missed[id], seq) })
	l.missedFrom, l.missedTo = from, seq
	return err
}

// takeOver writes what events tell, as their delivery would have. One that can't be written never could be.
func (l *look) takeOver(ctx context.Context, events []core.Event) (err error) {
	batch := make([]core.Delivery, len(events))
	for i := range events {
		batch[i].Event = events[i]
	}
	l.m.HandleBatch(ctx, pgTimeout, batch, func(int) bool { return true }, func(_ int, out core.Outcome) {
		switch {
		case out.Err == nil && out.Output == Applied.String():
			l.done.Written++
		case out.Err != nil && core.KindOf(out.Err) != core.Permanent:
			err = out.Err
		}
	})
	return err
}

// together calls do for each of n, several at a time, until one fails.
func (l *look) together(ctx context.Context, n int, do func(ctx context.Context, i int) error) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	next := make(chan int)
	var all sync.WaitGroup
	for range min(submitters, n) {
		all.Go(func() {
			for i := range next {
				if err := do(ctx, i); err != nil {
					end(err)
				}
			}
		})
	}
	for i := range n {
		select {
		case next <- i:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(next)
	all.Wait()
	return context.Cause(ctx)
}

// event tells of a verdict as a webhook would.
func (l *look) event(v verdict, r shape.Record, row Row, keys []string, seq int64) core.Event {
	at := changedAt(r)
	if at.IsZero() || v == revived && !at.After(row.DeletedAt) {
		at = l.now()
	}
	body := shape.Envelope{
		Action: actions[v], Object: l.object.Name, ID: r.ID, CompanyID: l.o.CompanyID, Host: l.o.Host, At: at,
	}
	state := shape.State(l.o.CompanyID, l.object.Name, r.ID, changedAt(r), false)
	switch v {
	case deleted:
		body.Previous = row.Record.DataWith(l.fields)
		state = shape.State(l.o.CompanyID, l.object.Name, r.ID, shape.LastChange(l.object.Name, body.Previous), true)
	case differs:
		was := before(row.Record, keys, r)
		body.Data, body.Previous = r.DataWith(l.fields), was.DataWith(l.fields)
	default:
		body.Data = r.DataWith(l.fields)
	}
	return core.Event{
		Origin: core.OriginReconcile, Object: l.object.Name, ObjectID: r.ID, Body: shape.Body(body), Key: state, State: state,
		Plan: core.Plan{After: seq},
	}
}

// submit has the event of a change walk the pipeline. When a stage drops it nobody is to be told, and the tables, which learn of
// it by no delivery, are to have it all the same: else every comparison would find it again.
func (l *look) submit(ctx context.Context, ev core.Event, c Change, v verdict) error {
	receipt, err := l.o.Submit(ctx, ev)
	if err != nil {
		l.count(func(d *ReconciledObject) { d.Unsent++ })
		return l.refuse(ctx, c.Record, err)
	}
	l.count(func(d *ReconciledObject) {
		switch {
		case receipt.Dropped:
			d.Differing--
			l.dropped = append(l.dropped, c)
		case receipt.Duplicate:
			d.Duplicates++
			l.hold(c.Record)
		default:
			d.Submitted++
			if v == deleted {
				d.Deletes++
			}
		}
	})
	return nil
}

// refuse goes on past an event that its pipeline does not take, for what is wrong with one says nothing of the others. The
// next comparison tries it again. An error that others would have too ends the comparison.
func (l *look) refuse(ctx context.Context, r shape.Record, err error) error {
	if kind := core.KindOf(err); ctx.Err() != nil || kind == core.Unavailable || kind == core.RateLimited || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	l.count(func(*ReconciledObject) {
		if l.refused++; l.refusal == nil {
			l.refusal = fmt.Errorf("%s %s: %w", r.Object, r.ID, err)
		}
		l.hold(r)
	})
	return nil
}

// turnedDown is the error of a comparison that was whole but for the events that were refused.
func (l *look) turnedDown() error {
	if l.refusal == nil {
		return nil
	}
	return fmt.Errorf("the pipeline refused %d of the events: mend what refuses them, the next comparison tries them again; the first was of %w", l.refused, l.refusal)
}

// count changes what is counted, and held, from one of several goroutines.
func (l *look) count(do func(*ReconciledObject)) {
	l.counting.Lock()
	defer l.counting.Unlock()
	do(&l.done)
}

// hold has the next comparison look at the record again: by its id when it is gone, does not say when it changed, or changed
// so long ago that it will not be listed.
func (l *look) hold(r shape.Record) {
	switch at := changedAt(r); {
	case at.IsZero() || l.object.Since && at.Before(l.base.Cursor):
		l.base.Again = append(l.base.Again, r.ID)
	case l.held.IsZero() || at.Before(l.held):
		l.held = at
	}
}
