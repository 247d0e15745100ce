package mirror_test

import (
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/coretest/testdb"
	"github.com/pipehook/pipehook/core/mirror"
	"github.com/pipehook/pipehook/core/pipedrive/shape"
)

// Two companies have records of the same ids: those of one would be told of as changes, and deletions, of the other's.
func TestTablesOfOneCompanyAreNotFilledOrComparedWithAnother(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		d := newDesk(t, url, "deal")
		d.put("deal", "1", noon.Add(-time.Hour), map[string]any{"title": "old", "status": "open"})
		if _, err := d.m.Fill(t.Context(), d.account, mirror.FillOptions{CompanyID: "8", Host: "trial.pipedrive.com", DryRun: true}); err != nil {
			t.Fatal(err) // which leaves nothing
		}
		if report, err := d.m.Fill(t.Context(), d.account, mirror.FillOptions{CompanyID: "7", Host: "acme.pipedrive.com"}); err != nil || report.Failed() != nil {
			t.Fatal(err, report.Failed())
		}
		d.later(time.Hour)
		d.put("deal", "2", d.now.Add(-30*time.Minute), map[string]any{"title": "another's", "status": "open"})
		other := d.o
		other.CompanyID, other.Host = "8", "trial.pipedrive.com"
		_, compared := d.m.Reconcile(t.Context(), d.account, other)
		_, filled := d.m.Fill(t.Context(), d.account, mirror.FillOptions{CompanyID: "8", Host: "trial.pipedrive.com"})
		for what, err := range map[string]error{"compared": compared, "filled": filled} {
			if core.KindOf(err) != core.Conflict || !strings.Contains(err.Error(), "of the company 7 (acme.pipedrive.com)") || !strings.Contains(err.Error(), "8 (trial.pipedrive.com)") ||
				!strings.Contains(err.Error(), "pipedrive.sync.database") {
				t.Errorf("%s: %v", what, err)
			}
		}
		if n := count(t, d.m, "deal"); n != 1 || len(d.events) != 0 {
			t.Errorf("%d rows and %d events", n, len(d.events))
		}
		d.o.Host = "renamed.pipedrive.com" // the company is the same
		if done := d.run(t); done.Submitted != 1 {
			t.Errorf("its own company: %+v", done)
		}
	})
}

func TestWebhooksOfAnotherCompanyAreLeftOut(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		d := newDesk(t, url, "deal")
		of := func(company, id string) core.Event {
			return named(t, shape.Body(shape.Envelope{Action: "create", Object: "deal", ID: id, CompanyID: company, UserID: "1", At: noon,
				Data: []byte(`{"id":` + id + `,"title":"a","update_time":"2026-05-27T12:00:00Z"}`)}))
		}
		for _, out := range handle(t, d.m, of("7", "1"), of("8", "2")) { // whose the tables are is not known yet
			if out.Err != nil || out.Output != "applied" {
				t.Errorf("at first: %+v", out)
			}
		}
		d.run(t)
		if outs := handle(t, d.m, of("7", "3"), of("8", "4"), of("", "5")); outs[0].Output != "applied" || outs[1].Output != "ignored" || outs[1].Err != nil || outs[2].Output != "applied" {
			t.Errorf("then: %+v", outs)
		}
		if err := d.m.Handle(t.Context(), of("8", "4")); err != nil || row(t, d.m, "deal", "4").ID != "" {
			t.Errorf("alone: %v, %+v", err, row(t, d.m, "deal", "4"))
		}
	})
}
