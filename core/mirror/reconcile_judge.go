package mirror

import (
	"context"
	"iter"
	"slices"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/pipedrive/shape"
)

// verdict is what a record that was listed says beside its row.
type verdict uint8

const (
	agrees  verdict = iota // nothing that a webhook tells is another
	ignored                // nothing may be concluded from it now
	settles                // it is another, and may still be told of by itself
	unknown                // there is no row
	differs
	deleted
	revived // the row says that it is deleted, and it is there
)

// actions are those of the events that tell of a verdict.
var actions = map[verdict]string{unknown: core.Added, differs: core.Updated, deleted: core.Deleted, revived: core.Added}

// judge compares a record with its row. keys are what differs.
func (l *look) judge(r shape.Record, row Row, known bool, asked time.Time) (v verdict, keys []string) {
	switch {
	case changedAt(r).After(l.horizon) || r.Updated.IsZero() && known && row.ChangedAt.After(l.horizon):
		if knows(r, row, known) {
			return ignored, nil
		}
		return settles, nil // it may still arrive
	case !known && (r.Deleted || !l.covers(r)):
		return ignored, nil
	case !known:
		return unknown, nil
	case row.Deleted && (r.Deleted || row.MergedInto != "" || row.DeletedAt.After(l.horizon)):
		return ignored, nil
	case row.Deleted && (r.Updated.After(row.DeletedAt) || asked.Add(-clockMargin).After(row.DeletedAt)):
		return revived, nil
	case row.Deleted:
		return ignored, nil
	case r.Deleted:
		return deleted, nil
	case r.Updated.After(row.Updated):
		return differs, shape.Differ(row.Record, r)
	case r.Updated.Before(row.Updated) && !r.Updated.IsZero():
		return agrees, nil
	}
	// Within a second a change can be missed and another not. What webhooks do not carry tells nothing of that: they may
	// all have arrived.
	keys = shape.Differ(row.Record, r)
	if slices.ContainsFunc(keys, func(key string) bool { return shape.Carried(r.Object, key) }) {
		return differs, keys
	}
	return agrees, nil
}

// covers reports whether the tables should have a record. One that does not say when it was changed, as some parts of deals
// don't, they should have unless no fill has read the parts of its deal.
func (l *look) covers(r shape.Record) bool {
	at := changedAt(r)
	if at.IsZero() {
		return !l.unread[plain(r.Values[l.object.Parent+"_id"])]
	}
	return l.base.covers(at) || !at.Before(l.from)
}

// unfilled finds the deals whose parts no fill has read: they are older than the time since which one read, and were in no
// table then, or still are not.
func (l *look) unfilled(ctx context.Context, parents []string) error {
	l.unread = map[string]bool{}
	if l.base.Since.IsZero() || len(parents) == 0 {
		return nil
	}
	rows, err := l.m.Rows(ctx, l.object.Parent, parents)
	for _, id := range parents {
		row, known := rows[id]
		added := row.Added
		if !known {
			added = l.fresh[l.object.Parent][id]
		}
		l.unread[id] = (!known || row.StoredAt.After(l.base.Filled)) && added.Before(l.base.Since)
	}
	return err
}

// knows reports whether a change that may still arrive needs no telling, as far as times say.
func knows(r shape.Record, row Row, known bool) bool {
	switch {
	case !known || r.Deleted:
		return r.Deleted && (!known || row.Deleted)
	case row.Deleted:
		return !r.Updated.After(row.DeletedAt)
	}
	return !r.Updated.After(row.Updated)
}

func changedAt(r shape.Record) time.Time {
	if r.Updated.IsZero() {
		return r.Added
	}
	return r.Updated
}

// before is what of a row is another now, for an event's previous.
func before(row shape.Record, keys []string, now shape.Record) shape.Record {
	was := row
	was.Values = make(map[string]any, len(keys)+1)
	own, _ := row.Values[customFields].(map[string]any)
	for _, key := range keys {
		custom, ok := cutCustom(key)
		if !ok {
			was.Values[key] = row.Values[key]
			continue
		}
		fields, _ := was.Values[customFields].(map[string]any)
		if fields == nil {
			fields = map[string]any{}
			was.Values[customFields] = fields
		}
		fields[custom] = own[custom]
	}
	if t, carried := row.Values["update_time"]; carried && now.Updated.After(row.Updated) {
		was.Values["update_time"] = t
	}
	return was
}

const customFields = "custom_fields"

func cutCustom(key string) (string, bool) {
	const start = customFields + "."
	if len(key) > len(start) && key[:len(start)] == start {
		return key[len(start):], true
	}
	return "", false
}

// chunks cuts a list into lists of n.
func chunks(all []string, n int) iter.Seq[[]string] {
	return func(yield func([]string) bool) {
		for len(all) > 0 {
			k := min(n, len(all))
			if !yield(all[:k:k]) {
				return
			}
			all = all[k:]
		}
	}
}
