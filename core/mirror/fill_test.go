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

func fill(t *testing.T, m *mirror.Mirror, a *account, o mirror.FillOptions) mirror.FilledObject {
	t.Helper()
	report, err := m.Fill(t.Context(), a, o)
	if err != nil {
		t.Fatal(err)
	}
	return report.Objects[0]
}

func count(t *testing.T, m *mirror.Mirror, object string) int {
	t.Helper()
	n := 0
	for after := ""; ; {
		ids, err := m.IDs(t.Context(), object, after, 1000)
		if err != nil {
			t.Fatal(err)
		}
		if len(ids) == 0 {
			return n
		}
		n, after = n+len(ids), ids[len(ids)-1]
	}
}

func TestAFillReadsAllThereIs(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		m, a := open(t, url), newAccount()
		for id := range 1200 {
			a.put("person", strconv.Itoa(id+1), noon, map[string]any{"name": "p"})
		}
		done := fill(t, m, a, mirror.FillOptions{Objects: []string{"person"}, DryRun: true})
		if done.Records != 1200 || done.Written != 0 || count(t, m, "person") != 0 {
			t.Errorf("a dry run has read %d, written %d, and there are %d", done.Records, done.Written, count(t, m, "person"))
		}
		done = fill(t, m, a, mirror.FillOptions{Objects: []string{"person"}})
		if done.Records != 1200 || done.Written != 1200 || done.Calls != 3 || count(t, m, "person") != 1200 {
			t.Errorf("it has read %d, written %d in %d calls, and there are %d", done.Records, done.Written, done.Calls, count(t, m, "person"))
		}
	})
}

func TestAFillThatBrokeOffGoesOnAtTheNextPage(t *testing.T) {
	m, a := open(t, testdb.SQLite(t), "person"), newAccount()
	for id := range 1500 {
		a.put("person", strconv.Itoa(id+1), noon, nil)
	}
	down := true
	a.fail = func(_ pipedrive.List, from int) error {
		if down && from == 1000 {
			return &pipedrive.Error{Reason: pipedrive.Garbled}
		}
		return nil
	}
	done := fill(t, m, a, mirror.FillOptions{})
	if done.Error == "" || count(t, m, "person") != 1000 {
		t.Fatalf("error %q and %d rows, want an error and 1000", done.Error, count(t, m, "person"))
	}
	down = false
	done = fill(t, m, a, mirror.FillOptions{})
	if !done.Resumed || done.Calls != 1 || count(t, m, "person") != 1500 || done.Error != "" {
		t.Errorf("resumed %t in %d calls to %d rows, error %q", done.Resumed, done.Calls, count(t, m, "person"), done.Error)
	}
	if done = fill(t, m, a, mirror.FillOptions{}); done.Resumed || done.Records != 1500 || done.Written != 0 {
		t.Errorf("the next one read %d and wrote %d, resumed %t", done.Records, done.Written, done.Resumed)
	}
}

func TestAFillWhoseCursorHasExpiredBeginsAnew(t *testing.T) {
	m, a := open(t, testdb.SQLite(t), "person"), newAccount()
	for id := range 1500 {
		a.put("person", strconv.Itoa(id+1), noon, nil)
	}
	a.fail = func(_ pipedrive.List, from int) error {
		if from == 1000 {
			return &pipedrive.Error{Reason: pipedrive.Unavailable}
		}
		return nil
	}
	fill(t, m, a, mirror.FillOptions{})
	a.fail = func(l pipedrive.List, from int) error {
		if l.From != "" && from == 1000 {
			return &pipedrive.Error{Reason: pipedrive.Invalid, Status: 400}
		}
		return nil
	}
	if done := fill(t, m, a, mirror.FillOptions{}); done.Error != "" || done.Records != 1500 || count(t, m, "person") != 1500 {
		t.Errorf("error %q, %d read, %d rows", done.Error, done.Records, count(t, m, "person"))
	}
}

// A place that is kept for too long hides what has become of the records before it.
func TestAFillThatBrokeOffLongAgoBeginsAnew(t *testing.T) {
	d := newDesk(t, testdb.SQLite(t), "person")
	for id := range 1500 {
		d.put("person", strconv.Itoa(id+1), noon, nil)
	}
	d.fail = func(_ pipedrive.List, from int) error {
		if from == 1000 {
			return &pipedrive.Error{Reason: pipedrive.Garbled}
		}
		return nil
	}
	for range 2 {
		fill(t, d.m, d.account, mirror.FillOptions{})
		d.later(8 * 24 * time.Hour)
	}
	d.fail = nil
	if done := fill(t, d.m, d.account, mirror.FillOptions{}); done.Resumed || done.Records != 1500 {
		t.Errorf("got %+v", done)
	}
}

// A place in a list by offset is a number of records, and another one when some before it are gone.
func TestAListByOffsetIsNotGoneOnWith(t *testing.T) {
	m, a := open(t, testdb.SQLite(t), "lead"), newAccount()
	for id := range 1500 {
		a.put("lead", strconv.Itoa(id+1), noon, nil)
	}
	broken := ""
	a.fail = func(l pipedrive.List, from int) error {
		if l.Path == broken && from == 1000 {
			return &pipedrive.Error{Reason: pipedrive.Garbled}
		}
		return nil
	}
	broken = pathOf("lead")
	fill(t, m, a, mirror.FillOptions{})
	for id := range 10 {
		a.remove("lead", strconv.Itoa(id+1))
	}
	for id := range 1500 {
		a.archive("lead", strconv.Itoa(id+2001), noon)
	}
	broken += "/archived"
	if done := fill(t, m, a, mirror.FillOptions{}); done.Resumed || done.Error == "" || count(t, m, "lead") != 2500 {
		t.Fatalf("got %+v and %d rows", done, count(t, m, "lead"))
	}
	for id := range 10 {
		a.remove("lead", strconv.Itoa(id+2001))
	}
	broken = ""
	if done := fill(t, m, a, mirror.FillOptions{}); !done.Resumed || done.Calls != 3 || count(t, m, "lead") != 3000 {
		t.Errorf("got %+v and %d rows", done, count(t, m, "lead"))
	}
}

func TestPartsOfDealsAreListedByAHundredDeals(t *testing.T) {
	m, a := open(t, testdb.SQLite(t), "deal", "deal_product"), newAccount()
	for id := range 250 {
		text := strconv.Itoa(id + 1)
		a.put("deal", text, noon, map[string]any{"status": "open"})
		a.put("deal_product", text, noon, map[string]any{"deal_id": jsonNumber(text)})
	}
	report, err := m.Fill(t.Context(), a, mirror.FillOptions{})
	if err != nil || report.Failed() != nil {
		t.Fatal(err, report.Failed())
	}
	if parts := report.Objects[1]; parts.Records != 250 || parts.Calls != 3 || count(t, m, "deal_product") != 250 {
		t.Errorf("%d parts in %d calls, %d rows", parts.Records, parts.Calls, count(t, m, "deal_product"))
	}
}

func TestAnObjectThatFailsLetsTheOthersBeRead(t *testing.T) {
	m, a := open(t, testdb.SQLite(t), "person", "deal"), newAccount()
	a.put("deal", "1", noon, nil)
	a.fail = func(l pipedrive.List, _ int) error {
		if l.Path == pathOf("person") {
			return &pipedrive.Error{Reason: pipedrive.Forbidden}
		}
		return nil
	}
	report, err := m.Fill(t.Context(), a, mirror.FillOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if report.Objects[0].Error == "" || report.Objects[1].Error != "" || count(t, m, "deal") != 1 {
		t.Errorf("got %+v", report.Objects)
	}
}

func TestAFillEndsWithItsContext(t *testing.T) {
	m, a := open(t, testdb.SQLite(t), "person"), newAccount()
	a.limit = 10
	for id := range 100 {
		a.put("person", strconv.Itoa(id+1), noon, nil)
	}
	ctx, end := context.WithCancel(t.Context())
	a.between = func(pipedrive.List, pipedrive.Page) { end() }
	if _, err := m.Fill(ctx, a, mirror.FillOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestAFillLeavesToTheComparisonWhatListenersShouldLearnOf(t *testing.T) {
	m, a := open(t, testdb.SQLite(t), "person"), newAccount()
	a.put("person", "1", noon, map[string]any{"name": "old"})
	fill(t, m, a, mirror.FillOptions{})
	a.put("person", "1", time.Now().Add(time.Minute), map[string]any{"name": "new"})
	a.put("person", "2", time.Now().Add(time.Minute), map[string]any{"name": "never edited", "update_time": nil})
	if done := fill(t, m, a, mirror.FillOptions{Leave: true}); done.Left != 2 {
		t.Errorf("got %+v", done)
	}
	if got := row(t, m, "person", "1").Values["name"]; got != "old" || count(t, m, "person") != 1 {
		t.Errorf("the name is %v, and there are %d", got, count(t, m, "person"))
	}
}

// A row that was written in silence would never be told of.
func TestAFillLeavesWhatCouldNotBeToldOf(t *testing.T) {
	for name, age := range map[string]time.Duration{"since the last comparison": 20 * time.Minute, "before it": 3 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, testdb.SQLite(t), "person")
			d.put("person", "1", noon.Add(-time.Hour), map[string]any{"name": "a"})
			d.run(t)
			d.later(24 * time.Hour)
			d.run(t)
			d.later(time.Hour)
			d.put("person", "2", d.now.Add(-age), map[string]any{"name": "b"})
			d.refuse = func(core.Event) error { return &core.Error{Kind: core.Invalid, Msg: "no"} }
			if done := d.run(t, deletes); done.Unsent != 1 {
				t.Errorf("while it is refused: %+v", done)
			}
			d.refuse = nil
			report, err := d.m.Fill(t.Context(), d.account, mirror.FillOptions{Leave: true})
			if err != nil || report.Failed() != nil || report.Objects[0].Left != 1 {
				t.Errorf("%+v, %v", report, err)
			}
			d.later(time.Hour)
			if done := d.run(t); done.Submitted != 1 {
				t.Errorf("the comparison: %+v", done)
			}
		})
	}
}

func TestAFillThatBrokeOffDoesNotReadAgainWhatItHadReadWhole(t *testing.T) {
	m, a := open(t, testdb.SQLite(t), "organization", "person"), newAccount()
	a.put("organization", "1", noon, nil)
	a.put("person", "1", noon, nil)
	reason := pipedrive.DailySpent
	a.fail = func(l pipedrive.List, _ int) error {
		if l.Path == "/api/v2/persons" && reason != 0 {
			return &pipedrive.Error{Reason: reason}
		}
		return nil
	}
	fill(t, m, a, mirror.FillOptions{})
	for _, test := range []struct {
		name    string
		reason  pipedrive.Reason
		o       mirror.FillOptions
		already bool
	}{
		{"the same again", pipedrive.Unavailable, mirror.FillOptions{}, true}, // every object has its turn
		{"after one whose objects all had their turn", pipedrive.DailySpent, mirror.FillOptions{}, false},
		{"another is asked for", pipedrive.DailySpent, mirror.FillOptions{Since: noon}, false},
		{"a little later", pipedrive.DailySpent, mirror.FillOptions{Since: noon.Add(time.Minute)}, true},
		{"anew", pipedrive.DailySpent, mirror.FillOptions{Since: noon.Add(time.Minute), Restart: true}, false},
		{"only counted", 0, mirror.FillOptions{Since: noon.Add(time.Minute), DryRun: true}, false},
		{"to its end", 0, mirror.FillOptions{Since: noon.Add(time.Minute)}, true},
		{"the next", 0, mirror.FillOptions{Since: noon.Add(time.Minute)}, false},
	} {
		reason = test.reason
		if done := fill(t, m, a, test.o); (done.Calls == 0) != test.already || done.Error != "" {
			t.Errorf("%s: it is read in %d calls, %+v", test.name, done.Calls, done)
		}
	}
}

// A fill since a time has read all that can't be listed since one.
func TestAfterAFillSinceATimeWhatWasReadWholeIsMissedHoweverOldItIs(t *testing.T) {
	for _, object := range []string{"pipeline", "phase", "goal"} {
		d := newDesk(t, testdb.SQLite(t), "board", object)
		d.put("board", "1", noon.Add(-48*time.Hour), nil)
		if _, err := d.m.Fill(t.Context(), d.account, mirror.FillOptions{Since: noon.Add(-24 * time.Hour)}); err != nil {
			t.Fatal(err)
		}
		d.later(time.Hour)
		for id, at := range map[string]string{"1": "", "2": noon.Add(-48 * time.Hour).Format(time.RFC3339)} {
			d.put(object, id, noon, map[string]any{"board_id": jsonNumber("1"), "add_time": at, "update_time": at})
		}
		all := d.all(t)
		d.deliver(t)
		if n := count(t, d.m, object); n != 2 {
			t.Errorf("%s: %d are found, of the comparison %+v", object, n, all)
		}
	}
}

// Such a part may be as old as its deal, and a fill since a time leaves old deals, and so their parts, to themselves.
func TestAfterAFillSinceATimeAPartWithoutATimeIsMissedWhenThePartsOfItsDealWereRead(t *testing.T) {
	d := newDesk(t, testdb.SQLite(t), "deal", "deal_installment")
	for _, id := range []string{"1", "2"} {
		d.put("deal", id, noon.Add(-48*time.Hour), map[string]any{"title": "a", "status": "open"})
	}
	part := func(id, of string) {
		d.put("deal_installment", id, d.now, map[string]any{"deal_id": jsonNumber(of), "add_time": "", "update_time": ""})
	}
	part("1", "1")
	part("2", "2")
	d.put("deal", "1", noon.Add(-time.Hour), nil)
	if _, err := d.m.Fill(t.Context(), d.account, mirror.FillOptions{Since: noon.Add(-24 * time.Hour)}); err != nil {
		t.Fatal(err)
	}
	d.later(time.Hour)
	changed := d.now.Add(-20 * time.Minute)
	d.put("deal", "2", changed, nil)
	old := deal("2", int(changed.Sub(noon)/time.Second), 0, map[string]any{"title": "a", "status": "open"})
	old.Record.Added = noon.Add(-48 * time.Hour)
	apply(t, d.m, old)
	d.put("deal", "3", changed, map[string]any{"title": "b", "status": "open"})
	part("3", "1")
	part("4", "3")
	for range 2 {
		d.all(t, deletes)
		d.deliver(t)
		d.later(time.Hour)
	}
	var got []string
	for _, ev := range d.events {
		got = append(got, ev.Object+" "+ev.ObjectID)
	}
	if !sameTexts(got, "deal 3", "deal_installment 3", "deal_installment 4") {
		t.Errorf("the events are about %v", got)
	}
}

// An old deal that such a fill left to itself comes to the tables when somebody edits it; its parts have not changed.
func TestAfterAFillSinceATimeOldPartsOfAnOldDealThatIsFoundAreNotToldOf(t *testing.T) {
	for name, with := range map[string]func(*mirror.ReconcileOptions){"what changed": func(*mirror.ReconcileOptions) {}, "all": deletes} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, testdb.SQLite(t), "deal", "deal_product", "deal_installment")
			for _, id := range []string{"1", "2", "4"} {
				d.put("deal", id, noon.Add(-48*time.Hour), map[string]any{"title": "a", "status": "open"})
			}
			part := func(id, of string) {
				d.put("deal_installment", id, d.now, map[string]any{"deal_id": jsonNumber(of), "add_time": "", "update_time": ""})
			}
			part("2", "2")
			part("4", "4") // nobody edits that deal
			d.put("deal_product", "2", noon.Add(-48*time.Hour), map[string]any{"deal_id": jsonNumber("2"), "quantity": jsonNumber("1")})
			d.put("deal", "1", noon.Add(-time.Hour), nil)
			if _, err := d.m.Fill(t.Context(), d.account, mirror.FillOptions{Since: noon.Add(-24 * time.Hour)}); err != nil {
				t.Fatal(err)
			}
			d.later(time.Hour)
			d.put("deal", "2", d.now.Add(-20*time.Minute), nil)
			d.put("deal", "3", d.now.Add(-20*time.Minute), map[string]any{"title": "b", "status": "open"})
			part("3", "3")
			if d.all(t, with); !sameTexts(d.types(t), "added.deal 2", "added.deal 3", "added.deal_installment 3") {
				t.Errorf("told %v", d.types(t))
			}
			d.deliver(t)
			d.later(time.Hour)
			if d.all(t, deletes); len(d.types(t)) != 0 {
				t.Errorf("the next comparison told %v", d.types(t))
			}
		})
	}
}
