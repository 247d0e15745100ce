package mirror_test

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/coretest/testdb"
	"github.com/pipehook/pipehook/core/mirror"
	"github.com/pipehook/pipehook/core/pipedrive"
)

// One record that its pipeline does not take, such as one that is too large, keeps no other from being told of.
func TestARecordThatIsRefusedHoldsUpNoOther(t *testing.T) {
	d := newDesk(t, testdb.SQLite(t), "person")
	d.limit = 100
	for id := range 300 {
		d.put("person", strconv.Itoa(id+1), noon.Add(-time.Hour), map[string]any{"name": "old"})
	}
	d.run(t)
	d.later(time.Hour)
	for id := range 300 {
		d.put("person", strconv.Itoa(id+1), d.now.Add(-10*time.Minute), map[string]any{"name": "new"})
	}
	d.refuse = func(ev core.Event) error {
		if ev.ObjectID == "7" || ev.ObjectID == "150" {
			return &core.Error{Kind: core.TooLarge, Msg: "the body is too large"}
		}
		return nil
	}
	if done := d.run(t); done.Submitted != 298 || done.Unsent != 2 || done.Error == "" {
		t.Fatalf("got %+v", done)
	}
	d.deliver(t)
	d.refuse = nil
	d.later(time.Hour)
	if done := d.run(t); done.Submitted != 2 || done.Error != "" {
		t.Errorf("once they are taken: %+v", done)
	}
}

// Whatever ends a comparison between deals and their parts, the next one looks at the parts of the deals that changed.
func TestPartsAreLookedAtThoughTheLastComparisonEndedBeforeThem(t *testing.T) {
	d := newDesk(t, testdb.SQLite(t), "deal", "deal_product", "deal_installment")
	for id := range 3 {
		text := strconv.Itoa(id + 1)
		d.put("deal", text, noon.Add(-time.Hour), map[string]any{"title": "a", "status": "open"})
		for _, part := range []string{"deal_product", "deal_installment"} {
			d.put(part, text, noon.Add(-time.Hour), map[string]any{"deal_id": jsonNumber(text), "quantity": 1})
		}
	}
	d.run(t)
	d.later(time.Hour)
	changed := d.now.Add(-30 * time.Minute)
	d.put("deal", "2", changed, nil)
	d.put("deal_product", "2", changed, map[string]any{"quantity": 2})
	d.put("deal_installment", "2", changed, map[string]any{"quantity": 2})
	d.fail = func(l pipedrive.List, _ int) error {
		if l.Path == pathOf("deal_product") {
			return &pipedrive.Error{Reason: pipedrive.DailySpent}
		}
		return nil
	}
	report, err := d.m.Reconcile(t.Context(), d.account, d.o)
	if err != nil || report.Failed() == nil || !sameTexts(d.types(t), "updated.deal 2") {
		t.Fatalf("%+v, %v, %v", report, err, d.types(t))
	}
	d.fail = nil
	d.deliver(t)
	d.later(time.Hour)
	if report, err = d.m.Reconcile(t.Context(), d.account, d.o); err != nil || report.Failed() != nil {
		t.Fatal(err, report.Failed())
	}
	if got := d.types(t); !sameTexts(got, "updated.deal_product 2", "updated.deal_installment 2") {
		t.Errorf("the events are %v", got)
	}
	d.deliver(t)
	d.later(time.Hour)
	if report, err = d.m.Reconcile(t.Context(), d.account, d.o); err != nil || report.Objects[1].Calls != 0 {
		t.Errorf("when nothing has changed since: %+v, %v", report, err)
	}
}

// A deletion is found by a look at all ids, of which there is one a day. It is not forgotten until the next one because a
// webhook was about the record just then.
func TestADeletionBehindAWebhookIsLookedAtAgain(t *testing.T) {
	d := newDesk(t, testdb.SQLite(t), "person")
	d.put("person", "1", noon.Add(-time.Hour), nil)
	d.put("person", "2", noon.Add(-time.Hour), nil)
	d.run(t)
	d.later(time.Hour)
	c := deal("1", 0, 0, map[string]any{"name": "b", "update_time": d.now.Format(time.RFC3339)})
	c.Record.Object, c.Record.Updated, c.At = "person", d.now, d.now
	apply(t, d.m, c)
	d.remove("person", "1")
	if done := d.run(t, deletes); done.Differing != 0 {
		t.Errorf("while its webhook may come: %+v", done)
	}
	d.later(10 * time.Minute)
	if done := d.run(t); done.Deletes != 1 {
		t.Errorf("once it has settled: %+v", done)
	}
}

// A stage may keep an event from the listeners. The tables have what Pipedrive has.
func TestWhatAStageDropsIsWrittenAndNotSubmittedAgain(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		d := newDesk(t, url, "person")
		for _, id := range []string{"1", "2", "3"} {
			d.put("person", id, noon.Add(-time.Hour), map[string]any{"name": "old"})
		}
		d.run(t)
		d.later(time.Hour)
		d.put("person", "1", d.now.Add(-30*time.Minute), map[string]any{"name": "new"})
		d.put("person", "4", d.now.Add(-30*time.Minute), map[string]any{"name": "new"})
		d.remove("person", "2")
		walked := 0
		drop := func(o *mirror.ReconcileOptions) {
			o.Submit = func(_ context.Context, ev core.Event) (core.Receipt, error) {
				d.receiver.mu.Lock()
				defer d.receiver.mu.Unlock()
				walked++
				return core.Receipt{ID: ev.ID, Dropped: true}, nil
			}
		}
		if done := d.run(t, deletes, drop); walked != 3 || done.Submitted+done.Differing+done.Deletes != 0 || done.Written != 3 {
			t.Errorf("%d events: %+v", walked, done)
		}
		one, two, four := row(t, d.m, "person", "1"), row(t, d.m, "person", "2"), row(t, d.m, "person", "4")
		if one.Values["name"] != "new" || !two.Deleted || two.Values["name"] != "old" || four.Values["name"] != "new" {
			t.Errorf("the rows are %+v, %+v and %+v", one, two, four)
		}
		d.later(time.Hour)
		if done := d.run(t, deletes, drop); walked != 3 || done.Differing+done.Written != 0 {
			t.Errorf("the next comparison: %d events and %+v", walked, done)
		}
	})
}

// Webhooks are not all that changes a row: a back-fill does beside, and what another record tells of this one.
func TestADeletionBehindABackFillIsLookedAtAgain(t *testing.T) {
	d := newDesk(t, testdb.SQLite(t), "person")
	for _, id := range []string{"1", "2"} {
		d.put("person", id, noon.Add(-time.Hour), map[string]any{"name": "a"})
	}
	d.run(t)
	d.later(time.Hour)
	c := listed("1", -3600, time.Hour, map[string]any{"name": "a", "extra": "x"})
	c.Record.Object = "person"
	apply(t, d.m, c)
	d.remove("person", "1")
	if done := d.run(t, deletes); done.Differing != 0 {
		t.Errorf("while it may still be there: %+v", done)
	}
	d.later(10 * time.Minute)
	if done := d.run(t); done.Deletes != 1 {
		t.Errorf("once it has settled: %+v", done)
	}
}

// Pipedrive tells of some parts of deals nowhere when they changed.
func TestAPartWithoutATimeThatCouldNotBeToldOfIsLookedAtAgain(t *testing.T) {
	d := newDesk(t, testdb.SQLite(t), "deal", "deal_installment")
	d.put("deal", "1", noon.Add(-time.Hour), map[string]any{"title": "a", "status": "open"})
	d.all(t)
	d.later(time.Hour)
	d.put("deal_installment", "1", d.now.Add(-30*time.Minute), map[string]any{"deal_id": jsonNumber("1"), "update_time": "", "add_time": ""})
	d.refuse = func(core.Event) error { return &core.Error{Kind: core.Invalid, Msg: "no"} }
	d.all(t, deletes)
	d.refuse = nil
	d.later(time.Hour)
	if d.all(t); !sameTexts(d.types(t), "added.deal_installment 1") {
		t.Errorf("the events are %v", d.types(t))
	}
}

// They can't be asked for by their ids: all have to be listed.
func TestAPartThatIsAddedWhileAllAreListedIsNotTakenForDeleted(t *testing.T) {
	for _, object := range []string{"deal_product", "deal_installment"} {
		d := newDesk(t, testdb.SQLite(t), "deal", object)
		part := map[string]any{"deal_id": jsonNumber("1"), "quantity": jsonNumber("1")}
		d.put("deal", "1", noon.Add(-time.Hour), map[string]any{"title": "a", "status": "open"})
		d.put(object, "1", noon.Add(-time.Hour), part)
		d.all(t)
		d.later(25 * time.Hour)
		d.between = func(l pipedrive.List, _ pipedrive.Page) {
			if l.Path != pathOf(object) {
				return
			}
			d.between = nil
			d.put(object, "2", d.now, part)
			c := deal("2", int(d.now.Sub(noon)/time.Second), 0, part)
			c.Record.Object, c.Action = object, core.Added
			apply(t, d.m, c)
		}
		for range 2 {
			all := d.all(t, daily)
			if !all[1].Swept || all[1].Error != "" {
				t.Errorf("%s: got %+v", object, all)
			}
			d.later(time.Hour)
		}
		if all := d.all(t, daily); all[1].Swept || len(d.events) != 0 {
			t.Errorf("%s: got %+v and the events %v", object, all, d.types(t))
		}
		d.remove(object, "2")
		if d.all(t, deletes); !sameTexts(d.types(t), "deleted."+object+" 2") {
			t.Errorf("once it is deleted: %v", d.types(t))
		}
	}
}

// A new record may have no update_time yet. Its webhook may still be on its way all the same.
func TestANewRecordWithoutAnUpdateSettlesToo(t *testing.T) {
	d := newDesk(t, testdb.SQLite(t), "pipeline")
	d.put("pipeline", "1", noon.Add(-time.Hour), map[string]any{"name": "a"})
	d.run(t)
	d.later(time.Hour)
	d.put("pipeline", "2", d.now.Add(-time.Minute), map[string]any{"name": "b", "update_time": nil})
	if done := d.run(t); done.Differing != 0 || done.Settling != 1 {
		t.Errorf("a minute old: %+v", done)
	}
	d.later(10 * time.Minute)
	if done := d.run(t); done.Submitted != 1 {
		t.Errorf("once it has settled: %+v", done)
	}
}

// What a fill leaves to the next comparison, so that listeners learn of it, is left whether or not it was ever updated.
func TestAFillLeavesWhatIsNew(t *testing.T) {
	d := newDesk(t, testdb.SQLite(t), "pipeline")
	d.put("pipeline", "1", noon.Add(-time.Hour), map[string]any{"name": "a"})
	d.run(t)
	d.later(time.Hour)
	d.put("pipeline", "2", d.now.Add(-10*time.Minute), map[string]any{"name": "b", "update_time": nil})
	report, err := d.m.Fill(t.Context(), d.account, mirror.FillOptions{Leave: true})
	if err != nil || report.Failed() != nil || report.Objects[0].Left != 1 {
		t.Errorf("%+v, %v", report, err)
	}
	if done := d.run(t); done.Submitted != 1 {
		t.Errorf("the comparison: %+v", done)
	}
}

// Archived deals and leads have lists of their own. That many are archived does not look like many that are gone.
func TestArchivedRecordsAreNotGone(t *testing.T) {
	for _, object := range []string{"deal", "lead"} {
		t.Run(object, func(t *testing.T) {
			d := newDesk(t, testdb.SQLite(t), object)
			for id := range 300 {
				d.put(object, strconv.Itoa(id+1), noon.Add(-time.Hour), map[string]any{"title": "a", "status": "open", "is_archived": false})
			}
			d.run(t)
			d.later(time.Hour)
			changed := d.now.Add(-10 * time.Minute)
			for id := range 290 {
				d.archive(object, strconv.Itoa(id+1), changed)
			}
			sweep := func(o *mirror.ReconcileOptions) { o.Sweep = time.Minute }
			done := d.run(t, sweep)
			if done.Error != "" || done.Submitted != 290 || done.Deletes != 0 || done.Calls > 4 {
				t.Fatalf("got %+v", done)
			}
			d.deliver(t)
			if got := row(t, d.m, object, "1").Values["is_archived"]; got != true {
				t.Errorf("is_archived is %v", got)
			}
			d.later(time.Hour)
			d.remove(object, "1")
			if done := d.run(t, sweep); done.Error != "" || done.Deletes != 1 || done.Differing != 1 {
				t.Errorf("one that is deleted: %+v", done)
			}
		})
	}
}

// A fill runs beside comparisons, and does not take back what they note meanwhile.
func TestAFillTakesBackNothingThatAComparisonNoted(t *testing.T) {
	d := newDesk(t, testdb.SQLite(t), "person")
	d.put("person", "1", noon.Add(-time.Hour), nil)
	d.put("person", "2", noon.Add(-time.Hour), nil)
	d.run(t)
	d.later(time.Hour)
	d.remove("person", "1")
	d.waiting = []core.Event{{Object: "person", ObjectID: "1"}}
	d.between = func(pipedrive.List, pipedrive.Page) {
		d.between = nil
		d.run(t, deletes)
	}
	if report, err := d.m.Fill(t.Context(), d.account, mirror.FillOptions{}); errors.Join(err, report.Failed()) != nil {
		t.Fatal(report, err)
	}
	d.waiting = nil
	if done := d.run(t); done.Deletes != 1 {
		t.Errorf("got %+v", done)
	}
}

// A record that was deleted, restored and deleted again is deleted, though both deletions were found on one day.
func TestASecondDeletionIsToldOfToo(t *testing.T) {
	d := newDesk(t, testdb.SQLite(t), "person")
	d.put("person", "1", noon.Add(-time.Hour), map[string]any{"name": "a"})
	d.put("person", "2", noon.Add(-time.Hour), nil)
	d.run(t)
	for range 2 {
		d.later(time.Hour)
		d.remove("person", "1")
		if done := d.run(t, deletes); done.Deletes != 1 {
			t.Fatalf("a deletion: %+v", done)
		}
		d.deliver(t)
		d.later(time.Hour)
		d.put("person", "1", d.now.Add(-10*time.Minute), map[string]any{"name": "a"})
		if done := d.run(t); done.Submitted != 1 {
			t.Fatalf("it was restored: %+v", done)
		}
		d.deliver(t)
	}
}

// Deletions that can't be told of yet are looked at again by each comparison, each once.
func TestWhatIsLookedAtAgainDoesNotGrow(t *testing.T) {
	d := newDesk(t, testdb.SQLite(t), "person")
	for _, id := range []string{"1", "2", "3"} {
		d.put("person", id, noon.Add(-time.Hour), nil)
	}
	d.run(t)
	d.later(time.Hour)
	d.remove("person", "1")
	d.remove("person", "2")
	d.waiting = []core.Event{{Object: "person", ObjectID: "1"}}
	d.refuse = func(core.Event) error { return &core.Error{Kind: core.Invalid, Msg: "no"} }
	d.run(t, deletes)
	for range 5 {
		d.later(time.Hour)
		if done := d.run(t); done.Differing != 2 {
			t.Fatalf("got %+v", done)
		}
	}
	d.waiting, d.refuse = nil, nil
	if done := d.run(t); done.Deletes != 2 {
		t.Errorf("got %+v", done)
	}
}
