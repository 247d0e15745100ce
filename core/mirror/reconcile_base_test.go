package mirror_test

import (
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/coretest/testdb"
	"github.com/pipehook/pipehook/core/mirror"
	"github.com/pipehook/pipehook/core/pipedrive"
)

// withSince looks at what changed in the time before.
func (d *desk) withSince(by time.Duration) func(*mirror.ReconcileOptions) {
	return func(o *mirror.ReconcileOptions) { o.Since = d.now.Add(-by) }
}

func daily(o *mirror.ReconcileOptions) { o.Sweep = 24 * time.Hour }

// Nobody has missed what was there before the tables were.
func TestAnObjectThatWasNeverReadIsFilledWithoutEventsSinceWhenever(t *testing.T) {
	d := newDesk(t, testdb.SQLite(t), "person")
	for id := range 20 {
		d.put("person", strconv.Itoa(id+1), noon.Add(-48*time.Hour), nil)
	}
	if done := d.run(t, d.withSince(24*time.Hour), daily); done.Filled != 20 || len(d.events) != 0 {
		t.Errorf("got %+v and %d events", done, len(d.events))
	}
}

// A virtual machine may wake up in a wrong year.
func TestAComparisonUnderAClockThatWasAheadBlindsNoLaterOne(t *testing.T) {
	d := newDesk(t, testdb.SQLite(t), "person", "deal")
	d.put("person", "1", noon.Add(-time.Hour), map[string]any{"name": "old"})
	d.put("person", "2", noon.Add(-time.Hour), nil)
	d.run(t)
	const ahead = 5 * 365 * 24 * time.Hour
	d.later(ahead)
	d.run(t, deletes)
	d.later(time.Hour - ahead)
	d.put("person", "1", d.now.Add(-10*time.Minute), map[string]any{"name": "missed meanwhile"})
	if done := d.run(t, daily); done.Submitted != 1 || !done.Swept {
		t.Errorf("once the clock is right: %+v", done)
	}
	d.deliver(t)
	d.later(time.Hour)
	d.put("person", "1", d.now.Add(-10*time.Minute), map[string]any{"name": "missed later"})
	if done := d.run(t, daily); done.Submitted != 1 || done.Swept {
		t.Errorf("an hour later: %+v", done)
	}
	d.deliver(t)
	d.later(25 * time.Hour)
	d.remove("person", "2")
	if done := d.run(t, daily); done.Deletes != 1 {
		t.Errorf("a day later: %+v", done)
	}
}

func TestThatAllOfSeveralAreGoneIsNotBelieved(t *testing.T) {
	for _, test := range []struct {
		have, gone int
		believed   bool
	}{{1, 1, true}, {2, 2, false}, {8, 8, false}, {12, 10, true}, {14, 11, false}, {100, 100, false}, {100, 50, true}, {100, 51, false}} {
		d := newDesk(t, testdb.SQLite(t), "person")
		for id := range test.have {
			d.put("person", strconv.Itoa(id+1), noon.Add(-time.Hour), nil)
		}
		d.run(t)
		for id := range test.gone {
			d.remove("person", strconv.Itoa(id+1))
		}
		d.later(time.Hour)
		if done := d.run(t, daily); (done.Error == "") != test.believed || (done.Deletes == test.gone) != test.believed {
			t.Errorf("%d of %d are gone: %+v", test.gone, test.have, done)
		}
	}
}

// What only a look at all finds is as old as it likes, and the next comparison of what has changed would not list it.
func TestWhatASweepCouldNotTellOfIsTriedAgainByTheNextComparison(t *testing.T) {
	refused := func(d *desk) { d.refuse = func(core.Event) error { return &core.Error{Kind: core.Invalid, Msg: "no"} } }
	for name, hinder := range map[string]func(d *desk){
		"refused": refused,
		"pending": func(d *desk) {
			d.waiting = []core.Event{{Object: "deal", ObjectID: "2"}, {Object: "deal_product", ObjectID: "2"}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, testdb.SQLite(t), "deal", "deal_product")
			part := map[string]any{"deal_id": jsonNumber("1"), "quantity": 1}
			d.put("deal", "1", noon.Add(-time.Hour), map[string]any{"title": "a", "status": "open"})
			d.put("deal_product", "1", noon.Add(-time.Hour), part)
			d.run(t)
			d.later(24 * time.Hour)
			d.run(t)
			d.put("deal", "2", d.now.Add(-3*time.Hour), map[string]any{"title": "b", "status": "open"})
			d.put("deal_product", "2", d.now.Add(-3*time.Hour), part)
			d.later(time.Hour)
			hinder(d)
			if all := d.all(t, deletes); all[0].Differing != 1 || all[1].Differing != 1 || len(d.events) != 0 {
				t.Fatalf("while it can't be told: %+v and %d events", all, len(d.events))
			}
			d.waiting, d.refuse = nil, nil
			if d.all(t, daily); !sameTexts(d.types(t), "added.deal 2", "added.deal_product 2") {
				t.Errorf("the events are %v", d.types(t))
			}
			d.deliver(t)
			d.later(time.Hour)
			if all := d.all(t, daily); all[0].Differing+all[1].Differing != 0 || all[1].Calls != 0 {
				t.Errorf("after they were handled: %+v", all)
			}
		})
	}
}

// all compares all objects.
func (d *desk) all(t *testing.T, with ...func(*mirror.ReconcileOptions)) []mirror.ReconciledObject {
	t.Helper()
	o := d.o
	for _, f := range with {
		f(&o)
	}
	report, err := d.m.Reconcile(t.Context(), d.account, o)
	if err != nil {
		t.Fatal(err)
	}
	return report.Objects
}

// An account without Projects answers 415, a token without a scope 403, and a plan without a feature may answer 402.
func TestWhatTheAccountDoesNotHaveIsNotedAndTheOthersAreCompared(t *testing.T) {
	for _, reason := range []pipedrive.Reason{pipedrive.FeatureOff, pipedrive.Forbidden, pipedrive.Closed} {
		d := newDesk(t, testdb.SQLite(t), "person", "deal", "project")
		d.put("person", "1", noon.Add(-time.Hour), nil)
		d.put("deal", "1", noon.Add(-time.Hour), nil)
		has := "deal"
		d.fail = func(l pipedrive.List, _ int) error {
			if !strings.HasPrefix(l.Path, "/api/v2/"+has) {
				return &pipedrive.Error{Reason: reason}
			}
			return nil
		}
		for range 2 { // the first one fills
			d.later(time.Hour)
			report, err := d.m.Reconcile(t.Context(), d.account, d.o)
			if err != nil || report.Failed() != nil || len(report.Objects) != 3 {
				t.Fatalf("%s: %v, %v, %+v", reason, err, report.Failed(), report.Objects)
			}
			for _, o := range report.Objects {
				if (o.Note == "") != (o.Object == has) || o.Error != "" {
					t.Errorf("%s: got %+v", reason, o)
				}
			}
		}
		if has = "none"; len(d.all(t)) != 3 || d.all(t)[1].Error == "" {
			t.Errorf("%s of one that was read before: %+v", reason, d.all(t))
		}
		other := newDesk(t, testdb.SQLite(t), "person", "deal")
		other.fail = d.fail
		for _, o := range other.all(t) {
			if o.Error == "" || o.Note != "" {
				t.Errorf("%s of all: %+v", reason, o)
			}
		}
	}
}

// A process whose clock was years ahead may have died in a comparison.
func TestALeaseThatEndsInAFarFutureHoldsNobodyUp(t *testing.T) {
	d := newDesk(t, testdb.SQLite(t), "person")
	for until, busy := range map[time.Time]bool{noon.Add(50 * time.Second): true, noon.AddDate(5, 0, 0): false} {
		text := `{"owner":"another","token":"t","until":"` + until.Format(time.RFC3339) + `"}`
		if err := d.m.SetState(t.Context(), "lease", []byte(text)); err != nil {
			t.Fatal(err)
		}
		_, err := d.m.Reconcile(t.Context(), d.account, d.o)
		if is, ok := errors.AsType[*mirror.Busy](err); ok != busy || ok && !strings.Contains(is.Error(), "may begin at "+until.Format(time.DateTime)) {
			t.Errorf("until %s: %v", until, err)
		}
	}
}

// A gap may be noted by one process and looked at by the next one, or by another.
func TestEachObjectIsSweptOnceAfterAGapThatHasSettled(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		d := newDesk(t, url, "person", "organization", "project")
		d.fail = func(l pipedrive.List, _ int) error {
			if strings.HasPrefix(l.Path, pathOf("project")) {
				return &pipedrive.Error{Reason: pipedrive.FeatureOff}
			}
			return nil
		}
		for _, object := range []string{"person", "organization"} {
			for id := range 4 {
				d.put(object, strconv.Itoa(id+1), noon.Add(-time.Hour), nil)
			}
		}
		d.all(t)
		d.later(time.Hour)
		if err := d.m.NoteGap(t.Context()); err != nil {
			t.Fatal(err)
		}
		noted := d.now
		gap := func(want time.Time) {
			t.Helper()
			if got, err := d.m.Gap(t.Context()); err != nil || !got.Equal(want) {
				t.Errorf("the gap is %s, %v, want %s", got, err, want)
			}
		}
		d.remove("person", "1")
		d.remove("organization", "1")
		swept := func(want ...string) {
			t.Helper()
			var got []string
			for _, o := range d.all(t) {
				if o.Swept {
					got = append(got, o.Object)
				}
			}
			if !sameTexts(got, want...) {
				t.Errorf("%s after the gap %v are swept, want %v", d.now.Sub(noted), got, want)
			}
		}
		d.later(4 * time.Minute)
		swept()
		gap(noted)
		d.later(time.Minute)
		broken := d.fail
		d.fail = func(l pipedrive.List, from int) error {
			if l.Path == pathOf("person") {
				return &pipedrive.Error{Reason: pipedrive.Unavailable}
			}
			return broken(l, from)
		}
		swept("organization")
		gap(noted)
		d.fail = broken
		d.later(time.Minute)
		swept("person")
		gap(time.Time{})
		if got := d.types(t); !sameTexts(got, "deleted.person 1", "deleted.organization 1") {
			t.Errorf("the events are %v", got)
		}
		d.deliver(t)
		d.later(time.Minute)
		swept()
	})
}

func TestAGapThatIsNotedWhileAllIsComparedIsLookedAtByTheNextComparison(t *testing.T) {
	d := newDesk(t, testdb.SQLite(t), "person")
	d.put("person", "1", noon.Add(-time.Hour), nil)
	d.run(t)
	note := func() {
		if err := d.m.NoteGap(t.Context()); err != nil {
			t.Error(err)
		}
	}
	note()
	d.later(time.Hour)
	d.between = func(pipedrive.List, pipedrive.Page) { note() }
	if done := d.run(t); !done.Swept {
		t.Errorf("got %+v", done)
	}
	d.between = nil
	if done := d.run(t); done.Swept {
		t.Errorf("before it has settled: %+v", done)
	}
	d.later(5 * time.Minute)
	if done := d.run(t); !done.Swept {
		t.Errorf("once it has settled: %+v", done)
	}
	if done := d.run(t); done.Swept {
		t.Errorf("and once more: %+v", done)
	}
}

func TestAGapOfAClockThatWasAheadIsLookedAtAllTheSame(t *testing.T) {
	d := newDesk(t, testdb.SQLite(t), "person")
	d.put("person", "1", noon.Add(-time.Hour), nil)
	d.run(t)
	d.later(5 * 365 * 24 * time.Hour)
	if err := d.m.NoteGap(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.now = noon.Add(time.Hour)
	d.run(t)
	d.later(5 * time.Minute)
	if done := d.run(t); !done.Swept {
		t.Errorf("got %+v", done)
	}
}

// Only somebody can say whether they are deleted. Until then what changes is compared as ever.
func TestADoubtOfDeletionsHoldsNothingUp(t *testing.T) {
	d := newDesk(t, testdb.SQLite(t), "note", "person")
	for id := range 20 {
		d.put("person", strconv.Itoa(id+1), noon.Add(-time.Hour), nil)
	}
	for id := range 2 {
		d.put("note", strconv.Itoa(id+1), noon.Add(-time.Hour), nil)
	}
	d.all(t)
	d.later(time.Hour)
	if err := d.m.NoteGap(t.Context()); err != nil {
		t.Fatal(err)
	}
	for id := range 12 {
		d.remove("person", strconv.Itoa(id+1))
		d.remove("note", strconv.Itoa(id+1))
	}
	d.put("person", "20", d.now, map[string]any{"name": "new"})
	compare := func(doubted bool, with ...func(*mirror.ReconcileOptions)) mirror.Report {
		t.Helper()
		o := d.o
		for _, f := range append(with, daily) {
			f(&o)
		}
		report, err := d.m.Reconcile(t.Context(), d.account, o)
		if err != nil || (report.Failed() != nil) != doubted {
			t.Fatalf("%v, %v", err, report.Failed())
		}
		for _, o := range report.Objects {
			if o.Swept != doubted && with == nil || strings.Contains(o.Error, "run pipehook reconcile "+o.Object+" --deletes") != doubted {
				t.Errorf("%d minutes after noon: %+v", d.now.Sub(noon)/time.Minute, o)
			}
		}
		return report
	}
	d.later(10 * time.Minute)
	compare(true)
	if gap, err := d.m.Gap(t.Context()); err != nil || !gap.IsZero() {
		t.Errorf("the gap is %s, %v", gap, err)
	}
	if got := d.types(t); !sameTexts(got, "updated.person 20") {
		t.Errorf("the events are %v", got)
	}
	d.deliver(t)
	d.later(time.Hour)
	compare(false)
	d.later(24 * time.Hour)
	compare(true)
	if report := compare(false, deletes); report.Objects[0].Deletes+report.Objects[1].Deletes != 14 {
		t.Errorf("once it is said that they are deleted: %+v", report)
	}
}
