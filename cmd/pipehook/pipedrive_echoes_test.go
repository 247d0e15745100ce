package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/coretest/testdb"
	"github.com/pipehook/pipehook/core/effect"
	"github.com/pipehook/pipehook/core/pipedrive"
	echoes "github.com/pipehook/pipehook/core/pipedrive/echo"
	"github.com/pipehook/pipehook/core/pipedrive/simulate"
	"github.com/pipehook/pipehook/core/store"
	stage "github.com/pipehook/pipehook/stages/echo"
)

// echoWorld is an account whose webhooks walk through the stage, and a listener that writes to it.
type echoWorld struct {
	*userHost
	t      *testing.T
	store  *store.Store
	server *simulate.Server
	early  bool // webhooks come before the answers of the API

	mu   sync.Mutex
	came []string // type, record, and who wrote it
	seen map[string]int
	last *core.Event
}

func newEchoWorld(t *testing.T, url string, conf stage.Config) *echoWorld {
	t.Helper()
	w := newWorld(t, url, nil)
	server := simulate.New(simulate.Options{Token: accountToken, Company: "acme", Burst: 100_000, Scale: 60})
	e := &echoWorld{t: t, store: w.store, server: server, seen: map[string]int{}}
	api := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rec := httptest.NewRecorder()
		server.ServeHTTP(rec, r)
		if e.early {
			e.settle()
		}
		rw.WriteHeader(rec.Code)
		_, _ = rw.Write(rec.Body.Bytes())
	}))
	t.Cleanup(api.Close)
	account := &config.Config{}
	account.Store.URL = core.Secret(url)
	account.Pipedrive.BaseURL, account.Pipedrive.APIToken, account.Pipedrive.Budget.Burst = api.URL, accountToken, 100_000
	account.Pipedrive.Retries = 1
	w.account = &accountClient{log: w.log}
	w.account.use(account)
	w.echoes = w.newLedger(account)
	w.echoes.Use(10 * time.Minute)
	e.userHost = w.user(hostSpec{name: "writer", emits: true})

	made, err := stage.Factory(stage.Deps{Ledger: w.echoes, Seen: func(_, result string) { e.seen[result]++ }}).New(
		func(into any) error { *into.(*stage.Config) = conf; return nil }, core.Place{Pipeline: "crm"})
	if err != nil {
		t.Fatal(err)
	}
	p := &core.Pipeline{Name: "crm", Source: sources["pipedrive"], Steps: []core.Step{{Name: "echo", Stage: made}}, Log: slog.New(slog.DiscardHandler)}
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { e.take(p, r) }))
	t.Cleanup(hook.Close)
	client, err := w.account.get()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = server.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	e.call("POST", "/api/v1/webhooks", fmt.Sprintf(`{"name":"all","event_action":"*","event_object":"*","subscription_url":%q}`, hook.URL+"/hook"))
	if all, err := client.Webhooks(t.Context()); err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	return e
}

// take has a webhook walk the chain.
func (e *echoWorld) take(p *core.Pipeline, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		e.t.Error(err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	ev := &core.Event{ID: fmt.Sprint(len(e.came) + 1), Pipeline: "crm", Source: "pipedrive", Header: r.Header, Body: body, ReceivedAt: time.Now()}
	receipt, err := p.Run(r.Context(), ev)
	if err != nil {
		e.t.Error(err)
	}
	line := strings.TrimSpace(ev.Type() + " " + ev.ObjectID + " " + ev.Labels["echo"])
	if receipt.Dropped {
		line += " dropped"
	}
	e.came, e.last = append(e.came, line), ev
}

func (e *echoWorld) settle() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := e.server.Settle(ctx); err != nil {
		e.t.Error(err)
	}
}

// call writes as the listener.
func (e *echoWorld) call(method, path, body string) string {
	e.t.Helper()
	c := &effect.APICall{Method: method, Path: path}
	if body != "" {
		c.Body = []byte(body)
	}
	a, err := e.Pipedrive(e.t.Context(), callOf("writer", "1"), c)
	if err != nil {
		e.t.Fatal(err)
	}
	var of struct {
		ID any `json:"id"`
	}
	_ = json.Unmarshal(a.Data, &of)
	return fmt.Sprint(of.ID)
}

// others writes as somebody else's program.
func (e *echoWorld) others(id string, values simulate.Record) {
	e.t.Helper()
	if _, err := e.server.CRM().Update("deal", id, values, simulate.By{Source: "api"}); err != nil {
		e.t.Fatal(err)
	}
}

// are what came since it was last asked.
func (e *echoWorld) are() string {
	e.settle()
	e.mu.Lock()
	defer e.mu.Unlock()
	came := strings.Join(e.came, ", ")
	e.came = nil
	return came
}

func (e *echoWorld) want(what, want string) {
	e.t.Helper()
	if got := e.are(); got != want {
		e.t.Errorf("%s: %s, want %s", what, got, want)
	}
}

func TestWhatAListenerWritesIsKnownWhenItComesBack(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		e := newEchoWorld(t, url, stage.Default())
		id := e.call("POST", "/api/v2/deals", `{"title":"new","value":100,"currency":"EUR"}`)
		e.want("a create", "added.deal "+id+" writer")
		e.call("PATCH", "/api/v2/deals/"+id, `{"title":"renamed","value":200.0}`)
		e.want("an update", "updated.deal "+id+" writer")
		e.others(id, simulate.Record{"title": "by somebody else"})
		e.want("somebody else's update", "updated.deal "+id)
		note := e.call("POST", "/api/v1/notes", `{"content":"<b>hi</b>","deal_id":`+id+`}`)
		if came := e.are(); !strings.Contains(came, "added.note "+note+" writer") {
			t.Errorf("a create of version 1: %s", came)
		}
		e.call("DELETE", "/api/v2/deals/"+id, "")
		e.want("a delete", "deleted.deal "+id+" writer")

		e.early = true
		id = e.call("POST", "/api/v2/deals", `{"title":"early"}`)
		e.want("a create that is told before it is answered", "added.deal "+id+" writer")
		e.call("PATCH", "/api/v2/deals/"+id, `{"title":"early too"}`)
		e.want("an update that is told before it is answered", "updated.deal "+id+" writer")
		if e.seen["marked"] != 6 || e.seen["near_miss"] != 0 || e.seen["dropped"] != 0 {
			t.Errorf("counted %v", e.seen)
		}
	})
}

// Values look different in each of the API's versions and in a webhook.
func TestAnEchoIsKnownWhateverItsFormIs(t *testing.T) {
	e := newEchoWorld(t, testdb.SQLite(t), stage.Default())
	person := e.call("POST", "/api/v2/persons", `{"name":"Ann Lee","emails":[{"value":"ann@example.com","primary":true}]}`)
	e.want("a person", "added.person "+person+" writer")
	deal := e.call("POST", "/api/v1/deals", `{"title":"old way","person_id":`+person+`}`)
	if came := e.are(); !strings.Contains(came, "added.deal "+deal+" writer") {
		t.Errorf("a deal of version 1: %s", came)
	}
	for _, f := range e.server.CRM().Fields("deal") {
		if len(f.Options) == 0 || len(f.Key) != 40 {
			continue
		}
		value := fmt.Sprint(f.Options[0].ID)
		if f.Type == "set" {
			value = "[" + value + "]"
		}
		e.call("PATCH", "/api/v2/deals/"+deal, `{"custom_fields":{"`+f.Key+`":`+value+`}}`)
		e.want("an option of "+f.Type, "updated.deal "+deal+" writer")
	}
	other := e.call("POST", "/api/v2/deals", `{"title":"twin"}`)
	e.are()
	e.call("PUT", "/api/v1/deals/"+other+"/merge", `{"merge_with_id":`+deal+`}`)
	for part := range strings.SplitSeq(e.are(), ", ") {
		if strings.Contains(part, ".deal ") && !strings.HasSuffix(part, " writer") {
			t.Errorf("of a merge came %s", part)
		}
	}
}

func TestAnEchoIsUsedUpAndOthersWritesAreNone(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		e := newEchoWorld(t, url, stage.Default())
		id := e.call("POST", "/api/v2/deals", `{"title":"a","value":1}`)
		e.are()
		note, err := e.echoes.Begin(t.Context(), "writer", &effect.APICall{Method: "PATCH", Path: "/api/v2/deals/" + id, Body: []byte(`{"title":"b"}`)})
		if note == nil || err != nil {
			t.Fatal(note, err)
		}
		e.others(id, simulate.Record{"title": "c"})
		e.want("another value", "updated.deal "+id)
		if e.seen["near_miss"] != 1 {
			t.Errorf("counted %v", e.seen)
		}
		e.others(id, simulate.Record{"title": "b"})
		e.want("the value that was written", "updated.deal "+id+" writer")
		e.others(id, simulate.Record{"title": "c"})
		e.others(id, simulate.Record{"title": "b"})
		e.want("the same once more", "updated.deal "+id+", updated.deal "+id)

		if _, err := e.echoes.Begin(t.Context(), "writer", &effect.APICall{Method: "PATCH", Path: "/api/v2/deals/" + id, Body: []byte(`{"title":"b"}`)}); err != nil {
			t.Fatal(err)
		}
		e.others(id, simulate.Record{"value": 77})
		e.want("another field, while the written one is so already", "updated.deal "+id)
		if _, err := e.server.CRM().Update("deal", id, simulate.Record{"title": "z"}, simulate.By{}); err != nil {
			t.Fatal(err)
		}
		if _, err := e.server.CRM().Update("deal", id, simulate.Record{"title": "b"}, simulate.By{}); err != nil {
			t.Fatal(err)
		}
		e.want("a person's change", "updated.deal "+id+", updated.deal "+id)
	})
}

func TestARepetitionOfAnEchoIsOneToo(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		e := newEchoWorld(t, url, stage.Default())
		for _, write := range []struct{ method, path, body string }{
			{"POST", "/api/v2/deals", `{"title":"a"}`}, {"PATCH", "/api/v2/deals/ID", `{"title":"b"}`},
		} {
			id := e.call(write.method, strings.Replace(write.path, "ID", strings.TrimSpace(idIn(e.last)), 1), write.body)
			e.want(write.method, e.last2(id))
			for range 2 {
				by, _, err := e.echoes.Find(t.Context(), e.last, time.Hour)
				if by != "writer" || err != nil {
					t.Errorf("%s again: %q %v", write.method, by, err)
				}
			}
			other := *e.last
			other.Key = []byte("another")
			if by, _, err := e.echoes.Find(t.Context(), &other, time.Hour); by != "" || err != nil {
				t.Errorf("another event after %s: %q %v", write.method, by, err)
			}
		}
	})
}

func idIn(ev *core.Event) string {
	if ev == nil {
		return ""
	}
	return ev.ObjectID
}

// last2 is what is expected of the last event, which is the writer's.
func (e *echoWorld) last2(id string) string {
	e.settle()
	return e.last.Type() + " " + id + " writer"
}

func TestAnEchoIsDroppedWhenThatIsAsked(t *testing.T) {
	e := newEchoWorld(t, testdb.SQLite(t), stage.Config{Mode: "drop", Window: time.Minute})
	id := e.call("POST", "/api/v2/deals", `{"title":"a"}`)
	e.want("a create", "added.deal "+id+" dropped")
	if step := e.last.Steps[len(e.last.Steps)-1]; !strings.Contains(fmt.Sprintf("%+v", step), "dropped: an echo of what writer wrote") || e.seen["dropped"] != 1 {
		t.Errorf("%+v, counted %v", step, e.seen)
	}
}

func TestAnEchoThatComesTooLateIsNone(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		e := newEchoWorld(t, url, stage.Config{Mode: "mark", Window: time.Nanosecond})
		id := e.call("POST", "/api/v2/deals", `{"title":"a"}`)
		e.want("behind the window", "added.deal "+id)
		entries, _, err := e.store.KVList(t.Context(), echoSpace, store.KVRange{})
		if err != nil || len(entries) != 1 || time.Until(entries[0].Expires) > 10*time.Minute || time.Until(entries[0].Expires) < 5*time.Minute {
			t.Errorf("kept %+v (%v)", entries, err)
		}
	})
}

func TestAWriteThatPipedriveRefusesLeavesNoEntry(t *testing.T) {
	e := newEchoWorld(t, testdb.SQLite(t), stage.Default())
	for _, c := range []*effect.APICall{
		{Method: "POST", Path: "/api/v2/deals", Body: []byte(`{"value":"no title"}`)},
		{Method: "PATCH", Path: "/api/v2/deals/999999", Body: []byte(`{"title":"a"}`)},
	} {
		if _, err := e.Pipedrive(t.Context(), callOf("writer", "1"), c); err == nil {
			t.Errorf("%s is taken", c.Path)
		}
	}
	if entries, _, err := e.store.KVList(t.Context(), echoSpace, store.KVRange{}); err != nil || len(entries) != 0 {
		t.Errorf("kept %+v (%v)", entries, err)
	}
}

func TestAWriteThatIsNotSentLeavesNoEntry(t *testing.T) {
	e := newEchoWorld(t, testdb.SQLite(t), stage.Default())
	away := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }))
	t.Cleanup(away.Close)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	app := config.PipedriveOAuth{ClientID: "app", ClientSecret: "secret", Server: away.URL}
	old := keptStates{}
	keeper, err := pipedrive.NewSealedKeeper(old, app.ClientSecret)
	if err != nil {
		t.Fatal(err)
	}
	if err := keeper.Save(t.Context(), pipedrive.Tokens{Access: "access", Refresh: "refresh", Expires: time.Now(), APIDomain: away.URL}); err != nil {
		t.Fatal(err)
	}
	for why, account := range map[string]struct {
		states keptStates
		config.Pipedrive
	}{
		"the day is spent":               {nil, config.Pipedrive{BaseURL: away.URL, APIToken: accountToken, Budget: config.PipedriveBudget{Daily: 1}}},
		"there is no way to Pipedrive":   {nil, config.Pipedrive{BaseURL: gone.URL, APIToken: accountToken}},
		"the app is not connected":       {keptStates{}, config.Pipedrive{OAuth: app}},
		"the token can't be renewed now": {old, config.Pipedrive{OAuth: app}},
	} {
		e.account = &accountClient{states: account.states, log: slog.New(slog.DiscardHandler)}
		e.account.use(&config.Config{Pipedrive: account.Pipedrive})
		_, err := e.Pipedrive(t.Context(), callOf("writer", why), &effect.APICall{Method: "PATCH", Path: "/api/v2/deals/1", Body: []byte(`{"title":"a"}`)})
		if err == nil {
			t.Errorf("%s: it is taken", why)
		}
		if entries, _, listed := e.store.KVList(t.Context(), echoSpace, store.KVRange{}); listed != nil || len(entries) != 0 {
			t.Errorf("%s: after %v there are %d entries (%v)", why, err, len(entries), listed)
		}
	}
}

func TestAWriteWhoseAnswerWasLostIsKnown(t *testing.T) {
	e := newEchoWorld(t, testdb.SQLite(t), stage.Default())
	id := e.call("POST", "/api/v2/deals", `{"title":"a"}`)
	e.are()
	faults := func(kinds ...string) {
		for _, kind := range kinds {
			if err := e.server.Faults().Add(simulate.Fault{Kind: kind, Next: 1}); err != nil {
				t.Fatal(err)
			}
		}
	}
	faults(simulate.FaultCut, "400")
	_, err := e.Pipedrive(t.Context(), callOf("writer", "1"), &effect.APICall{Method: "PATCH", Path: "/api/v2/deals/" + id, Body: []byte(`{"title":"b"}`)})
	if err == nil {
		t.Error("the second try was not refused")
	}
	e.want("a change that was refused when it was tried again", "updated.deal "+id+" writer")
	faults(simulate.FaultCut)
	e.call("DELETE", "/api/v2/deals/"+id, "")
	e.want("a delete that was done when it was tried again", "deleted.deal "+id+" writer")
}

func TestAStageThatCannotAskLetsTheEventPass(t *testing.T) {
	l := echoes.New(echoes.Options{Now: time.Now, Keep: func(context.Context, *effect.KVOp) (*effect.KVResult, error) {
		return nil, &core.Error{Kind: core.Unavailable, Msg: "away"}
	}})
	l.Use(time.Minute)
	made, err := stage.Factory(stage.Deps{Ledger: l}).New(func(any) error { return nil }, core.Place{})
	if err != nil {
		t.Fatal(err)
	}
	ev := &core.Event{Object: "deal", ObjectID: "1", Action: core.Updated, Facts: core.Facts{ChangeSource: "api"}}
	if verdict, err := made.Process(t.Context(), ev); verdict != core.Continue || err != nil || len(ev.Labels) > 0 {
		t.Errorf("%v %v %v", verdict, err, ev.Labels)
	}
	if _, err := l.Begin(t.Context(), "l", &effect.APICall{Method: "PATCH", Path: "/api/v2/deals/1", Body: []byte(`{"title":"a"}`)}); err == nil {
		t.Error("a write that could not be noted goes on")
	}
}

// louder is served with a listener that writes to the deal whose change it hears of.
type louder struct {
	*project
	t      *testing.T
	server *simulate.Server
	deal   string
}

// newLouder gives the listener some keys and the configuration some tables, and has a person change a deal.
func newLouder(t *testing.T, keys, echo, tables string) *louder {
	t.Helper()
	server, account := standInFor(t)
	p := newProject(t, testdb.SQLite(t), "authenticate echo dedupe persist dispatch", map[string]string{"echo": echo, "": fmt.Sprintf(`[pipedrive]
base_url = %q
api_token = %q
%s
[[listener]]
name   = "louder"
script = "scripts/louder.ts"
match  = ["updated.deal"]
%s
`, account.Pipedrive.BaseURL, accountToken, tables, keys)})
	p.write(t, "scripts/louder.ts", `import type { Context, Event } from "pipehook";
export default async function (event: Event, ctx: Context) {
  const deal = await ctx.pipedrive.get("/api/v2/deals/" + event.objectId);
  await ctx.pipedrive.patch("/api/v2/deals/" + event.objectId, { title: deal.title + "!" });
}
`)
	p.serve(t)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = server.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	h := askingPipedrive(account).user(hostSpec{name: "l"})
	_, err := h.Pipedrive(t.Context(), callOf("l", "1"), &effect.APICall{Method: "POST", Path: "/api/v1/webhooks", Body: fmt.Appendf(nil,
		`{"name":"all","event_action":"*","event_object":"deal","subscription_url":"http://%s/hook","http_auth_user":"hook","http_auth_password":"secret of the tests"}`, p.hooks)})
	if err != nil {
		t.Fatal(err)
	}
	deal, err := server.CRM().Create("deal", simulate.Record{"title": "a"}, simulate.By{})
	if err != nil {
		t.Fatal(err)
	}
	id := fmt.Sprint(deal["id"])
	if _, err := server.CRM().Update("deal", id, simulate.Record{"title": "hello"}, simulate.By{}); err != nil {
		t.Fatal(err)
	}
	return &louder{p, t, server, id}
}

func (l *louder) shows(what, line string) {
	l.t.Helper()
	eventually(l.t, what, func() bool {
		r, err := http.Get("http://" + l.admin + "/metrics")
		if err != nil {
			l.t.Fatal(err)
		}
		defer r.Body.Close()
		text, err := io.ReadAll(r.Body)
		if err != nil {
			l.t.Fatal(err)
		}
		return strings.Contains(string(text), line)
	})
}

// ranOnce looks whether what it wrote stands there once.
func (l *louder) ranOnce() {
	l.t.Helper()
	l.shows("the attempt ends", `pipehook_attempts_total{listener="louder",state="done"} 1`)
	if is, there := l.server.CRM().Get("deal", l.deal); !there || is["title"] != "hello!" {
		l.t.Errorf("it is %v", is["title"])
	}
}

// A script that changes the record it listens to would call itself for ever.
func TestAListenerThatWritesDoesNotAnswerItself(t *testing.T) {
	l := newLouder(t, `where  = { "labels.echo" = { exists = false } }`, "", "")
	l.shows("the echo is marked", `pipehook_echo_total{pipeline="crm",result="marked"} 1`)
	l.ranOnce()
}

// What the tables miss, reconcile would tell of as of anybody's change.
func TestAnEchoThatIsDroppedReachesTheTablesSoThatReconcileFindsNothing(t *testing.T) {
	l := newLouder(t, "", `mode = "drop"`, "[pipedrive.reconcile]\nat_start = false\nsettle = \"0s\"\n[pipedrive.sync]\nobjects = [\"deal\"]\n"+mirrorListener)
	l.shows("the echo is dropped", `pipehook_echo_total{pipeline="crm",result="dropped"} 1`)
	eventually(t, "the echo is stored", func() bool { return len(l.events(t)) == 3 })
	l.ranOnce()
	eventually(t, "the tables have all", func() bool {
		r := compared(t, l.project, "deal", "--since", "1h")
		if n := submitted(r); n != 0 {
			t.Fatalf("reconcile tells of %d changes: %+v", n, r)
		}
		return r.Objects[0].Looked == 1 && r.Objects[0].Differing == 0
	})
	if n := len(l.events(t)); n != 3 {
		t.Errorf("%d events are stored", n)
	}
	l.ranOnce()
}
