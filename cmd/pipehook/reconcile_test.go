package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/pipehook/pipehook/core/coretest/testdb"
	"github.com/pipehook/pipehook/core/mirror"
	"github.com/pipehook/pipehook/core/pipedrive/shape"
	"github.com/pipehook/pipehook/core/pipedrive/simulate"
)

const mirrorListener = "[[listener]]\nname = \"mirror\"\nuse = \"pipedrive_sync\"\n"

// newAccount is a stand-in for an account, and a project that is connected with it.
func newAccount(t *testing.T, storeURL string) (*simulate.CRM, *project) {
	t.Helper()
	server := simulate.New(simulate.Options{Token: "token of the account", Company: "acme", CompanyID: 7})
	web := httptest.NewServer(server)
	t.Cleanup(web.Close)
	p := newProject(t, storeURL, fullChain, map[string]string{"": fmt.Sprintf(
		"[pipedrive]\nbase_url = %q\napi_token = \"token of the account\"\n[pipedrive.reconcile]\nat_start = false\nsettle = \"0s\"\n[pipedrive.sync]\nobjects = [\"person\", \"deal\"]\n%s", web.URL, mirrorListener)})
	return server.CRM(), p
}

func compared(t *testing.T, p *project, args ...string) mirror.Report {
	t.Helper()
	code, out, errs := command(t, append([]string{"reconcile", "--config", p.config, "--json"}, args...)...)
	if code != exitDone {
		t.Fatalf("exit code %d\n%s%s", code, out, errs)
	}
	var r mirror.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	return r
}

func submitted(r mirror.Report) (n int) {
	for _, o := range r.Objects {
		n += o.Submitted
	}
	return n
}

func TestWhatWebhooksMissedIsFoundWhetherOrNotSomebodyServes(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		crm, p := newAccount(t, url)
		quiet := simulate.By{Quiet: true}
		if _, err := crm.Create("deal", simulate.Record{"title": "old"}, quiet); err != nil {
			t.Fatal(err)
		}
		if code, out, errs := command(t, "sync", "--config", p.config); code != exitDone || !strings.Contains(out, "deal") {
			t.Fatalf("exit code %d\n%s%s", code, out, errs)
		}
		if _, err := crm.Update("deal", "1", simulate.Record{"title": "new"}, quiet); err != nil {
			t.Fatal(err)
		}
		if n := submitted(compared(t, p, "deal", "--since", "1h")); n != 1 {
			t.Errorf("%d events while nobody serves", n)
		}
		if n := submitted(compared(t, p, "deal", "--since", "1h")); n != 0 {
			t.Errorf("%d events more", n)
		}
		stop := p.serve(t)
		defer stop()
		if _, err := crm.Create("deal", simulate.Record{"title": "another"}, quiet); err != nil {
			t.Fatal(err)
		}
		if n := submitted(compared(t, p, "deal", "--since", "1h")); n != 1 {
			t.Errorf("%d events while somebody serves", n)
		}
		resp, err := http.Get("http://" + p.admin + reconcilePath)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		var last mirror.Report
		if err := json.NewDecoder(resp.Body).Decode(&last); err != nil || submitted(last) != 1 {
			t.Errorf("the last report is %+v, %v", last, err)
		}
	})
}

func TestAComparisonNeedsTheListenerThatKeepsTheTables(t *testing.T) {
	p := newProject(t, testdb.SQLite(t), fullChain, nil)
	for _, name := range []string{"sync", "reconcile"} {
		code, _, errs := command(t, name, "--config", p.config)
		if code != exitUsage || !strings.Contains(errs, `use = "pipedrive_sync"`) {
			t.Errorf("%s: exit code %d\n%s", name, code, errs)
		}
	}
}

func TestTheTablesOfAStandInAreNotTakenForThoseOfAnAccount(t *testing.T) {
	crm, p := newAccount(t, testdb.SQLite(t))
	if _, err := crm.Create("deal", simulate.Record{"title": "old"}, simulate.By{Quiet: true}); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := command(t, "sync", "--config", p.config); code != exitDone {
		t.Fatalf("exit code %d\n%s%s", code, out, errs)
	}
	another := httptest.NewServer(simulate.New(simulate.Options{Token: "token of the account", Company: "real", CompanyID: 8}))
	t.Cleanup(another.Close)
	own := regexp.MustCompile(`base_url = "[^"]*"`).FindString(readFile(t, p.config))
	edit(t, p.config, own, fmt.Sprintf("base_url = %q", another.URL))
	for _, name := range []string{"sync", "reconcile"} {
		code, _, errs := command(t, name, "--config", p.config)
		if code != exitFailed || !strings.Contains(errs, "the local tables are of the company 7 (acme.pipedrive.com), and the account is of 8 (real.pipedrive.com)") {
			t.Errorf("%s: exit code %d\n%s", name, code, errs)
		}
	}
	if n := len(p.events(t)); n != 0 {
		t.Errorf("%d events are stored", n)
	}
}

func TestAWebhookThatComesAfterItsChangeWasFoundIsADuplicate(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		crm, p := newAccount(t, url)
		quiet := simulate.By{Quiet: true}
		defer p.serve(t)()
		compared(t, p)
		made, err := crm.Create("deal", simulate.Record{"title": "late"}, quiet)
		if err != nil {
			t.Fatal(err)
		}
		if n := submitted(compared(t, p, "--since", "1h")); n != 1 {
			t.Fatalf("%d events", n)
		}
		record := asRecord(t, made)
		late := p.post(t, webhookOf("create", record))
		if late.Status != "duplicate" {
			t.Errorf("it is answered %+v", late)
		}
		if n := len(p.events(t)); n != 1 {
			t.Errorf("%d events are stored", n)
		}
		if err := crm.Delete("deal", record.ID, quiet); err != nil {
			t.Fatal(err)
		}
		if n := submitted(compared(t, p, "deal", "--since", "1h")); n != 1 {
			t.Fatalf("%d events of the deletion", n)
		}
		late = p.post(t, webhookOf("delete", record))
		if late.Status != "duplicate" || len(p.events(t)) != 2 {
			t.Errorf("the deletion is answered %+v", late)
		}
	})
}

// asRecord is a deal of the stand-in in the normal form.
func asRecord(t *testing.T, deal simulate.Record) shape.Record {
	t.Helper()
	text, err := json.Marshal(deal)
	if err != nil {
		t.Fatal(err)
	}
	record, err := shape.FromAPI("deal", text, nil)
	if err != nil {
		t.Fatal(err)
	}
	return record
}

// webhookOf is the body of a webhook that tells of a deal.
func webhookOf(action string, deal shape.Record) []byte {
	e := shape.Envelope{Action: action, Object: "deal", ID: deal.ID, CompanyID: "7", UserID: "1", At: time.Now()}
	if action == "delete" {
		e.Previous = deal.Data()
	} else {
		e.Data = deal.Data()
	}
	return shape.Body(e)
}

// While nobody kept the tables the listeners ran all the same.
func TestWhatWasStoredWhileNobodyKeptTheTablesIsNotToldAgain(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		crm, p := newAccount(t, url)
		quiet := simulate.By{Quiet: true}
		if _, err := crm.Create("deal", simulate.Record{"title": "old"}, quiet); err != nil {
			t.Fatal(err)
		}
		compared(t, p)
		kept := readFile(t, p.config)
		p.write(t, "pipeline.toml", strings.Replace(kept, mirrorListener, "", 1))
		changed, err := crm.Update("deal", "1", simulate.Record{"title": "new"}, quiet)
		if err != nil {
			t.Fatal(err)
		}
		record := asRecord(t, changed)
		stop := p.serve(t)
		want(t, p.post(t, webhookOf("change", record)), 200, "accepted")
		stop()
		p.write(t, "pipeline.toml", kept)
		if r := compared(t, p, "deal", "--since", "1h"); submitted(r) != 0 || r.Objects[0].Written == 0 || len(p.events(t)) != 1 {
			t.Errorf("got %+v, and %d events are stored", r, len(p.events(t)))
		}
		if r := compared(t, p, "deal", "--since", "1h"); r.Differences() != 0 || r.Objects[0].Written != 0 {
			t.Errorf("once more: %+v", r)
		}
	})
}

func TestWhatWasStoredWhileItsObjectWasNotKeptIsNotToldAgain(t *testing.T) {
	crm, p := newAccount(t, testdb.SQLite(t))
	quiet := simulate.By{Quiet: true}
	if _, err := crm.Create("deal", simulate.Record{"title": "old"}, quiet); err != nil {
		t.Fatal(err)
	}
	compared(t, p)
	edit(t, p.config, `objects = ["person", "deal"]`, `objects = ["person"]`)
	changed, err := crm.Update("deal", "1", simulate.Record{"title": "new"}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	record := asRecord(t, changed)
	stop := p.serve(t)
	got := p.post(t, webhookOf("change", record))
	want(t, got, 200, "accepted")
	stop()
	compared(t, p) // delivers what is pending
	says(t, exitDone, []string{"events", "explain", got.ID, "--config", p.config}, "objects: pipedrive.sync.objects does not list it")
	edit(t, p.config, `objects = ["person"]`, `objects = ["person", "deal"]`)
	if r := compared(t, p, "deal", "--since", "1h"); submitted(r) != 0 || r.Objects[0].Written == 0 || len(p.events(t)) != 1 {
		t.Errorf("got %+v, and %d events are stored", r, len(p.events(t)))
	}
}

// Two accounts may send to one store, and their records have the same ids. What the listener never wanted says nothing either.
func TestWhatTheTablesWouldNotHaveBeenGivenHidesNothingThatWasMissed(t *testing.T) {
	for name, test := range map[string]struct {
		where, company string
	}{
		"of another company":                         {"", "8"},
		"of another company, which where leaves out": {`where = { "meta.company_id" = { not = "8" } }`, "8"},
		"that where leaves out":                      {`where = { "current.title" = { not = "not for the tables" } }`, "7"},
	} {
		t.Run(name, func(t *testing.T) {
			crm, p := newAccount(t, testdb.SQLite(t))
			quiet := simulate.By{Quiet: true}
			if _, err := crm.Create("deal", simulate.Record{"title": "old"}, quiet); err != nil {
				t.Fatal(err)
			}
			compared(t, p)
			if _, err := crm.Update("deal", "1", simulate.Record{"title": "new"}, quiet); err != nil {
				t.Fatal(err)
			}
			kept := readFile(t, p.config)
			p.write(t, "pipeline.toml", strings.Replace(kept, mirrorListener, "", 1))
			stop := p.serve(t)
			later := time.Now().Add(5 * time.Minute)
			body := fmt.Sprintf(`{"id":1,"title":"not for the tables","update_time":%q}`, later.UTC().Format(time.RFC3339))
			want(t, p.post(t, shape.Body(shape.Envelope{Action: "change", Object: "deal", ID: "1", CompanyID: test.company, UserID: "1", Data: []byte(body), At: later})), 200, "accepted")
			stop()
			p.write(t, "pipeline.toml", strings.Replace(kept, mirrorListener, mirrorListener+test.where+"\n", 1))
			if r := compared(t, p, "deal", "--since", "1h"); submitted(r) != 1 {
				t.Errorf("got %+v", r)
			}
		})
	}
}

func TestWhatAStageMakesOfARecordIsNoDifference(t *testing.T) {
	crm, p := newAccount(t, testdb.SQLite(t))
	quiet := simulate.By{Quiet: true}
	compared(t, p)
	p.write(t, "scripts/stages/tidy.js", `export default (event) => event.current ? { object: "order", current: { ...event.current, title: event.current.title.trim() } } : undefined`)
	edit(t, p.config, "[[pipeline.stage]]\n  use = \"dedupe\"", "[[pipeline.stage]]\n  use = \"script\"\n  script = \"scripts/stages/tidy.js\"\n  [[pipeline.stage]]\n  use = \"dedupe\"")
	made, err := crm.Create("deal", simulate.Record{"title": " told of "}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	record := asRecord(t, made)
	stop := p.serve(t)
	want(t, p.post(t, webhookOf("create", record)), 200, "accepted")
	stop()
	compared(t, p, "person") // delivers what is pending
	if _, err := crm.Create("deal", simulate.Record{"title": " missed "}, quiet); err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{1, 0, 0} {
		if r := compared(t, p, "deal", "--since", "1h"); r.Differences() != want || submitted(r) != want || len(p.events(t)) != 2 {
			t.Errorf("the comparison %d found %+v, and %d events are stored", i+1, r, len(p.events(t)))
		}
	}
}

func TestWhatIsTooYoungToBeComparedIsCounted(t *testing.T) {
	server := simulate.New(simulate.Options{Token: "token of the account", Company: "acme", CompanyID: 7})
	web := httptest.NewServer(server)
	t.Cleanup(web.Close)
	p := newProject(t, testdb.SQLite(t), fullChain, map[string]string{"": fmt.Sprintf(
		"[pipedrive]\nbase_url = %q\napi_token = \"token of the account\"\n[pipedrive.reconcile]\nat_start = false\n[pipedrive.sync]\nobjects = [\"deal\"]\n%s", web.URL, mirrorListener)})
	compared(t, p)
	for range 2 {
		if _, err := server.CRM().Create("deal", simulate.Record{"title": "young"}, simulate.By{Quiet: true}); err != nil {
			t.Fatal(err)
		}
	}
	code, out, errs := command(t, "reconcile", "--config", p.config)
	if code != exitDone || !strings.Contains(out, "2 changes younger than 5m are left for the next comparison\n") {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
	if r := compared(t, p); r.Settling() != 2 || r.Differences() != 0 {
		t.Errorf("got %+v", r)
	}
}

func TestWhoMadeAChangeThatWasMissedIsNotKnown(t *testing.T) {
	crm, p := newAccount(t, testdb.SQLite(t))
	compared(t, p)
	if _, err := crm.Create("deal", simulate.Record{"title": "missed"}, simulate.By{Quiet: true}); err != nil {
		t.Fatal(err)
	}
	if n := submitted(compared(t, p, "--since", "1h")); n != 1 { // validate takes it
		t.Fatalf("%d events", n)
	}
	for _, ev := range p.events(t) {
		_, body, _ := command(t, "events", "show", ev.ID, "--raw", "--config", p.config)
		meta := gjson.Get(body, "meta")
		if !meta.Get("company_id").Exists() || meta.Get("change_source").Exists() || meta.Get("user_id").Exists() {
			t.Errorf("got %s", meta)
		}
	}
}

func TestTheProcessThatServesComparesItsOwnAccountAlone(t *testing.T) {
	_, p := newAccount(t, testdb.SQLite(t))
	defer p.serve(t)()
	code, _, errs := command(t, "reconcile", "--config", p.config)
	if code != exitDone || !strings.Contains(errs, "the process that serves at "+p.admin+" compares\n") {
		t.Errorf("exit code %d\n%s", code, errs)
	}
	own := readFile(t, p.config)
	for wrong, text := range map[string]string{
		"its account is http://127.0.0.1:": strings.Replace(own, "base_url = \"http://127.0.0.1:", "base_url = \"http://127.0.0.2:", 1),
		"its store is /":                   strings.Replace(own, p.storeURL, "sqlite:another.db", 1),
	} {
		p.write(t, "another.toml", text)
		code, _, errs := command(t, "reconcile", "--config", filepath.Join(p.dir, "another.toml"))
		if code != exitFailed || !strings.Contains(errs, p.admin+", serves something else: "+wrong) {
			t.Errorf("exit code %d\n%s", code, errs)
		}
	}
}

func TestTheLogTellsOfTheListenerAndOfTheFirstFill(t *testing.T) {
	crm, p := newAccount(t, testdb.SQLite(t))
	if _, err := crm.Create("person", simulate.Record{"name": "Ann"}, simulate.By{Quiet: true}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(p.dir, "serve.log")
	p.write(t, "pipeline.toml", fmt.Sprintf("log = { file = %q }\n", file)+strings.Replace(readFile(t, p.config), "at_start = false", "at_start = true", 1))
	defer p.serve(t)()
	eventually(t, "the log tells of it", func() bool {
		text := readFile(t, file)
		return strings.Contains(text, `"msg":"listener loaded","listener":"mirror","use":"pipedrive_sync"`) &&
			strings.Contains(text, `"msg":"the local table was filled for the first time","object":"person","records":1,`)
	})
}

func TestWhatTheAccountNeverHadIsSaidOnceAndFailsNothing(t *testing.T) {
	a := newTroubled(t, simulate.Options{}, "sync = { objects = [\"person\", \"deal\"] }\n")
	if err := a.server.Faults().Add(simulate.Fault{Kind: "415", Path: "/api/v2/deals"}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(a.dir, "serve.log")
	a.write(t, "pipeline.toml", fmt.Sprintf("log = { file = %q }\n", file)+readFile(t, a.config))
	defer a.serve(t)()
	for range 3 {
		if code, said := a.types(t, "reconcile"); code != exitDone || !strings.Contains(said, "the company does not have this feature") {
			t.Errorf("exit code %d\n%s", code, said)
		}
	}
	if n := strings.Count(readFile(t, file), "the account does not have an object"); n != 1 {
		t.Errorf("it is said %d times", n)
	}
}
