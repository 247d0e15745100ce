package mirror_test

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core/coretest/testdb"
	"github.com/pipehook/pipehook/core/mirror"
	"github.com/pipehook/pipehook/core/pipedrive"
	"github.com/pipehook/pipehook/core/pipedrive/simulate"
)

// standIn is a comparison of the tables with the stand-in for Pipedrive, by the client that serves use.
type standIn struct {
	*desk
	crm    *simulate.CRM
	faults *simulate.Faults
	api    mirror.API
}

func newStandIn(t *testing.T, url string, objects ...string) *standIn {
	t.Helper()
	d := newDesk(t, url, objects...)
	server := simulate.New(simulate.Options{Token: "token", CompanyID: 7, Now: func() time.Time { return d.now }})
	web := httptest.NewServer(server)
	t.Cleanup(web.Close)
	client, err := pipedrive.New(pipedrive.Options{BaseURL: web.URL, Auth: pipedrive.Token("token"), Budget: pipedrive.BudgetOptions{Burst: 10000}})
	if err != nil {
		t.Fatal(err)
	}
	return &standIn{d, server.CRM(), server.Faults(), client}
}

func (s *standIn) compare(t *testing.T, with ...func(*mirror.ReconcileOptions)) mirror.Report {
	t.Helper()
	o := s.o
	for _, f := range with {
		f(&o)
	}
	report, err := s.m.Reconcile(t.Context(), s.api, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := report.Failed(); err != nil {
		t.Error(err)
	}
	return report
}

func (s *standIn) create(t *testing.T, object string, values simulate.Record) string {
	t.Helper()
	r, err := s.crm.Create(object, values, simulate.By{Quiet: true})
	if err != nil {
		t.Fatal(err)
	}
	id, _ := r["id"].(int64)
	return strconv.FormatInt(id, 10)
}

func TestAllObjectsOfTheStandInAreReadAndComparedWithoutADifference(t *testing.T) {
	s := newStandIn(t, testdb.SQLite(t))
	org := s.create(t, "organization", simulate.Record{"name": "Acme"})
	orgID, _ := strconv.ParseInt(org, 10, 64)
	s.create(t, "person", simulate.Record{"name": "Ann", "org_id": orgID})
	s.create(t, "deal", simulate.Record{"title": "Big", "org_id": orgID})
	s.create(t, "activity", simulate.Record{"subject": "Call", "type": "call"})
	s.create(t, "product", simulate.Record{"name": "Thing"})
	report, err := s.m.Fill(t.Context(), s.api, mirror.FillOptions{})
	if err != nil || report.Failed() != nil {
		t.Fatal(err, report.Failed())
	}
	for _, object := range []string{"user", "pipeline", "stage", "organization", "person", "deal", "activity", "product"} {
		if n, want := count(t, s.m, object), s.crm.Count(object); n != want || n == 0 {
			t.Errorf("%d rows of %s, want %d", n, object, want)
		}
	}
	s.later(time.Hour)
	for range 2 {
		if r := s.compare(t, deletes); r.Differences() != 0 {
			t.Errorf("got %+v and the events %v", r.Objects, s.types(t))
		}
		s.later(time.Hour)
	}
}

func TestWhatTheStandInDidInSilenceIsFound(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		s := newStandIn(t, url, "person", "deal")
		deal := s.create(t, "deal", simulate.Record{"title": "Big"})
		lost := s.create(t, "deal", simulate.Record{"title": "Lost"})
		loser := s.create(t, "person", simulate.Record{"name": "Ann"})
		survivor := s.create(t, "person", simulate.Record{"name": "Anne"})
		s.compare(t)
		s.later(time.Hour)
		quiet := simulate.By{Quiet: true}
		if _, err := s.crm.Update("deal", deal, simulate.Record{"title": "Bigger"}, quiet); err != nil {
			t.Fatal(err)
		}
		if err := s.crm.Delete("deal", lost, quiet); err != nil {
			t.Fatal(err)
		}
		if _, err := s.crm.Merge("person", loser, survivor, quiet); err != nil {
			t.Fatal(err)
		}
		made := s.create(t, "deal", simulate.Record{"title": "New"})
		s.later(10 * time.Minute)
		if err := s.faults.Add(simulate.Fault{Kind: "503", Next: 2}); err != nil {
			t.Fatal(err)
		}
		s.compare(t, deletes)
		got := s.types(t)
		if !sameTexts(got, "updated.deal "+deal, "deleted.deal "+lost, "added.deal "+made, "deleted.person "+loser, "updated.person "+survivor) {
			t.Errorf("the events are %v", got)
		}
		s.deliver(t)
		if r := s.compare(t, deletes); r.Differences() != 0 {
			t.Errorf("after they were handled: %+v and %v", r.Objects, s.types(t))
		}
	})
}

func TestThePartsOfADealThatWasMissedAreFoundAndNotTakenForDeleted(t *testing.T) {
	s := newStandIn(t, testdb.SQLite(t), "product", "deal", "deal_product")
	s.create(t, "product", simulate.Record{"name": "Thing"})
	s.compare(t)
	s.later(time.Hour)
	s.create(t, "deal", simulate.Record{"title": "missed"})
	part := simulate.Record{"deal_id": 1, "product_id": 1, "item_price": 5, "quantity": 1}
	known := deal(s.create(t, "deal_product", part), 3600, 0, map[string]any{"deal_id": json.Number("1"), "product_id": json.Number("1"), "quantity": json.Number("1")})
	known.Record.Object, known.Action = "deal_product", "added"
	apply(t, s.m, known)
	missed := s.create(t, "deal_product", part)
	s.later(10 * time.Minute)
	s.compare(t, deletes, func(o *mirror.ReconcileOptions) { o.Objects = []string{"deal_product"} })
	if got := s.types(t); len(got) != 0 {
		t.Errorf("when the deal is not looked at: %v", got)
	}
	s.compare(t, deletes)
	if got := s.types(t); !sameTexts(got, "added.deal 1", "added.deal_product "+missed) {
		t.Errorf("got %v", got)
	}
	s.deliver(t)
	if err := s.crm.Delete("deal", "1", simulate.By{Quiet: true}); err != nil {
		t.Fatal(err)
	}
	s.later(10 * time.Minute)
	s.compare(t, deletes)
	if got := s.types(t); !sameTexts(got, "deleted.deal 1", "deleted.deal_product 1", "deleted.deal_product 2") {
		t.Errorf("when the deal is deleted: %v", got)
	}
}

func TestWhatTheAPIShowsOnRequestIsAskedFor(t *testing.T) {
	s := newStandIn(t, testdb.SQLite(t), "deal")
	for _, title := range []string{"listed", "asked for by its id"} {
		s.create(t, "deal", simulate.Record{"title": title})
	}
	s.compare(t)
	s.later(time.Hour)
	for id, more := range map[string]simulate.Record{"1": {"status": "won"}, "2": {"status": "won", "is_archived": true}} {
		if _, err := s.crm.Update("deal", id, more, simulate.By{Quiet: true}); err != nil {
			t.Fatal(err)
		}
	}
	won := s.now.Format(time.RFC3339)
	s.later(10 * time.Minute)
	s.compare(t, deletes)
	s.deliver(t)
	for _, id := range []string{"1", "2"} {
		if got := row(t, s.m, "deal", id).Values["first_won_time"]; got != won {
			t.Errorf("deal %s was first won at %v, want %s", id, got, won)
		}
	}
}

func TestAFillOfManyRecordsOutlivesWhatGoesWrong(t *testing.T) {
	if testing.Short() {
		t.Skip("100,000 records")
	}
	s := newStandIn(t, testdb.SQLite(t), "person")
	all := 100_000
	if raceOn {
		all = 20_000
	}
	for i := range all {
		if _, err := s.crm.Create("person", simulate.Record{"name": "p" + strconv.Itoa(i)}, simulate.By{Quiet: true}); err != nil {
			t.Fatal(err)
		}
	}
	for _, kind := range []string{simulate.FaultCut, simulate.FaultRepeat, "500"} {
		if err := s.faults.Add(simulate.Fault{Kind: kind, Path: pathOf("person"), Next: 2}); err != nil {
			t.Fatal(err)
		}
	}
	read := 0
	for tries := 0; ; tries++ {
		report, err := s.m.Fill(context.WithoutCancel(t.Context()), s.api, mirror.FillOptions{})
		if err != nil {
			t.Fatal(err)
		}
		read += report.Objects[0].Records
		if report.Failed() == nil {
			break
		}
		if tries == 50 {
			t.Fatal(report.Failed())
		}
	}
	if n := count(t, s.m, "person"); n != all || read > 2*all {
		t.Errorf("%d rows, want %d; %d were read", n, all, read)
	}
}
