package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/mirror"
	"github.com/pipehook/pipehook/core/pipedrive"
	"github.com/pipehook/pipehook/core/pipedrive/shape"
	"github.com/pipehook/pipehook/core/store"
)

// tablesURL is where the program keeps the local tables of this project.
func (h *history) tablesURL() string {
	if path, ok := strings.CutPrefix(h.p.storeURL, "sqlite:"); ok {
		return "sqlite:" + filepath.Join(filepath.Dir(path), "pipedrive.db")
	}
	return h.p.storeURL
}

func (h *history) open(t *testing.T) {
	t.Helper()
	var err error
	if h.tables, err = mirror.Open(t.Context(), mirror.Options{URL: h.tablesURL()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.tables.Close() })
}

// account is all that the account has, as its API says it.
func (h *history) account(t *testing.T) map[recordName]shape.Record {
	t.Helper()
	all := map[recordName]shape.Record{}
	fields, err := h.client.Fields(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range shape.Objects() {
		list := pipedrive.List{Path: o.Path, Paging: o.Paging, Limit: o.Limit}
		for _, query := range h.queries(t, o) {
			list.Query = query
			for page, err := range h.client.Pages(t.Context(), list) {
				if err != nil {
					t.Fatal(err)
				}
				for _, item := range page.Items {
					r, err := shape.FromAPI(o.Name, item, fields)
					if err != nil {
						t.Fatal(err)
					}
					if !r.Deleted {
						all[recordName{o.Name, r.ID}] = r
					}
				}
			}
		}
	}
	for _, o := range shape.Objects() {
		n := 0
		for is := range all {
			if is.object == o.Name {
				n++
			}
		}
		if there := h.server.CRM().Count(o.Name); n != there {
			t.Errorf("%d of %d records of %s are listed", n, there, o.Name)
		}
	}
	return all
}

// queries are the lists that hold all of an object's records.
func (h *history) queries(t *testing.T, o shape.Object) (all []url.Values) {
	t.Helper()
	if o.Name == "deal" {
		return []url.Values{{"include_fields": {"first_won_time"}}} // which webhooks carry
	}
	if o.Parent == "" {
		return []url.Values{{}}
	}
	var ids []string
	for _, r := range h.server.CRM().List(o.Parent) {
		ids = append(ids, fmt.Sprint(r["id"]))
	}
	some, name := 100, "deal_ids"
	if o.Parent == "board" {
		some, name = 1, "board_id"
	}
	for chunk := range slices.Chunk(ids, some) {
		all = append(all, url.Values{name: {strings.Join(chunk, ",")}})
	}
	return all
}

// rows are all that the tables have, deleted ones too.
func (h *history) rows(t *testing.T, also map[recordName]shape.Record) map[recordName]mirror.Row {
	t.Helper()
	ids := map[string]map[string]bool{}
	add := func(is recordName) {
		if ids[is.object] == nil {
			ids[is.object] = map[string]bool{}
		}
		ids[is.object][is.id] = true
	}
	for is := range also {
		add(is)
	}
	for is := range h.last {
		add(is)
	}
	all := map[recordName]mirror.Row{}
	for _, o := range shape.Objects() {
		live, err := h.tables.IDs(t.Context(), o.Name, "", 1_000_000)
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range live {
			add(recordName{o.Name, id})
		}
		for some := range slices.Chunk(slices.Sorted(maps.Keys(ids[o.Name])), 500) {
			found, err := h.tables.Rows(t.Context(), o.Name, some)
			if err != nil {
				t.Fatal(err)
			}
			for id, row := range found {
				all[recordName{o.Name, id}] = row
			}
		}
	}
	return all
}

// differences are the records in which the account is not what the tables say, with what should be told of each.
func (h *history) differences(t *testing.T) map[recordName]string {
	t.Helper()
	there := h.account(t)
	rows := h.rows(t, there)
	differ := map[recordName]string{}
	for is, r := range there {
		row, known := rows[is]
		switch {
		case !known || row.Deleted:
			differ[is] = core.Added
		case changedSince(row, r) || slices.ContainsFunc(shape.Differ(row.Record, r), func(key string) bool { return shape.Carried(is.object, key) }):
			differ[is] = core.Updated
		}
	}
	for is, row := range rows {
		if _, lives := there[is]; !lives && !row.Deleted {
			differ[is] = core.Deleted
		}
	}
	maps.DeleteFunc(differ, func(is recordName, _ string) bool {
		o, _ := shape.Find(is.object)
		return !o.Hooks // nobody is told of them
	})
	h.checkMissed(t, differ, there, rows)
	return differ
}

// changedSince reports whether a record was changed since its row was. Some say nothing of when they were.
func changedSince(row mirror.Row, r shape.Record) bool {
	last := r.Updated
	if last.IsZero() {
		last = r.Added.Truncate(time.Second)
	}
	return !last.IsZero() && !last.Equal(row.Updated)
}

// checkMissed holds the differences against what the account did and what was heard of it: a record whose last change
// was told by a webhook does not differ, and one whose last change was not does. One that does not say when it was
// changed may be what its row says all the same: what was missed was undone, or a merge has brought it.
func (h *history) checkMissed(t *testing.T, differ map[recordName]string, there map[recordName]shape.Record, rows map[recordName]mirror.Row) {
	t.Helper()
	arrived := map[recordName]map[int64]bool{}
	for _, line := range h.told.lines() {
		is := recordName{line.Object, line.ObjectID}
		if arrived[is] == nil {
			arrived[is] = map[int64]bool{}
		}
		arrived[is][line.At.UnixMilli()] = true
	}
	for is, ch := range h.last {
		what, differs := differ[is]
		row, known := rows[is]
		o, _ := shape.Find(is.object)
		switch heard := arrived[is][ch.At.UnixMilli()]; {
		case !o.Hooks, h.twins[is]:
		case heard && differs:
			t.Errorf("%s %s was told by a webhook, and differs: %s; row %s", is.object, is.id, what, rowText(row, ch.After))
		case !heard && !differs && ch.Action == "delete" && known && !row.Deleted,
			!heard && !differs && ch.Action != "delete" && !there[is].Updated.IsZero() && row.Updated.Unix() != ch.At.Unix():
			t.Errorf("%s of %s %s was not told by a webhook, and nothing differs", ch.Action, is.object, is.id)
		}
	}
}

func rowText(row mirror.Row, after any) string {
	data, _ := json.Marshal(row.Values)
	is, _ := json.Marshal(after)
	return fmt.Sprintf("%s (%s, %s), account %s", data, row.At, row.From, is)
}

// checkTold checks that each difference was told once, and nothing else by the comparison.
func (h *history) checkTold(t *testing.T, missed map[recordName]string) {
	t.Helper()
	told := map[recordName]string{}
	for _, line := range h.told.lines() {
		is := recordName{line.Object, line.ObjectID}
		if line.Origin != core.OriginReconcile {
			continue
		}
		if _, twice := told[is]; twice {
			t.Errorf("%s %s was told twice by the comparison", is.object, is.id)
		}
		told[is] = line.Action
		if missed[is] != line.Action {
			t.Errorf("the comparison tells %s.%s %s; it is missed as %q", line.Action, is.object, is.id, missed[is])
		}
	}
	for is, action := range missed {
		if told[is] == "" {
			t.Errorf("%s of %s %s was missed, and the comparison does not tell it", action, is.object, is.id)
		}
	}
}

// checkLedger checks that the second listener was told of each stored event once.
func (h *history) checkLedger(t *testing.T, stored []store.Event) {
	t.Helper()
	times := map[string]int{}
	for _, line := range h.told.lines() {
		times[line.ID]++
	}
	for _, ev := range stored {
		if n := times[ev.ID]; n != 1 {
			t.Errorf("event %s, %s.%s %s, was told %d times", ev.ID, ev.Action, ev.Object, ev.ObjectID, n)
		}
		delete(times, ev.ID)
	}
	if len(times) > 0 {
		t.Errorf("%d events were told and are not stored", len(times))
	}
}

// checkTables checks that the tables have what the account has, and nothing else.
func (h *history) checkTables(t *testing.T) {
	t.Helper()
	there := h.account(t)
	rows := h.rows(t, there)
	for is, r := range there {
		row, known := rows[is]
		keys := shape.Differ(row.Record, r)
		switch {
		case !known || row.Deleted || !row.DeletedAt.IsZero():
			t.Errorf("%s %s is there, and its row is %+v", is.object, is.id, row)
		case len(keys) > 0 || changedSince(row, r):
			t.Errorf("%s %s differs in %v, updated %s: %s", is.object, is.id, keys, r.Updated, rowText(row, r.Values))
		default:
			for key := range r.Values {
				if _, carried := row.Values[key]; !carried {
					t.Errorf("%s %s has no %s", is.object, is.id, key)
				}
			}
		}
	}
	for is, row := range rows {
		if _, lives := there[is]; !lives && (!row.Deleted || row.DeletedAt.IsZero()) {
			t.Errorf("%s %s is deleted, and its row says nothing of it", is.object, is.id)
		}
	}
}
