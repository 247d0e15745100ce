package mirror

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/tidwall/gjson"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/pipedrive/shape"
)

// Source is the source of the events that the tables are kept by.
const Source = "pipedrive"

// atOnce is how many events are written in one transaction.
const atOnce = 256

// Bulk is how many events are handled at once: they share a transaction.
func (m *Mirror) Bulk() int { return atOnce }

// Handle writes what one event tells. An error is of Kind Permanent for an event that is not Pipedrive's or names no
// record, of Kind Unreached while the database can't be reached, else Unavailable.
func (m *Mirror) Handle(ctx context.Context, ev core.Event) error {
	company, err := m.owner(ctx)
	if err != nil {
		return asListener(err)
	}
	c, wanted, err := m.changeOf(&ev, company)
	if err != nil || !wanted {
		return err
	}
	_, err = m.Apply(ctx, []Change{c})
	return asListener(err)
}

// HandleBatch writes what all events tell in one transaction. When that fails because of one of them, each has one of its own.
func (m *Mirror) HandleBatch(ctx context.Context, timeout time.Duration, batch []core.Delivery, begin func(i int) bool, done func(i int, out core.Outcome)) {
	began := time.Now()
	company, unknown := m.owner(ctx)
	errs, said := make([]error, 0, len(batch)), make([]string, len(batch))
	var changes []Change
	var of []int // the event of each change
	for i := range batch {
		if !begin(i) {
			break
		}
		if unknown != nil {
			errs = append(errs, asListener(unknown))
			continue
		}
		c, wanted, err := m.changeOf(&batch[i].Event, company)
		switch errs = append(errs, err); {
		case err == nil && wanted:
			changes, of = append(changes, c), append(of, i)
		case err == nil:
			said[i] = Ignored.String()
		}
	}
	var results []Result
	if len(changes) > 0 {
		var err error
		if results, err = m.within(ctx, timeout, changes); err != nil {
			results = m.oneByOne(ctx, timeout, changes, of, errs, asListener(err))
		}
	}
	for j, i := range of {
		if errs[i] == nil {
			said[i] = results[j].String()
		}
	}
	for i, err := range errs {
		done(i, core.Outcome{Err: err, Took: time.Since(began) / time.Duration(len(errs)), Output: said[i]})
	}
}

// tolerated is how many changes of a batch may fail without being refused before that is no fault of theirs.
const tolerated = 2

// oneByOne writes the changes of a batch that failed each for itself, as long as that may help: a database that takes
// nothing now is not asked, and waited for, once for each.
func (m *Mirror) oneByOne(ctx context.Context, timeout time.Duration, changes []Change, of []int, errs []error, err error) []Result {
	results, failed := make([]Result, len(changes)), 0
	for j, i := range of {
		if len(changes) == 1 || failed == tolerated || core.KindOf(err) == core.Unreached || ctx.Err() != nil {
			errs[i] = err
			continue
		}
		one, alone := m.within(ctx, timeout, changes[j:j+1])
		if alone == nil {
			results[j] = one[0]
			continue
		}
		errs[i] = asListener(alone)
		if core.KindOf(errs[i]) != core.Permanent {
			err = errs[i]
			failed++
		}
	}
	return results
}

func (m *Mirror) within(ctx context.Context, timeout time.Duration, changes []Change) ([]Result, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return m.Apply(ctx, changes)
}

// asListener makes a database that can't be asked what it is to a delivery: nobody was called.
func asListener(err error) error {
	if e, ok := err.(*core.Error); ok && e.Msg == awayMsg {
		return &core.Error{Kind: core.Unreached, Msg: e.Msg, Err: e.Err}
	}
	return err
}

// changeOf is what an event tells. One about an object that is not kept is not wanted, nor is one of another company than that
// of the tables: webhooks of a sandbox, or of an account that was connected before, may come to the same address. What stages
// have said of it is left out: each comparison would find it, as Pipedrive has the record as it was.
func (m *Mirror) changeOf(ev *core.Event, company string) (c Change, wanted bool, err error) {
	if ev.Source != Source {
		return c, false, permanent("the event is of the source %q: local tables are kept by Pipedrive's events", clip(ev.Source))
	}
	if m.opts.Name != nil {
		if ev, err = ev.AsNamed(m.opts.Name); err != nil {
			return c, false, permanent("%v", err)
		}
	}
	switch {
	case !m.kept[ev.Object], company != "" && ev.Facts.CompanyID != "" && ev.Facts.CompanyID != company:
		return c, false, nil
	case ev.ObjectID == "":
		return c, false, permanent("the event does not say which %s it is about", ev.Object)
	}
	c = Change{Action: ev.Action, At: ev.OccurredAt, From: FromWebhook, Event: ev.ID}
	if ev.Origin == core.OriginReconcile {
		c.From = FromReconcile
	}
	if ev.Current == nil && ev.Previous == nil && ev.Action == core.Deleted {
		c.Record = shape.Record{Object: ev.Object, ID: ev.ObjectID, Deleted: true}
	} else if c.Record, err = shape.FromWebhook(ev, m.fields()); err != nil {
		return c, false, permanent("%v", err)
	}
	c.MergedFrom, c.MergedTo = mergedOf(ev)
	_, err = m.placeOf(&c)
	return c, err == nil, err
}

// mergedOf are the other records of a merge. Version 2 says them in its meta; in version 1 merge_what_id of the
// survivor names the loser, or what was before is the loser itself.
func mergedOf(ev *core.Event) (from, to string) {
	from, to = idIn(ev.Meta, "merged_from_id"), idIn(ev.Meta, "merged_to_id")
	if from == "" && ev.Action == core.Merged {
		for _, other := range []string{idIn(ev.Current, "merge_what_id"), idIn(ev.Previous, "id")} {
			if other != "" && other != ev.ObjectID {
				return other, to
			}
		}
	}
	return from, to
}

func idIn(raw []byte, key string) string {
	v := gjson.GetBytes(raw, key)
	switch v.Type {
	case gjson.Number:
		return v.Raw
	case gjson.String:
		if _, err := strconv.ParseInt(v.Str, 10, 64); err == nil {
			return v.Str
		}
	}
	return ""
}

func permanent(format string, args ...any) error {
	return &core.Error{Kind: core.Permanent, Msg: fmt.Sprintf(format, args...)}
}
