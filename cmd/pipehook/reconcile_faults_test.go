package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core/coretest/testdb"
	"github.com/pipehook/pipehook/core/pipedrive/simulate"
)

// troubled is an account whose API fails when it is told to, and a project that is connected with it. A request is tried
// once, so that an error comes at once.
type troubled struct {
	*project
	server *simulate.Server
	day    atomic.Int64 // how many days later it is there

	mu     sync.Mutex
	before func(r *http.Request) // is called for each request to the API
	calls  []string              // methods and paths
}

func newTroubled(t *testing.T, o simulate.Options, settings string) *troubled {
	t.Helper()
	a := &troubled{}
	o.Token, o.Company, o.CompanyID = accountToken, "acme", 7
	o.Now = func() time.Time { return time.Now().AddDate(0, 0, int(a.day.Load())) }
	a.server = simulate.New(o)
	web := httptest.NewServer(a)
	t.Cleanup(web.Close)
	a.project = newProject(t, testdb.SQLite(t), fullChain, map[string]string{
		"": fmt.Sprintf("[pipedrive]\nbase_url = %q\napi_token = %q\npublic_url = \"https://hooks.example.com\"\nretries = 0\n%s%s\n%s",
			web.URL, accountToken, "budget = { burst = 1000 }\nreconcile = { at_start = false, settle = \"0s\" }\n", settings, mirrorListener),
		"authenticate": `basic = { username = "hook", password = "canary-password" }`,
	})
	return a
}

// ServeHTTP is the API.
func (a *troubled) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.calls = append(a.calls, r.Method+" "+r.URL.Path)
	if a.before != nil {
		a.before(r)
	}
	a.mu.Unlock()
	a.server.ServeHTTP(w, r)
}

// asked is how often a path was asked for since the last time.
func (a *troubled) asked(call string) (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, one := range a.calls {
		if one == call {
			n++
		}
	}
	a.calls = nil
	return n
}

// fails lets requests fail, from the first one on of which at says so.
func (a *troubled) fails(t *testing.T, f simulate.Fault, at func(r *http.Request) bool) {
	t.Helper()
	add := func() {
		if err := a.server.Faults().Add(f); err != nil {
			t.Error(err)
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.before = func(r *http.Request) {
		if at == nil || at(r) {
			a.before = nil
			add()
		}
	}
}

// heals ends all faults.
func (a *troubled) heals() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.before = nil
	a.server.Faults().Clear()
}

// types is what somebody sees who types a command. It shows no secret.
func (a *troubled) types(t *testing.T, args ...string) (code int, said string) {
	t.Helper()
	code, out, errs := command(t, append(args, "--config", a.config)...)
	if said = out + errs; strings.Contains(said, "canary") {
		t.Errorf("%v shows a secret:\n%s", args, said)
	}
	return code, said
}

// create makes records that nobody is told of.
func (a *troubled) create(t *testing.T, object string, n int) {
	t.Helper()
	key := map[string]string{"deal": "title", "person": "name", "organization": "name", "note": "content"}[object]
	for i := range n {
		values := simulate.Record{key: fmt.Sprintf("%s %d", object, i)}
		if object == "note" {
			values["deal_id"] = 1
		}
		if _, err := a.server.CRM().Create(object, values, simulate.By{Quiet: true}); err != nil {
			t.Fatal(err)
		}
	}
}

// apiFaults are what may be wrong with the API, and what is said about it.
var apiFaults = []struct {
	name     string
	fault    simulate.Fault
	settings string
	says     []string
}{
	{"a token that is not accepted", simulate.Fault{Kind: "401"}, "", []string{"the token is not accepted (401)", "set pipedrive.api_token"}},
	{"the page that refuses all traffic", simulate.Fault{Kind: "blocked"}, "", []string{"refuses all traffic from here for a while", "try again in 5m0s"}},
	{"no permission", simulate.Fault{Kind: "403"}, "", []string{"not allowed (403)", "use the token of an admin"}},
	{"not there", simulate.Fault{Kind: "404"}, "", []string{"not found (404)"}},
	{"too many requests", simulate.Fault{Kind: "429"}, "", []string{"too many requests", "try again"}},
	{"an error of the server", simulate.Fault{Kind: "503"}, "", []string{"Pipedrive can't be reached (503)", "try again later"}},
	{"an answer that is cut", simulate.Fault{Kind: "cut"}, "", []string{"the answer is cut or not JSON", "try again"}},
	{"an answer that takes too long", simulate.Fault{Kind: "slow", Delay: 5 * time.Second}, "timeout = \"1s\"\n", []string{"no answer within 1s", "try again later"}},
}

var nearlyFiveMinutes = regexp.MustCompile(`try again in (5m0s|4m5\ds)`) // some seconds of them may be over

// cutShort says of which of a command's requests the fault is the first.
type cutShort func(r *http.Request) bool

func method(name string) cutShort { return func(r *http.Request) bool { return r.Method == name } }
func below(begin string) cutShort {
	return func(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, begin) }
}
func secondPage(r *http.Request) bool { return r.URL.Query().Get("cursor") != "" }

func TestWhateverTheAPIAnswersIsAClearErrorAndTypingTheSameAgainIsEnough(t *testing.T) {
	for _, f := range apiFaults {
		t.Run(f.name, func(t *testing.T) {
			afterDelete := exitDone
			if f.fault.Kind == simulate.FaultCut {
				afterDelete = exitFailed // it is done, and says that there is no such webhook
			}
			a := newTroubled(t, simulate.Options{}, f.settings+"sync = { objects = [\"person\", \"deal\"] }\n[[pipedrive.webhook]]\nevent = \"*.person\"\n")
			a.create(t, "person", 1200)
			for _, c := range []struct {
				args  string
				from  cutShort
				again int    // the exit code after the fault
				hint  string // names the command
			}{
				{"webhooks list", nil, exitDone, "webhooks list"},
				{"webhooks plan", nil, exitUsage, "webhooks list"}, // one is to be made
				{"webhooks create --auto-config --event *.person", nil, exitDone, "webhooks list"},
				{"webhooks create --auto-config --event *.deal", method(http.MethodPost), exitDone, "webhooks list"},
				{"webhooks plan", nil, exitDone, "webhooks list"},
				{"webhooks delete --id 1 --yes", nil, exitDone, "webhooks list"},
				{"webhooks delete --id 2 --yes", method(http.MethodDelete), afterDelete, "webhooks list"},
				{"pipedrive fields pull", nil, exitDone, "fields pull"},
				{"sync", secondPage, exitDone, "pipehook sync, which goes on there"},
				{"reconcile", nil, exitDone, "pipehook reconcile"},
			} {
				args := strings.Fields(c.args)
				a.fails(t, f.fault, c.from)
				code, said := a.types(t, args...)
				for _, want := range append(f.says, "pipehook: error: ", "pipehook: hint: ", c.hint) {
					if code != exitFailed || !strings.Contains(said, want) {
						t.Errorf("%s: exit code %d, and it does not say %q:\n%s", c.args, code, want, said)
					}
				}
				a.heals()
				a.asked("")
				if code, said := a.types(t, args...); code != c.again {
					t.Errorf("%s, once more: exit code %d\n%s", c.args, code, said)
				}
				if n := a.asked("GET /api/v2/persons"); c.args == "sync" && n != 2 {
					t.Errorf("sync went on with %d pages, want 2", n)
				}
			}
			if n := a.rows(t, "person"); n != 1200 {
				t.Errorf("%d persons are in the table", n)
			}
		})
	}
}

// rows is how many records a table has, as pipedrive tables says.
func (a *troubled) rows(t *testing.T, object string) int64 {
	t.Helper()
	code, said := a.types(t, "pipedrive", "tables", "--json")
	var all []struct {
		Object string `json:"object"`
		Rows   int64  `json:"rows"`
	}
	if err := json.Unmarshal([]byte(said), &all); err != nil || code != exitDone {
		t.Fatalf("exit code %d, %v\n%s", code, err, said)
	}
	for _, one := range all {
		if one.Object == object {
			return one.Rows
		}
	}
	t.Fatalf("there is no table of %s: %s", object, said)
	return 0
}

// A comparison that fails half-way has told of persons, and not of deals.
func TestAComparisonThatFailedLosesNothingAndTellsNothingTwice(t *testing.T) {
	for _, serving := range []bool{false, true} {
		for _, f := range apiFaults {
			t.Run(fmt.Sprintf("%s, serving %t", f.name, serving), func(t *testing.T) {
				a := newTroubled(t, simulate.Options{}, f.settings+"sync = { objects = [\"person\", \"deal\"] }\n")
				want := a.missed(t)
				stop := func() {}
				if serving {
					stop = a.serve(t)
				}
				a.fails(t, f.fault, below("/api/v2/deals"))
				code, said := a.types(t, "reconcile", "--deletes")
				for _, want := range append(f.says, "error: not all was compared", "hint: pipehook reconcile, which repeats it without harm") {
					if code != exitFailed || !strings.Contains(said, want) {
						t.Errorf("exit code %d, and it does not say %q:\n%s", code, want, said)
					}
				}
				a.heals()
				if f.fault.Kind == simulate.FaultBlocked && serving { // who serves asks nothing for five minutes
					if code, said := a.types(t, "reconcile", "--deletes"); code != exitFailed || !nearlyFiveMinutes.MatchString(said) {
						t.Errorf("exit code %d\n%s", code, said)
					}
					stop()
					a.serve(t)
				}
				for range 2 {
					if code, said := a.types(t, "reconcile", "--deletes"); code != exitDone {
						t.Errorf("exit code %d\n%s", code, said)
					}
					if got := a.told(t); !slices.Equal(got, want) {
						t.Errorf("listeners are told of %v, want %v", got, want)
					}
				}
			})
		}
	}
}

// missed fills the tables, and then makes changes that no webhook tells of.
func (a *troubled) missed(t *testing.T) (want []string) {
	t.Helper()
	a.create(t, "person", 3)
	a.create(t, "deal", 3)
	if code, said := a.types(t, "sync"); code != exitDone {
		t.Fatalf("exit code %d\n%s", code, said)
	}
	crm, quiet := a.server.CRM(), simulate.By{Quiet: true}
	for _, id := range []string{"1", "2", "3"} {
		_, err := crm.Update("deal", id, simulate.Record{"title": "changed"}, quiet)
		if err == nil && id != "3" {
			_, err = crm.Update("person", id, simulate.Record{"name": "changed"}, quiet)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	a.create(t, "deal", 1)
	if err := crm.Delete("person", "3", quiet); err != nil {
		t.Fatal(err)
	}
	return []string{"added.deal 4", "deleted.person 3", "updated.deal 1", "updated.deal 2", "updated.deal 3", "updated.person 1", "updated.person 2"}
}

// told is what events there are, in alphabetical order.
func (a *troubled) told(t *testing.T) (all []string) {
	t.Helper()
	for _, ev := range a.events(t) {
		all = append(all, ev.Action+"."+ev.Object+" "+ev.ObjectID)
	}
	slices.Sort(all)
	return all
}

// every is all that was asked since the last time.
func (a *troubled) every() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := a.calls
	a.calls = nil
	return all
}
