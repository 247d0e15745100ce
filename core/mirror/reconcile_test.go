package mirror_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/coretest/testdb"
	"github.com/pipehook/pipehook/core/mirror"
	"github.com/pipehook/pipehook/core/pipedrive"
	"github.com/pipehook/pipehook/core/pipedrive/shape"
	source "github.com/pipehook/pipehook/core/source/pipedrive"
)

// receiver stands for the store and the deliveries: it keeps events under their keys, and hands them to the tables
// when it is told to.
type receiver struct {
	mu      sync.Mutex
	m       *mirror.Mirror
	events  []core.Event
	waiting []core.Event
	lost    []core.Event              // that the tables will not be given any more
	refuse  func(ev core.Event) error // may be nil
}

func (r *receiver) Submit(_ context.Context, ev core.Event) (core.Receipt, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refuse != nil {
		if err := r.refuse(ev); err != nil {
			return core.Receipt{}, err
		}
	}
	ev.ID = strconv.Itoa(len(r.events))
	for i, old := range r.events {
		later := ev.Plan.After != 0 && int64(i+1) > ev.Plan.After && old.Object == ev.Object && old.ObjectID == ev.ObjectID
		if later || ev.Key != nil && bytes.Equal(old.Key, ev.Key) {
			return core.Receipt{ID: old.ID, Duplicate: true}, nil
		}
	}
	r.events, r.waiting = append(r.events, ev), append(r.waiting, ev)
	return core.Receipt{ID: ev.ID}, nil
}

func (r *receiver) LastSeq(context.Context) (int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.events) == 0 {
		return -1, nil
	}
	return int64(len(r.events)), nil
}

func (r *receiver) Pending(_ context.Context, object string, ids []string) (map[string]bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	pending := map[string]bool{}
	for _, ev := range r.waiting {
		if ev.Object == object && slices.Contains(ids, ev.ObjectID) {
			pending[ev.ObjectID] = true
		}
	}
	return pending, nil
}

// Unheard counts events by their place in lost.
func (r *receiver) Unheard(_ context.Context, object string, from, before time.Time, _ int64, do func(id string, seq int64)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, ev := range r.lost {
		if ev.Object == object && !ev.ReceivedAt.Before(from) && (before.IsZero() || ev.ReceivedAt.Before(before)) {
			do(ev.ObjectID, int64(i))
		}
	}
	return nil
}

func (r *receiver) Events(_ context.Context, seqs []int64) (events []core.Event, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, i := range seqs {
		events = append(events, r.lost[i])
	}
	return events, nil
}

// giveUp has no event come to the tables any more that is on its way to them.
func (r *receiver) giveUp() { r.lost, r.waiting = append(r.lost, r.waiting...), nil }

// deliver has the tables follow the events, which are read as those of webhooks are.
func (r *receiver) deliver(t *testing.T) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, ev := range r.waiting {
		if err := (source.Source{}).Name(&ev); err != nil {
			t.Fatal(err)
		}
		if ev.Flaw != "" {
			t.Errorf("the event %s has a flaw: %s", ev.Body, ev.Flaw)
		}
		record, err := shape.FromWebhook(&ev, nil)
		if err != nil {
			t.Fatal(err)
		}
		apply(t, r.m, mirror.Change{Record: record, Action: ev.Action, At: ev.OccurredAt, From: mirror.FromReconcile, Event: ev.ID})
	}
	r.waiting = nil
}

// types are the events since the last call, such as added.deal 1.
func (r *receiver) types(t *testing.T) (all []string) {
	t.Helper()
	for _, ev := range r.waiting {
		if err := (source.Source{}).Name(&ev); err != nil {
			t.Fatal(err)
		}
		all = append(all, ev.Type()+" "+ev.ObjectID)
	}
	return all
}

// desk is a comparison with all that it needs.
type desk struct {
	*account
	*receiver
	m   *mirror.Mirror
	now time.Time
	o   mirror.ReconcileOptions
}

func newDesk(t *testing.T, url string, objects ...string) *desk {
	t.Helper()
	d := &desk{account: newAccount(), now: noon}
	m, err := mirror.Open(t.Context(), mirror.Options{URL: url, Objects: objects, Now: func() time.Time { return d.now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	d.m, d.receiver = m, &receiver{m: m}
	d.o = mirror.ReconcileOptions{
		Settle: 5 * time.Minute, Overlap: 10 * time.Minute, CompanyID: "7", Host: "acme.pipedrive.com", Owner: "test",
		Submit: d.Submit, LastSeq: d.LastSeq, Pending: d.Pending, Unheard: d.Unheard, Events: d.Events,
	}
	return d
}

func (d *desk) run(t *testing.T, with ...func(*mirror.ReconcileOptions)) mirror.ReconciledObject {
	t.Helper()
	o := d.o
	for _, f := range with {
		f(&o)
	}
	report, err := d.m.Reconcile(t.Context(), d.account, o)
	if err != nil {
		t.Fatal(err)
	}
	return report.Objects[0]
}

func deletes(o *mirror.ReconcileOptions) { o.Deletes = true }

func (d *desk) later(by time.Duration) { d.now = d.now.Add(by) }

func sameTexts(got []string, want ...string) bool {
	seen := map[string]int{}
	for _, s := range got {
		seen[s]++
	}
	for _, s := range want {
		seen[s]--
	}
	for _, n := range seen {
		if n != 0 {
			return false
		}
	}
	return len(got) == len(want)
}

func TestAComparisonTellsWhatWebhooksMissed(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		d := newDesk(t, url, "deal")
		for _, id := range []string{"1", "2", "3"} {
			d.put("deal", id, noon.Add(-time.Hour), map[string]any{"title": "old", "status": "open", "stage_id": 1})
		}
		if done := d.run(t); done.Filled != 3 || len(d.events) != 0 {
			t.Fatalf("the first comparison: %+v, and %d events", done, len(d.events))
		}
		d.later(time.Hour)
		missed := d.now.Add(-12 * time.Minute)
		d.put("deal", "1", missed, map[string]any{"title": "new"})
		d.put("deal", "2", missed, map[string]any{"status": "deleted"})
		d.put("deal", "4", missed, map[string]any{"title": "four", "status": "open", "add_time": missed.Format(time.RFC3339)})
		d.put("deal", "5", d.now.Add(-time.Minute), map[string]any{"title": "young", "status": "open"})
		done := d.run(t)
		if done.Submitted != 3 || done.Deletes != 1 || done.Differing != 3 {
			t.Errorf("got %+v", done)
		}
		if got := d.types(t); !sameTexts(got, "updated.deal 1", "deleted.deal 2", "added.deal 4") {
			t.Errorf("the events are %v", got)
		}
		if done := d.run(t); done.Pending != 3 || done.Submitted != 0 || done.Settling != 1 {
			t.Errorf("while they are on their way: %+v", done)
		}
		d.deliver(t)
		if got := row(t, d.m, "deal", "1").Values["title"]; got != "new" {
			t.Errorf("the title is %v", got)
		}
		if !row(t, d.m, "deal", "2").Deleted || row(t, d.m, "deal", "4").ID == "" {
			t.Error("the tables do not follow")
		}
		if done := d.run(t); done.Differing != 0 || done.Settling != 1 {
			t.Errorf("after they were handled: %+v", done)
		}
		d.later(10 * time.Minute)
		if done := d.run(t); !sameTexts(d.types(t), "added.deal 5") || done.Settling != 0 {
			t.Errorf("what has settled: %v", d.types(t))
		}
	})
}

// Pipedrive has no update_time of a deal that nobody has edited.
func TestADealThatWasNeverEditedIsToldOfOnceItHasSettled(t *testing.T) {
	d := newDesk(t, testdb.SQLite(t), "deal")
	d.put("deal", "1", noon.Add(-time.Hour), map[string]any{"title": "old"})
	d.run(t)
	d.later(time.Hour)
	d.put("deal", "2", d.now.Add(-time.Minute), map[string]any{"title": "new", "update_time": nil})
	if done := d.run(t); done.Differing != 0 {
		t.Errorf("while its webhook may still arrive: %+v", done)
	}
	d.later(5 * time.Minute)
	d.run(t)
	if got := d.types(t); !sameTexts(got, "added.deal 2") {
		t.Errorf("the events are %v", got)
	}
	d.deliver(t)
	d.later(time.Hour)
	if done := d.run(t, deletes); done.Differing != 0 {
		t.Errorf("after it was handled: %+v", done)
	}
}

func TestTheEventOfAChangeHasWhatWasBefore(t *testing.T) {
	d := newDesk(t, testdb.SQLite(t), "deal")
	d.put("deal", "1", noon.Add(-time.Hour), map[string]any{
		"title": "old", "status": "open", "custom_fields": map[string]any{"abc": "x", "def": "y"},
	})
	d.run(t)
	d.later(time.Hour)
	d.put("deal", "1", d.now.Add(-10*time.Minute), map[string]any{"title": "new", "custom_fields": map[string]any{"abc": "z", "def": "y"}})
	d.run(t)
	var body struct {
		Data     map[string]any `json:"data"`
		Previous map[string]any `json:"previous"`
		Meta     map[string]any `json:"meta"`
	}
	if err := json.Unmarshal(d.events[0].Body, &body); err != nil {
		t.Fatal(err)
	}
	custom, _ := body.Previous["custom_fields"].(map[string]any)
	if len(body.Previous) != 3 || body.Previous["title"] != "old" || len(custom) != 1 || custom["abc"] == nil || body.Previous["update_time"] == nil {
		t.Errorf("previous is %v", body.Previous)
	}
	if body.Data["title"] != "new" || body.Meta["action"] != "change" || body.Meta["company_id"] != "7" {
		t.Errorf("got %s", d.events[0].Body)
	}
	if at := d.now.Add(-10 * time.Minute).Format("2006-01-02T15:04:05.000Z"); body.Meta["timestamp"] != at {
		t.Errorf("the time is %v, want %s", body.Meta["timestamp"], at)
	}
}

func TestTwoChangesInOneSecondAreToldApart(t *testing.T) {
	d := newDesk(t, testdb.SQLite(t), "deal")
	second := noon.Add(-time.Hour)
	d.put("deal", "1", second, map[string]any{"title": "first", "status": "open"})
	d.run(t)
	d.put("deal", "1", second, map[string]any{"title": "second"})
	since := func(o *mirror.ReconcileOptions) { o.Since = second.Add(-time.Minute) }
	if done := d.run(t, since); done.Submitted != 1 {
		t.Fatalf("got %+v", done)
	}
	d.deliver(t)
	if got := row(t, d.m, "deal", "1").Values["title"]; got != "second" {
		t.Errorf("the title is %v", got)
	}
	if done := d.run(t, since); done.Differing != 0 {
		t.Errorf("got %+v", done)
	}
}

func TestWhatNoWebhookCarriesIsWrittenWithoutAnEvent(t *testing.T) {
	d := newDesk(t, testdb.SQLite(t), "deal")
	d.put("deal", "1", noon.Add(-time.Hour), map[string]any{"title": "a", "status": "open", "notes_count": 1, "local_won_date": nil})
	d.run(t)
	d.put("deal", "1", noon.Add(-time.Hour), map[string]any{"notes_count": 2, "local_won_date": "2026-05-27"})
	done := d.run(t, func(o *mirror.ReconcileOptions) { o.Since = noon.Add(-2 * time.Hour) })
	if done.Written != 1 || len(d.events) != 0 || row(t, d.m, "deal", "1").Values["notes_count"] != json.Number("2") || row(t, d.m, "deal", "1").Values["local_won_date"] != "2026-05-27" {
		t.Errorf("got %+v and %d events", done, len(d.events))
	}
}

func TestWhatIsListedNowhereAnyMoreIsDeleted(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		d := newDesk(t, url, "person")
		for id := range 1200 {
			d.put("person", strconv.Itoa(id+1), noon.Add(-time.Hour), map[string]any{"name": "p"})
		}
		d.run(t)
		d.later(time.Hour)
		d.remove("person", "7")
		d.remove("person", "1100")
		if done := d.run(t); done.Swept || done.Differing != 0 {
			t.Errorf("without a look at all ids: %+v", done)
		}
		done := d.run(t, deletes)
		if !done.Swept || done.Deletes != 2 || done.Calls != 4 || !sameTexts(d.types(t), "deleted.person 7", "deleted.person 1100") {
			t.Errorf("got %+v and %v", done, d.types(t))
		}
		d.deliver(t)
		if !row(t, d.m, "person", "7").Deleted {
			t.Error("the row is not deleted")
		}
		if done := d.run(t, deletes); done.Differing != 0 {
			t.Errorf("got %+v", done)
		}
	})
}

func TestADeletionOnItsWayIsLookedAtAgain(t *testing.T) {
	d := newDesk(t, testdb.SQLite(t), "person")
	d.put("person", "1", noon.Add(-time.Hour), nil)
	d.put("person", "2", noon.Add(-time.Hour), nil)
	d.run(t)
	d.later(time.Hour)
	d.remove("person", "1")
	d.waiting = []core.Event{{Object: "person", ObjectID: "1"}}
	if done := d.run(t, deletes); done.Pending != 1 || done.Submitted != 0 {
		t.Errorf("got %+v", done)
	}
	d.waiting = nil
	if done := d.run(t); done.Deletes != 1 {
		t.Errorf("got %+v", done)
	}
}

func TestThatMostIsGoneIsNotBelieved(t *testing.T) {
	d := newDesk(t, testdb.SQLite(t), "person")
	for id := range 300 {
		d.put("person", strconv.Itoa(id+1), noon.Add(-time.Hour), nil)
	}
	d.run(t)
	for id := range 299 {
		d.remove("person", strconv.Itoa(id+1))
	}
	d.later(time.Hour)
	done := d.run(t, func(o *mirror.ReconcileOptions) { o.Sweep = time.Minute })
	if done.Error == "" || len(d.events) != 0 {
		t.Errorf("got %+v and %d events", done, len(d.events))
	}
	if done := d.run(t, deletes); done.Deletes != 299 {
		t.Errorf("got %+v", done)
	}
}

func TestAWebhookThatComesWhileItIsComparedWins(t *testing.T) {
	d := newDesk(t, testdb.SQLite(t), "deal")
	d.put("deal", "1", noon.Add(-time.Hour), map[string]any{"title": "old", "status": "open"})
	d.run(t)
	d.later(time.Hour)
	d.put("deal", "1", d.now.Add(-10*time.Minute), map[string]any{"title": "new"})
	d.events = make([]core.Event, 1)
	pending := d.o.Pending
	d.o.Pending = func(ctx context.Context, object string, ids []string) (map[string]bool, error) {
		is, err := pending(ctx, object, ids)
		d.receiver.mu.Lock()
		d.events = append(d.events, core.Event{Object: object, ObjectID: ids[0]}) // stored after the last seq was noted
		d.receiver.mu.Unlock()
		return is, err
	}
	if done := d.run(t); done.Duplicates != 1 || done.Submitted != 0 {
		t.Errorf("got %+v", done)
	}
	d.o.Pending = pending
	if done := d.run(t); done.Submitted != 1 {
		t.Errorf("the next comparison: %+v", done)
	}
}

func TestAComparisonThatBrokeOffIsRepeatedWithoutHarm(t *testing.T) {
	d := newDesk(t, testdb.SQLite(t), "deal")
	for id := range 50 {
		d.put("deal", strconv.Itoa(id+1), noon.Add(-time.Hour), map[string]any{"title": "old", "status": "open"})
	}
	d.run(t)
	d.later(time.Hour)
	for id := range 50 {
		d.put("deal", strconv.Itoa(id+1), d.now.Add(-10*time.Minute), map[string]any{"title": "new"})
	}
	n := 0
	d.refuse = func(core.Event) error {
		if n++; n > 20 {
			return &core.Error{Kind: core.Unavailable, Msg: "the store is away"}
		}
		return nil
	}
	if done := d.run(t); done.Error == "" || done.Submitted != 20 {
		t.Fatalf("got %+v", done)
	}
	d.refuse = nil
	if done := d.run(t); done.Pending != 20 || done.Submitted != 30 {
		t.Errorf("got %+v", done)
	}
	d.deliver(t)
	if done := d.run(t); done.Differing != 0 || len(d.events) != 50 {
		t.Errorf("got %+v and %d events", done, len(d.events))
	}
}

func TestARecordThatWasRestoredIsToldOf(t *testing.T) {
	d := newDesk(t, testdb.SQLite(t), "deal")
	d.put("deal", "1", noon.Add(-time.Hour), map[string]any{"title": "a", "status": "open"})
	d.run(t)
	d.later(time.Hour)
	d.put("deal", "1", d.now.Add(-30*time.Minute), map[string]any{"status": "deleted"})
	d.run(t)
	d.deliver(t)
	d.later(time.Hour)
	d.put("deal", "1", d.now.Add(-10*time.Minute), map[string]any{"status": "open"})
	d.run(t)
	if got := d.types(t); !sameTexts(got, "added.deal 1") {
		t.Errorf("the events are %v", got)
	}
	d.deliver(t)
	if row(t, d.m, "deal", "1").Deleted {
		t.Error("the row is deleted still")
	}
}

func TestAnObjectWithoutWebhooksIsWrittenAtOnce(t *testing.T) {
	d := newDesk(t, testdb.SQLite(t), "file")
	d.put("file", "1", noon.Add(-time.Hour), map[string]any{"name": "a"})
	d.put("file", "2", noon.Add(-time.Hour), map[string]any{"name": "b"})
	d.run(t)
	d.later(time.Hour)
	d.put("file", "1", d.now.Add(-10*time.Minute), map[string]any{"name": "new"})
	d.remove("file", "2")
	d.run(t, deletes)
	if len(d.events) != 0 || row(t, d.m, "file", "1").Values["name"] != "new" || !row(t, d.m, "file", "2").Deleted {
		t.Errorf("%d events; %+v; %+v", len(d.events), row(t, d.m, "file", "1"), row(t, d.m, "file", "2"))
	}
}

func TestOneComparisonRunsAtATime(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		d := newDesk(t, url, "deal")
		d.put("deal", "1", noon.Add(-time.Hour), map[string]any{"status": "open"})
		var second error
		d.between = func(pipedrive.List, pipedrive.Page) { _, second = d.m.Reconcile(t.Context(), newAccount(), d.o) }
		d.run(t)
		busy, ok := errors.AsType[*mirror.Busy](second)
		if !ok || busy.Owner != "test" {
			t.Errorf("the second one ended with %v", second)
		}
		d.between = nil
		d.run(t)
	})
}

func TestWhenAllWasComparedByWhoServesIsKnownToAll(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		d := newDesk(t, url, "deal", "person")
		whole := func(o *mirror.ReconcileOptions) { o.Serving = true }
		last := func() time.Time {
			t.Helper()
			at, err := d.m.Compared(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return at
		}
		for name, part := range map[string]func(*mirror.ReconcileOptions){
			"one object":      func(o *mirror.ReconcileOptions) { o.Objects = []string{"deal"} },
			"since a time":    func(o *mirror.ReconcileOptions) { o.Since = noon.Add(-time.Hour) },
			"a dry run":       func(o *mirror.ReconcileOptions) { o.DryRun = true },
			"nobody serves":   func(o *mirror.ReconcileOptions) { o.Serving = false },
			"an object fails": func(*mirror.ReconcileOptions) { d.fail = func(pipedrive.List, int) error { return errors.New("down") } },
		} {
			d.run(t, whole, part)
			d.fail = nil
			if at := last(); !at.IsZero() {
				t.Errorf("%s: all was compared at %v", name, at)
			}
		}
		if d.run(t, whole); !last().Equal(d.now) {
			t.Errorf("all was compared at %v, want %v", last(), d.now)
		}
		if d.later(-time.Hour); !last().IsZero() {
			t.Errorf("by a clock that was ahead all was compared at %v", last())
		}
	})
}

// A deploy that adds an object to those that are kept replaces one process after the other.
func TestWhatWasComparedByWhoKeepsFewerObjectsWasNotAllToWhoKeepsMore(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		d := newDesk(t, url, "deal", "person")
		keeps := func(objects ...string) *mirror.Mirror {
			m, err := mirror.Open(t.Context(), mirror.Options{URL: url, Objects: objects, Now: func() time.Time { return d.now }})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = m.Close() })
			return m
		}
		d.run(t, func(o *mirror.ReconcileOptions) { o.Serving = true })
		for _, test := range []struct {
			objects []string
			all     bool
		}{{[]string{"deal", "person"}, true}, {[]string{"person"}, true}, {[]string{"deal", "person", "note"}, false}, {nil, false}} {
			if at, err := keeps(test.objects...).Compared(t.Context()); err != nil || at.Equal(d.now) != test.all || at.IsZero() == test.all {
				t.Errorf("to who keeps %v all was compared at %v, %v", test.objects, at, err)
			}
		}
	})
}

func TestADryRunChangesNothing(t *testing.T) {
	d := newDesk(t, testdb.SQLite(t), "deal")
	d.put("deal", "1", noon.Add(-time.Hour), map[string]any{"title": "old", "status": "open"})
	d.run(t)
	d.later(time.Hour)
	d.put("deal", "1", d.now.Add(-10*time.Minute), map[string]any{"title": "new"})
	dry := func(o *mirror.ReconcileOptions) { o.DryRun = true }
	for range 2 {
		if done := d.run(t, dry); done.Unsent != 1 || len(d.events) != 0 {
			t.Errorf("got %+v and %d events", done, len(d.events))
		}
	}
	if done := d.run(t); done.Submitted != 1 {
		t.Errorf("got %+v", done)
	}
}

func TestPartsOfDealsAreLookedAtWhereTheirDealsChanged(t *testing.T) {
	d := newDesk(t, testdb.SQLite(t), "deal", "deal_product")
	for id := range 300 {
		text := strconv.Itoa(id + 1)
		d.put("deal", text, noon.Add(-time.Hour), map[string]any{"title": "a", "status": "open"})
		d.put("deal_product", text, noon.Add(-time.Hour), map[string]any{"deal_id": jsonNumber(text), "quantity": 1})
	}
	d.run(t)
	d.later(time.Hour)
	changed := d.now.Add(-10 * time.Minute)
	d.put("deal", "7", changed, nil)
	d.put("deal_product", "7", changed, map[string]any{"quantity": 2})
	report, err := d.m.Reconcile(t.Context(), d.account, d.o)
	if err != nil || report.Failed() != nil {
		t.Fatal(err, report.Failed())
	}
	if parts := report.Objects[1]; parts.Submitted != 1 || parts.Calls != 1 {
		t.Errorf("got %+v", parts)
	}
	if got := d.types(t); !sameTexts(got, "updated.deal 7", "updated.deal_product 7") {
		t.Errorf("the events are %v", got)
	}
}

// Pipedrive leaves out the custom fields of a lead that have no value.
func TestACustomFieldOfALeadThatWasClearedIsClearedAndToldOf(t *testing.T) {
	const key, other = "0123456789abcdef0123456789abcdef01234567", "1123456789abcdef0123456789abcdef01234567"
	testdb.Each(t, func(t *testing.T, url string) {
		d := newDesk(t, url, "lead")
		of := func(id string) map[string]any {
			fields, _ := row(t, d.m, "lead", id).Values["custom_fields"].(map[string]any)
			return fields
		}
		for _, id := range []string{"1", "2", "3", "4", "5"} {
			d.put("lead", id, noon.Add(-time.Hour), map[string]any{"title": "a", key: "x", other: "y"})
		}
		d.run(t)
		d.later(time.Hour)
		clear := func(id string) {
			d.put("lead", id, d.now.Add(-20*time.Minute), nil)
			delete(d.objects[pathOf("lead")][id], key)
		}
		clear("1")
		if done := d.run(t); done.Submitted != 1 || done.Differing != 1 {
			t.Fatalf("found %+v", done)
		}
		told := d.waiting[0].Body
		if was, is := gjson.GetBytes(told, "previous.custom_fields"), gjson.GetBytes(told, "data.custom_fields."+key); was.Get(key+".value").Str != "x" || was.Get(other).Exists() || is.Raw != "null" {
			t.Errorf("told %s", told)
		}
		d.deliver(t)
		if is := of("1"); is[key] != nil || is[other] != "y" {
			t.Errorf("the row has %v", is)
		}
		d.later(time.Hour)
		if done := d.run(t, deletes); done.Differing != 0 || done.Written != 0 {
			t.Errorf("once more: %+v", done)
		}

		clear("2")
		if report, err := d.m.Fill(t.Context(), d.account, mirror.FillOptions{}); err != nil || report.Failed() != nil || report.Objects[0].Written != 1 {
			t.Errorf("a fill: %+v, %v", report, err)
		}
		if is := of("2"); is[key] != nil || is[other] != "y" {
			t.Errorf("after a fill the row has %v", is)
		}

		clear("3")
		d.archive("lead", "3", d.now.Add(-20*time.Minute))
		clear("4")
		d.later(time.Hour)
		if done := d.run(t, deletes); done.Submitted != 2 {
			t.Errorf("a list of all: %+v", done)
		}
		d.deliver(t)

		d.put("lead", "5", noon.Add(-time.Hour), nil)
		delete(d.objects[pathOf("lead")]["5"], key)
		d.refuse = func(core.Event) error { return &core.Error{Kind: core.Invalid, Msg: "no"} }
		d.run(t, func(o *mirror.ReconcileOptions) { o.Since = noon.Add(-2 * time.Hour) })
		d.refuse = nil
		if done := d.run(t); done.Submitted != 1 {
			t.Errorf("one that is asked for by its id: %+v", done)
		}
		if told := d.waiting[0].Body; gjson.GetBytes(told, "data.custom_fields."+key).Raw != "null" {
			t.Errorf("told %s", told)
		}
	})
}

// A field that is deleted is gone from every lead at once, and no webhook tells of that.
func TestACustomFieldThatIsDefinedNoMoreIsNotTakenForClearedOnEachLead(t *testing.T) {
	const key, other = "0123456789abcdef0123456789abcdef01234567", "1123456789abcdef0123456789abcdef01234567"
	defined := func(object, key string) *shape.Fields {
		return shape.NewFields("acme", map[string][]shape.Field{object: {{Key: key, Label: "Tier", Type: "varchar", Custom: true}}})
	}
	for _, test := range []struct {
		name   string
		fields *shape.Fields
		told   []string
	}{
		{"the field is deleted", defined("deal", other), []string{"updated.lead 2"}},
		{"the field is there", defined("deal", key), []string{"updated.lead 1"}},
		{"nothing is known", nil, []string{"updated.lead 1", "updated.lead 2"}},
		{"nothing is known of leads", defined("person", other), []string{"updated.lead 1", "updated.lead 2"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := newDesk(t, testdb.SQLite(t), "lead")
			d.o.Fields = test.fields
			for _, id := range []string{"1", "2"} {
				d.put("lead", id, noon.Add(-time.Hour), map[string]any{"title": "a", key: "x", other: "y"})
			}
			d.run(t)
			d.later(time.Hour)
			delete(d.objects[pathOf("lead")]["1"], key)
			delete(d.objects[pathOf("lead")]["2"], other)
			if d.run(t, deletes); !sameTexts(d.types(t), test.told...) {
				t.Errorf("told %v, want %v", d.types(t), test.told)
			}
		})
	}
}

func TestAThousandChangesCostTwoLists(t *testing.T) {
	d := newDesk(t, testdb.SQLite(t), "person")
	for id := range 3000 {
		d.put("person", strconv.Itoa(id+1), noon.Add(-time.Hour), map[string]any{"name": "old"})
	}
	d.run(t)
	d.later(time.Hour)
	for id := range 1000 {
		d.put("person", strconv.Itoa(id+1), d.now.Add(-10*time.Minute), map[string]any{"name": "new"})
	}
	if done := d.run(t); done.Submitted != 1000 || done.Calls != 2 {
		t.Errorf("got %+v", done)
	}
}
