package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/effect"
	"github.com/pipehook/pipehook/core/pipedrive/simulate"
	"github.com/pipehook/pipehook/core/plughost"
	"github.com/pipehook/pipehook/plugins/sdk/wire"
)

const accountToken = "canary-api-token"

// standInFor serves an account, and makes a configuration that is connected with it.
func standInFor(t *testing.T) (*simulate.Server, *config.Config) {
	t.Helper()
	server := simulate.New(simulate.Options{Token: accountToken, Company: "acme", CompanyID: 7, Burst: 1000, Scale: 60})
	s := httptest.NewServer(server)
	t.Cleanup(s.Close)
	conf := &config.Config{}
	conf.Pipedrive.BaseURL, conf.Pipedrive.APIToken, conf.Pipedrive.Budget.Burst = s.URL, accountToken, 1000
	return server, conf
}

// askingPipedrive are effects that only ask Pipedrive.
func askingPipedrive(conf *config.Config) *effects {
	e := newEffects(nil, nil, nil, slog.New(slog.DiscardHandler))
	e.account = &accountClient{log: e.log}
	e.account.use(conf)
	return e
}

func TestScriptsAndPluginsAskPipedrive(t *testing.T) {
	server, conf := standInFor(t)
	h := askingPipedrive(conf).user(hostSpec{name: "l", emits: true})
	by := callOf("l", "1")
	made, err := h.Pipedrive(t.Context(), by, &effect.APICall{Method: "POST", Path: "/api/v2/deals", Body: []byte(`{"title":"new"}`)})
	if err != nil || made.Status != http.StatusCreated && made.Status != http.StatusOK || !strings.Contains(string(made.Data), `"title":"new"`) {
		t.Fatalf("%+v (%v)", made, err)
	}
	for i := range 5 {
		if _, err := server.CRM().Create("deal", simulate.Record{"title": strings.Repeat("x", i+1)}, simulate.By{}); err != nil {
			t.Fatal(err)
		}
	}
	page, err := h.Pipedrive(t.Context(), by, &effect.APICall{Method: "GET", Path: "/api/v2/deals", Query: map[string][]string{"limit": {"4"}}})
	if err != nil || page.Next == "" {
		t.Fatalf("%+v (%v)", page, err)
	}
	_, err = h.Pipedrive(t.Context(), by, &effect.APICall{Method: "GET", Path: "/api/v2/deals/99999"})
	wantCode(t, err, "ENOTFOUND")
	if e := err.(*effect.Error); e.Status != http.StatusNotFound || strings.Contains(e.Msg, accountToken) {
		t.Errorf("%+v", e)
	}
	_, err = h.Pipedrive(t.Context(), by, &effect.APICall{Method: "POST", Path: "/api/v2/deals", Body: []byte(`{}`)})
	wantCode(t, err, "EINVALID")
	_, err = h.Pipedrive(t.Context(), by, &effect.APICall{Method: "GET", Path: "/oauth/token"})
	wantCode(t, err, "EINVALID")
	_, err = h.Pipedrive(t.Context(), effect.Caller{Name: "l"}, &effect.APICall{Method: "GET", Path: "/api/v2/deals"})
	wantCode(t, err, "ENOTAVAILABLE")
	_, err = askingPipedrive(conf).user(hostSpec{name: "s", names: true}).Pipedrive(t.Context(), by, &effect.APICall{Method: "GET", Path: "/api/v2/deals"})
	wantCode(t, err, "ENOTAVAILABLE")

	conf.Pipedrive.APIToken = "wrong"
	_, err = askingPipedrive(conf).user(hostSpec{name: "l"}).Pipedrive(t.Context(), by, &effect.APICall{Method: "GET", Path: "/api/v2/deals"})
	wantCode(t, err, "EUNAUTHORIZED")
	_, err = askingPipedrive(&config.Config{}).user(hostSpec{name: "l"}).Pipedrive(t.Context(), by, &effect.APICall{Method: "GET", Path: "/api/v2/deals"})
	wantCode(t, err, "ENOTCONNECTED")
	if !strings.Contains(err.Error(), "company and api_token under [pipedrive]") {
		t.Error(err)
	}
}

func TestAPageSaysWhereTheNextBegins(t *testing.T) {
	answer := ""
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, answer) }))
	t.Cleanup(s.Close)
	conf := &config.Config{}
	conf.Pipedrive.BaseURL, conf.Pipedrive.APIToken, conf.Pipedrive.Budget.Burst = s.URL, accountToken, 1000
	h, by := askingPipedrive(conf).user(hostSpec{name: "l"}), callOf("l", "1")
	for name, test := range map[string]struct{ data, additional, want string }{
		"a cursor":                      {`[1,2]`, `{"next_cursor":"abc"}`, "abc"},
		"no cursor":                     {`[1,2]`, `{"next_cursor":null}`, ""},
		"a start":                       {`[1,2]`, `{"pagination":{"start":4,"limit":2,"more_items_in_collection":true,"next_start":6}}`, "6"},
		"more, and no start":            {`[1,2]`, `{"pagination":{"start":4,"limit":2,"more_items_in_collection":true}}`, "6"},
		"more, no start and no records": {`null`, `{"pagination":{"start":4,"limit":2,"more_items_in_collection":true}}`, ""},
		"no more":                       {`[1,2]`, `{"pagination":{"start":4,"limit":2,"more_items_in_collection":false,"next_start":6}}`, ""},
		"nothing more to say":           {`[1,2]`, `null`, ""},
	} {
		answer = `{"success":true,"data":` + test.data + `,"additional_data":` + test.additional + `}`
		a, err := h.Pipedrive(t.Context(), by, &effect.APICall{Method: "GET", Path: "/api/v1/notes"})
		if err != nil || a.Next != test.want {
			t.Errorf("%s: got %+v (%v), want %q", name, a, err, test.want)
		}
	}
}

func TestACallMayAskPipedriveSoOften(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"success":true}`) }))
	t.Cleanup(s.Close)
	conf := &config.Config{}
	conf.Pipedrive.BaseURL, conf.Pipedrive.APIToken, conf.Pipedrive.Budget.Burst = s.URL, accountToken, 1000
	h, by := askingPipedrive(conf).user(hostSpec{name: "l"}), callOf("l", "1")
	for range maxCalls {
		if _, err := h.Pipedrive(t.Context(), by, &effect.APICall{Method: "GET", Path: "/api/v2/deals/1"}); err != nil {
			t.Fatal(err)
		}
	}
	_, err := h.Pipedrive(t.Context(), by, &effect.APICall{Method: "GET", Path: "/api/v2/deals/1"})
	wantCode(t, err, "ELIMIT")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = h.Pipedrive(ctx, callOf("l", "2"), &effect.APICall{Method: "GET", Path: "/api/v2/deals/1"})
	wantCode(t, err, "ETIMEDOUT")
}

func TestAnAccountsClientIsAnotherOnlyWhenItsSettingsAre(t *testing.T) {
	conf := &config.Config{}
	conf.Pipedrive.Company, conf.Pipedrive.APIToken = "acme", accountToken
	a := &accountClient{log: slog.New(slog.DiscardHandler)}
	a.use(conf)
	first, err := a.get()
	if first == nil || err != nil {
		t.Fatal(first, err)
	}
	a.use(conf)
	if again, _ := a.get(); again != first {
		t.Error("the same configuration made another client")
	}
	conf.Pipedrive.APIToken = core.Secret("another")
	a.use(conf)
	if other, _ := a.get(); other == first || other == nil {
		t.Error("another token is not used")
	}
	a.use(&config.Config{})
	if none, err := a.get(); none != nil || err != nil {
		t.Error(none, err)
	}
}

func TestWhatIsSpentStaysSoWhenAnAccountIsAskedInAnotherWay(t *testing.T) {
	_, conf := standInFor(t)
	a := &accountClient{log: slog.New(slog.DiscardHandler)}
	spent := func() int64 {
		t.Helper()
		a.use(conf)
		client, err := a.get()
		if err != nil {
			t.Fatal(err)
		}
		before := client.Budget().Spent
		_, _ = client.Me(t.Context())
		return before
	}
	spent()
	again := *conf // as a reload reads it
	again.Pipedrive.Timeout, again.Pipedrive.Retries, again.Pipedrive.Budget.Daily = time.Minute, 5, 1000
	if conf = &again; spent() != 2 {
		t.Error("it is forgotten")
	}
	other := again
	other.Pipedrive.APIToken = "another"
	if conf = &other; spent() != 0 {
		t.Error("another user has spent it")
	}
}

// intoScripts puts a file into the scripts folder.
func intoScripts(t *testing.T, name, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll("scripts", 0o755), os.WriteFile(filepath.Join("scripts", name), []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
}

func TestATestAnswersPipedriveThroughItsMocks(t *testing.T) {
	t.Chdir(t.TempDir())
	intoScripts(t, "tell.ts", `import type { Context, Event } from "pipehook";
export default async function (event: Event, ctx: Context) {
  const person = await ctx.pipedrive.get("/api/v2/persons/7");
  await ctx.pipedrive.patch("/api/v2/deals/" + event.objectId, { title: person.name });
  try { await ctx.pipedrive.get("/api/v2/persons/9") } catch (e: any) { return [e.code, e.status, e.message.includes("gone away")] }
}
`)
	intoScripts(t, "tell.test.ts", `import { expect, fixture, mock, run, test } from "pipehook/test";
import handler from "./tell";
test("it writes", async () => {
  mock.fetch("https://company.pipedrive.com/api/v2/persons/7", { json: { success: true, data: { name: "Ann" } } });
  mock.fetch("GET https://*/api/v2/persons/9", { status: 404, json: { success: false, error: "gone away" } });
  mock.fetch("PATCH https://*.pipedrive.com/api/v2/deals/*", { json: { success: true, data: {} } });
  const r = await run(handler, fixture("updated.deal"));
  expect(r.error).toBe(undefined);
  expect(r.effects[1]).toMatchObject({ fetch: expect.stringMatching(/^PATCH /), body: { title: "Ann" }, status: 200 });
});
test("nothing answers", async () => {
  const r = await run(handler, fixture("updated.deal"));
  expect(r.ok).toBe(false);
  expect(JSON.stringify(r.error)).toContain("nothing answers GET https://company.pipedrive.com/api/v2/persons/7");
});
`)
	code, out, errs := command(t, "test")
	if code != 0 || !strings.Contains(out, "2 passed") {
		t.Errorf("code %d\n%s\n%s", code, out, errs)
	}
}

func TestAPluginGetsNoMoreThanItsLibrariesTake(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"success":true,"data":"`+strings.Repeat("x", maxPluginAnswer)+`"}`)
	}))
	t.Cleanup(s.Close)
	conf := &config.Config{}
	conf.Pipedrive.BaseURL, conf.Pipedrive.APIToken, conf.Pipedrive.Budget.Burst = s.URL, accountToken, 1000
	call := &effect.APICall{Method: "GET", Path: "/api/v2/deals"}
	e := askingPipedrive(conf)
	if a, err := e.user(hostSpec{name: "s"}).Pipedrive(t.Context(), callOf("s", "1"), call); err != nil || len(a.Data) < maxPluginAnswer {
		t.Errorf("a script: %v", err)
	}
	_, err := (&pluginHost{userHost: e.user(hostSpec{what: "plugin", name: "p"})}).Pipedrive(t.Context(), callOf("p", "1"), call)
	wantCode(t, err, "ETOOLARGE")
	source := pluginHostSpec(&plughost.Spec{Kind: wire.Source, Name: "shop"})
	_, err = (&pluginHost{userHost: e.user(source)}).Pipedrive(t.Context(), callOf("shop", "1"), call)
	wantCode(t, err, "ENOTAVAILABLE")
}
