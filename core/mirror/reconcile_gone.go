package mirror

import (
	"context"
	"fmt"
	"net/url"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/pipedrive/shape"
)

// few is how many of an object's records may be gone at once without a doubt, if that is not all; beyond it, half of them.
const few = 10

// missing are the ids that the tables have and the list of all did not; none when they are too many to be believed.
func (l *look) missing(ctx context.Context) ([]string, error) {
	var gone []string
	total := 0
	for after := ""; ; {
		ids, err := l.m.IDs(ctx, l.object.Name, after, 1000)
		if err != nil {
			return nil, err
		}
		if len(ids) == 0 {
			break
		}
		total += len(ids)
		after = ids[len(ids)-1]
		for _, id := range ids {
			if _, there := l.there[id]; !there {
				gone = append(gone, id)
			}
		}
	}
	gone, err := l.unhidden(ctx, gone)
	if err != nil {
		return nil, err
	}
	all := total > 1 && len(gone) == total
	if (all || len(gone) > max(few, total/2)) && !l.o.Deletes {
		l.done.doubt = &core.Error{Kind: core.Conflict, Msg: fmt.Sprintf("%d of %d are not listed any more: more likely the token's user may no longer see them than that they are deleted; "+
			"if they are, run pipehook reconcile %s --deletes, else have that user see them again", len(gone), total, l.object.Name)}
		return nil, nil
	}
	return gone, nil
}

// unhidden leaves out the records whose parent the tables do not have, but Pipedrive: they were not listed because nobody
// asked for that parent's.
func (l *look) unhidden(ctx context.Context, ids []string) (rest []string, err error) {
	parent, child := shape.Find(l.object.Parent)
	if !child {
		return ids, nil
	}
	hides := map[string]bool{} // by the id of the parent
	for some := range chunks(ids, mostIDs) {
		rows, err := l.m.Rows(ctx, l.object.Name, some)
		if err != nil {
			return nil, err
		}
		for _, id := range some {
			of := plain(rows[id].Values[parent.Name+"_id"])
			if _, known := hides[of]; !known {
				if hides[of], err = l.hidden(ctx, parent, of); err != nil {
					return nil, err
				}
			}
			if !hides[of] {
				rest = append(rest, id)
			}
		}
	}
	return rest, nil
}

// hidden reports whether there is a parent that was not asked for.
func (l *look) hidden(ctx context.Context, parent shape.Object, id string) (bool, error) {
	if l.asked[id] || id == "null" {
		return false, nil
	}
	rows, err := l.m.Rows(ctx, parent.Name, []string{id})
	if row, known := rows[id]; known || err != nil {
		return !row.Deleted, err // it has just come, or was not asked for because it is deleted
	}
	_, there, err := l.one(ctx, parent, id)
	return there, err
}

// gone asks again for records that were not listed. What is there is compared as if it had been; of what is not, an event
// says that it is deleted.
func (l *look) gone(ctx context.Context, ids []string) error {
	for some := range chunks(ids, mostIDs) {
		asked := l.now()
		found, err := l.again(ctx, some)
		if err != nil {
			return err
		}
		if err := l.page(ctx, found, asked); err != nil {
			return err
		}
		there := map[string]bool{}
		for _, r := range found {
			there[r.ID] = true
		}
		var absent []string
		for _, id := range some {
			if !there[id] {
				absent = append(absent, id)
			}
		}
		if err := l.bury(ctx, absent); err != nil {
			return err
		}
	}
	return nil
}

// again asks for records by their ids.
func (l *look) again(ctx context.Context, ids []string) (found []shape.Record, err error) {
	o := l.object
	left := ids
	if byIDs[o.Name] {
		list := listing{object: o}.ask()
		list.Query = url.Values{"ids": {joined(ids)}}
		if more := onRequest(o); more != nil {
			list.Query["include_fields"] = more
		}
		l.calls.Add(1)
		for page, err := range l.api.Pages(ctx, list) {
			if err != nil {
				return nil, err
			}
			records, err := l.records(o.Name, page.Items)
			if err != nil {
				return nil, err
			}
			found = append(found, records...)
		}
		if o.Name != "deal" { // of which the archived ones are not in the list
			return found, nil
		}
		left = nil
		have := map[string]bool{}
		for _, r := range found {
			have[r.ID] = true
		}
		for _, id := range ids {
			if !have[id] {
				left = append(left, id)
			}
		}
	}
	if o.Parent == "deal" || o.Name == "goal" { // they can't be asked for one by one, so begin has all listed
		return found, nil
	}
	for _, id := range left {
		r, there, err := l.one(ctx, o, id)
		if err != nil {
			return nil, err
		}
		if there {
			found = append(found, r)
		}
	}
	return found, nil
}

// bury tells of records that are not there any more.
func (l *look) bury(ctx context.Context, ids []string) error {
	rows, err := l.m.Rows(ctx, l.object.Name, ids)
	if err != nil {
		return err
	}
	var absent []shape.Record
	var quiet []Change
	for _, id := range ids {
		row, known := rows[id]
		switch {
		case !known || row.Deleted: // it was said already
		case row.ChangedAt.After(l.horizon): // it may still be, whoever said so
			l.base.Again = append(l.base.Again, id)
		case !l.object.Hooks:
			quiet = append(quiet, Change{Record: shape.Record{Object: l.object.Name, ID: id}, Action: core.Deleted, At: l.now(), From: FromReconcile})
		default:
			absent = append(absent, shape.Record{Object: l.object.Name, ID: id, Deleted: true})
		}
	}
	if err := l.write(ctx, quiet); err != nil {
		return err
	}
	return l.tell(ctx, absent, l.now())
}
