package mirror_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/coretest/testdb"
	"github.com/pipehook/pipehook/core/mirror"
	"github.com/pipehook/pipehook/core/pipedrive/shape"
	source "github.com/pipehook/pipehook/core/source/pipedrive"
)

// heard has a webhook stored, which the tables will be given or not.
func (d *desk) heard(t *testing.T, e shape.Envelope) {
	t.Helper()
	e.CompanyID, e.UserID = "7", "1"
	ev := core.Event{ID: "webhook of " + e.At.String(), Source: mirror.Source, ReceivedAt: e.At, Body: shape.Body(e)}
	if err := (source.Source{States: true}).Name(&ev); err != nil {
		t.Fatal(err)
	}
	d.events, d.waiting = append(d.events, ev), append(d.waiting, ev)
}

func data(updated time.Time, title string) []byte {
	return []byte(`{"id":1,"title":"` + title + `","status":"open","update_time":"` + updated.Format(time.RFC3339) + `"}`)
}

// Listeners have run for what was stored, whatever became of its delivery to the tables.
func TestWhatTheTablesAloneDidNotGetIsNotToldAgain(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		d := newDesk(t, url, "deal")
		d.put("deal", "1", noon.Add(-time.Hour), map[string]any{"title": "old", "status": "open", "local_won_date": nil})
		d.run(t)
		d.later(time.Hour)
		at := d.now.Add(-20 * time.Minute)
		d.put("deal", "1", at, map[string]any{"title": "new", "local_won_date": "2026-05-27"})
		d.heard(t, shape.Envelope{Action: "change", Object: "deal", ID: "1", Data: data(at, "new"), At: at})
		if done := d.run(t); done.Pending != 1 {
			t.Errorf("while its delivery is to come: %+v", done)
		}
		d.giveUp()
		if done := d.run(t, func(o *mirror.ReconcileOptions) { o.DryRun = true }); done.Written != 0 || row(t, d.m, "deal", "1").Values["title"] != "old" {
			t.Errorf("a dry run: %+v", done)
		}
		done := d.run(t)
		if done.Submitted != 0 || done.Differing != 0 || done.Written != 2 || len(d.events) != 1 {
			t.Errorf("once it was given up: %+v and %v", done, d.types(t))
		}
		is := row(t, d.m, "deal", "1")
		if is.Values["title"] != "new" || is.Values["local_won_date"] != "2026-05-27" {
			t.Errorf("the row is %+v", is)
		}
		if done := d.run(t); done.Differing != 0 || done.Written != 0 {
			t.Errorf("the next comparison: %+v", done)
		}
	})
}

func TestWhatWasMissedBesideWhatTheTablesDidNotGetIsToldOnce(t *testing.T) {
	for name, later := range map[string]time.Duration{"in the same second": 0, "after it": time.Minute} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, testdb.SQLite(t), "deal")
			d.put("deal", "1", noon.Add(-time.Hour), map[string]any{"title": "old", "status": "open"})
			d.run(t)
			d.later(time.Hour)
			at := d.now.Add(-20 * time.Minute)
			d.heard(t, shape.Envelope{Action: "change", Object: "deal", ID: "1", Data: data(at, "heard"), At: at})
			d.giveUp()
			d.put("deal", "1", at.Add(later), map[string]any{"title": "missed"})
			done := d.run(t)
			if got := d.types(t); done.Submitted != 1 || !sameTexts(got, "updated.deal 1") {
				t.Fatalf("got %+v and %v", done, got)
			}
			d.deliver(t)
			if got := row(t, d.m, "deal", "1").Values["title"]; got != "missed" {
				t.Errorf("the title is %v", got)
			}
			if done := d.run(t); done.Differing != 0 || len(d.events) != 2 {
				t.Errorf("the next comparison: %+v", done)
			}
		})
	}
}

// Hours may lie between two changes, and the tables are to have the first before the second is told.
func TestOnlyTheLastOfTheChangesThatTheTablesDidNotGetIsTold(t *testing.T) {
	d := newDesk(t, testdb.SQLite(t), "deal")
	d.put("deal", "1", noon.Add(-time.Hour), map[string]any{"title": "old", "status": "open"})
	d.run(t)
	d.later(6 * time.Hour)
	at := d.now.Add(-4 * time.Hour)
	d.heard(t, shape.Envelope{Action: "change", Object: "deal", ID: "1", Data: data(at, "heard"), At: at})
	two := []byte(`{"id":2,"title":"heard","status":"open","add_time":"` + at.Format(time.RFC3339) + `"}`)
	d.heard(t, shape.Envelope{Action: "create", Object: "deal", ID: "2", Data: two, At: at})
	d.giveUp()
	d.put("deal", "2", at, map[string]any{"title": "heard", "status": "open"})
	for _, id := range []string{"1", "2"} {
		d.put("deal", id, at.Add(3*time.Hour), map[string]any{"title": "heard", "status": "won"})
	}
	d.run(t)
	if got := d.types(t); !sameTexts(got, "updated.deal 1", "updated.deal 2") {
		t.Errorf("the events are %v", got)
	}
	for _, ev := range d.waiting {
		previous := gjson.GetBytes(ev.Body, "previous")
		if previous.Get("title").Exists() || previous.Get("status").Str != "open" {
			t.Errorf("%s: what was another is %s", ev.ObjectID, previous.Raw)
		}
	}
}

// The tables may have got nothing for days: not the change either that came before the deletion.
func TestADeletionThatTheTablesAloneDidNotGetIsNotToldAgain(t *testing.T) {
	d := newDesk(t, testdb.SQLite(t), "person")
	for _, id := range []string{"1", "2"} {
		d.put("person", id, noon.Add(-time.Hour), map[string]any{"name": "old"})
	}
	d.run(t)
	d.later(time.Hour)
	at := d.now.Add(-20 * time.Minute)
	changed := []byte(`{"id":1,"name":"new","update_time":"` + at.Format(time.RFC3339) + `"}`)
	d.heard(t, shape.Envelope{Action: "change", Object: "person", ID: "1", Data: changed, At: at})
	d.heard(t, shape.Envelope{Action: "delete", Object: "person", ID: "1", Previous: changed, At: at.Add(time.Minute)})
	d.giveUp()
	d.remove("person", "1")
	d.remove("person", "2")
	if done := d.run(t, deletes); done.Deletes != 1 || !sameTexts(d.types(t), "deleted.person 2") {
		t.Errorf("got %+v and %v", done, d.types(t))
	}
	d.deliver(t)
	if is := row(t, d.m, "person", "1"); !is.Deleted || is.Values["name"] != "new" {
		t.Errorf("the row is %+v", is)
	}
}

// What a comparison has told is stored too.
func TestAnEventOfAComparisonThatTheTablesDidNotGetIsNotToldAgain(t *testing.T) {
	d := newDesk(t, testdb.SQLite(t), "deal")
	d.put("deal", "1", noon.Add(-time.Hour), map[string]any{"title": "old", "status": "open"})
	d.run(t)
	d.later(time.Hour)
	d.put("deal", "1", d.now.Add(-20*time.Minute), map[string]any{"title": "new"})
	if done := d.run(t); done.Submitted != 1 {
		t.Fatalf("got %+v", done)
	}
	ev := &d.waiting[0]
	ev.Source, ev.ReceivedAt = mirror.Source, d.now
	if err := (source.Source{}).Name(ev); err != nil {
		t.Fatal(err)
	}
	d.giveUp()
	d.later(48 * time.Hour)
	d.events = nil // its key is free by now
	if done := d.run(t, deletes); done.Submitted != 0 || done.Written != 1 || row(t, d.m, "deal", "1").Values["title"] != "new" {
		t.Errorf("got %+v", done)
	}
}

// A token may see what it did not see before: then nearly every page has what no row knows, and changes of any age.
func TestHoweverManyPagesDifferEachStoredEventIsLookedAtOnce(t *testing.T) {
	d := newDesk(t, testdb.SQLite(t), "deal")
	d.put("deal", "1000", noon.Add(-time.Hour), map[string]any{"title": "old", "status": "open"})
	d.run(t)
	d.later(time.Hour)
	at := noon.Add(-33 * 24 * time.Hour)
	d.heard(t, shape.Envelope{Action: "change", Object: "deal", ID: "40", At: at,
		Data: []byte(`{"id":40,"title":"new","status":"open","add_time":"` + at.Format(time.RFC3339) + `","update_time":"` + at.Format(time.RFC3339) + `"}`)})
	d.giveUp()
	d.limit = 2
	for id := range 40 { // the list of all goes by id, and the times as they like
		d.put("deal", strconv.Itoa(id+1), noon.Add(-time.Duration(id*7%40)*24*time.Hour), map[string]any{"title": "new", "status": "open"})
	}
	var seen time.Time
	var last, to int64
	asked := 0
	done := d.run(t, deletes, func(o *mirror.ReconcileOptions) {
		o.Unheard = func(ctx context.Context, object string, from, before time.Time, later int64, do func(id string, seq int64)) error {
			if asked++; !before.Equal(seen) || !seen.IsZero() && from.After(seen) || asked > 1 && later != to {
				t.Errorf("asked from %s before %s and later than %d, and all is known from %s and up to %d", from, before, later, seen, to)
			}
			seen, to = from, last
			return d.Unheard(ctx, object, from, before, later, do)
		}
		o.LastSeq = func(ctx context.Context) (seq int64, err error) {
			last, err = d.LastSeq(ctx)
			return last, err
		}
	})
	if done.Submitted != 39 || asked != 20 || row(t, d.m, "deal", "40").Values["title"] != "new" {
		t.Errorf("asked %d times: %+v", asked, done)
	}
}
