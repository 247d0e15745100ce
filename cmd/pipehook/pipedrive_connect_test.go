package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/coretest/testdb"
	"github.com/pipehook/pipehook/core/pipedrive"
	"github.com/pipehook/pipehook/core/pipedrive/simulate"
)

const (
	appSecret = "canary-client-secret"
)

// appStandIn is Pipedrive, as far as tests see it.
type appStandIn struct {
	*simulate.Server
	url     string
	ahead   atomic.Int64 // how much later it is for it
	renewed atomic.Int64
	said    written // every token that it gave out
}

func newAppStandIn(t *testing.T, o simulate.Options) *appStandIn {
	t.Helper()
	s := &appStandIn{}
	o.Token, o.ClientID, o.ClientSecret, o.Company = accountToken, "app", appSecret, "acme"
	o.Now = func() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) }
	s.Server = simulate.New(o)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/oauth/token" && r.FormValue("grant_type") == "refresh_token" {
			s.renewed.Add(1)
		}
		if r.URL.Path == "/oauth/token" {
			w = &tellingWriter{w, &s.said}
		}
		s.Server.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

type tellingWriter struct {
	http.ResponseWriter
	to io.Writer
}

func (c *tellingWriter) Write(text []byte) (int, error) {
	_, _ = c.to.Write(text)
	return c.ResponseWriter.Write(text)
}

// appProject has an app of the stand-in's, whose callback is the admin listener.
func appProject(t *testing.T, s *appStandIn, storeURL, more string) *project {
	t.Helper()
	p := newProject(t, storeURL, fullChain, nil)
	edit(t, p.config, "[admin]\n", "[admin]\ntoken = \"canary-admin-token\"\n") // which the callback does without
	text := readFile(t, p.config)
	p.write(t, "pipeline.toml", text+"\n[pipedrive]\nbase_url = \""+s.url+"\"\n"+more+"\n[pipedrive.oauth]\nclient_id = \"app\"\nclient_secret = \""+appSecret+
		"\"\nserver = \""+s.url+"\"\nredirect_url = \"http://"+p.admin+callbackPath+"\"\n")
	return p
}

// connecting is a connect that runs.
type connecting struct {
	out, errs written
	code      chan int
}

func startConnect(t *testing.T, p *project, stdin io.Reader, args ...string) *connecting {
	t.Helper()
	c := &connecting{code: make(chan int, 1)}
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(stop)
	go func() {
		c.code <- run(ctx, append([]string{"pipedrive", "connect", "--config", p.config}, args...), nil, stdin, &c.out, &c.errs)
	}()
	return c
}

var addressLine = regexp.MustCompile(`(?m)^\s*(http://\S+/oauth/authorize\S+)$`)

func (c *connecting) address(t *testing.T) string {
	t.Helper()
	var m []string
	eventually(t, "the address is told", func() bool { m = addressLine.FindStringSubmatch(c.errs.String()); return m != nil })
	return m[1]
}

// agree opens the address and gives where the browser is sent to.
func agree(t *testing.T, address string) string {
	t.Helper()
	resp, err := noRedirect.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.Header.Get("Location")
}

func open(t *testing.T, address string) (status int, text string) {
	t.Helper()
	resp, err := noRedirect.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// keepsSecrets fails when a secret shows.
func (s *appStandIn) keepsSecrets(t *testing.T, texts ...string) {
	t.Helper()
	secrets := []string{appSecret, accountToken}
	for text := range strings.SplitSeq(strings.ReplaceAll(s.said.String(), "}", "}\n"), "\n") {
		var given struct {
			Access  string `json:"access_token"`
			Refresh string `json:"refresh_token"`
		}
		if json.Unmarshal([]byte(text), &given) == nil && given.Access != "" {
			secrets = append(secrets, given.Access, given.Refresh)
		}
	}
	for _, text := range texts {
		for _, secret := range secrets {
			if strings.Contains(text, secret) {
				t.Errorf("%q shows in\n%s", secret, text)
			}
		}
	}
}

func TestAnAppIsConnectedByTheCallbackOfAProcessThatServes(t *testing.T) {
	for name, storeURL := range stores(t) {
		t.Run(name, func(t *testing.T) {
			s := newAppStandIn(t, simulate.Options{})
			p := appProject(t, s, storeURL, "company = \"acme\"")
			p.serve(t)
			c := startConnect(t, p, strings.NewReader(""))
			back := agree(t, c.address(t))
			if status, text := open(t, strings.Replace(back, "state=", "state=x", 1)); status != http.StatusForbidden || strings.Contains(text, "state=x") {
				t.Errorf("a wrong state: %d %s", status, text)
			}
			status, text := open(t, back)
			if status != http.StatusOK || !strings.Contains(text, "is connected") || strings.Contains(text, queryOf(t, back, "code")) {
				t.Errorf("got %d %s", status, text)
			}
			if status, _ := open(t, back); status != http.StatusForbidden {
				t.Errorf("the state was good twice: %d", status)
			}
			if code := <-c.code; code != exitDone || !strings.Contains(c.out.String(), "acme") || !strings.Contains(c.out.String(), "base,admin") {
				t.Errorf("exit code %d\n%s%s", code, c.out.String(), c.errs.String())
			}
			s.keepsSecrets(t, text, c.out.String(), c.errs.String())
			out := says(t, exitDone, []string{"pipedrive", "status", "--json", "--config", p.config}, `"connected": true`, `"way": "oauth"`, `"companyDomain": "acme"`)
			s.keepsSecrets(t, out)
			says(t, exitDone, []string{"webhooks", "list", "--config", p.config})
			_, found := examined(t, p)
			finds(t, found, "store", good, "read and written")
			finds(t, found, "account", good, "company acme")
		})
	}
}

func stores(t *testing.T) map[string]string {
	all := map[string]string{"SQLite": testdb.SQLite(t)}
	if os.Getenv("PIPEHOOK_TEST_POSTGRES") != "" {
		all["PostgreSQL"] = testdb.Postgres(t)
	}
	return all
}

func queryOf(t *testing.T, address, name string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil || u.Query().Get(name) == "" {
		t.Fatalf("no %s in %s", name, address)
	}
	return u.Query().Get(name)
}

func migrated(t *testing.T, s *appStandIn, more string) *project {
	t.Helper()
	p := appProject(t, s, testdb.SQLite(t), more)
	says(t, exitDone, []string{"migrate", "--config", p.config})
	return p
}

// begun is an address that connect --no-wait gave out.
func begun(t *testing.T, p *project) string {
	t.Helper()
	return strings.TrimSpace(says(t, exitDone, []string{"pipedrive", "connect", "--no-wait", "--config", p.config}))
}

func pasteFile(t *testing.T, p *project, text string) (code int, said string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), []string{"pipedrive", "connect", "--code-file", "-", "--config", p.config}, nil, strings.NewReader(text), &out, &errs)
	return code, out.String() + errs.String()
}

func TestWhatCameBackIsTakenByHand(t *testing.T) {
	s := newAppStandIn(t, simulate.Options{})
	p := migrated(t, s, "")
	for _, test := range []struct {
		name string
		make func(back string) string
		code int
		says string
	}{
		{"the whole address", func(back string) string { return back + "\n" }, exitDone, "acme"},
		{"the code alone", func(back string) string { return queryOf(t, back, "code") }, exitDone, "acme"},
		{"the query alone", func(back string) string { return back[strings.IndexByte(back, '?'):] }, exitDone, "acme"},
		{"a state of somebody else's", func(back string) string { return strings.Replace(back, "state=", "state=A", 1) }, exitFailed, "the state is not the one"},
		{"an address without a state", func(back string) string { return back[:strings.Index(back, "&state=")] }, exitUsage, "no state"},
		{"an address without a code", func(string) string { return "https://example.com/?a=b" }, exitUsage, "no code"},
		{"nothing", func(string) string { return " \n" }, exitUsage, "this is no code"},
		{"a code that is none", func(string) string { return "abc" }, exitFailed, "good once and for five minutes"},
		{"a refusal", func(back string) string {
			return "http://x/?error=user_denied&state=" + queryOf(t, back, "state")
		}, exitFailed, "did not agree"},
	} {
		t.Run(test.name, func(t *testing.T) {
			code, said := pasteFile(t, p, test.make(agree(t, begun(t, p))))
			if code != test.code || !strings.Contains(said, test.says) {
				t.Errorf("exit code %d\n%s", code, said)
			}
			if code != exitDone && !strings.Contains(said, "pipehook: hint: ") {
				t.Errorf("no hint in\n%s", said)
			}
			s.keepsSecrets(t, said)
		})
	}
	edit(t, p.config, appSecret, "wrong-secret")
	if code, said := pasteFile(t, p, agree(t, begun(t, p))); code != exitFailed || !strings.Contains(said, "check pipedrive.oauth.client_id and client_secret") {
		t.Errorf("a wrong client secret: exit code %d\n%s", code, said)
	}
	edit(t, p.config, "wrong-secret", appSecret)
	back := agree(t, begun(t, p))
	s.ahead.Store(int64(6 * time.Minute))
	if code, said := pasteFile(t, p, back); code != exitFailed || !strings.Contains(said, "five minutes") {
		t.Errorf("an old code: exit code %d\n%s", code, said)
	}
}

// memoryStates keeps states as the store does.
type memoryStates map[string][]byte

func (m memoryStates) State(_ context.Context, name string) ([]byte, error) { return m[name], nil }

func (m memoryStates) SetState(_ context.Context, name string, value []byte) error {
	m[name] = value
	return nil
}

func TestAStateIsGoodOnceAndForTenMinutes(t *testing.T) {
	now := time.Now()
	states := memoryStates{}
	if _, err := take(t.Context(), states, "", now); !errors.Is(err, errState) {
		t.Errorf("nothing was begun: %v", err)
	}
	first, _, err := begin(t.Context(), states, now)
	if err != nil || strings.Contains(string(states[pendingName]), first) {
		t.Fatalf("error %v, kept as %s", err, states[pendingName])
	}
	second, _, err := begin(t.Context(), states, now)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, state string
		at          time.Time
		want        error
	}{
		{"one that was begun before the last", first, now, errState},
		{"too late", second, now.Add(pendingLife), errState},
		{"in time", second, now.Add(pendingLife - time.Second), nil},
		{"again", second, now, errState},
	} {
		if _, err := take(t.Context(), states, test.state, test.at); !errors.Is(err, test.want) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

func TestTheCallbackShowsAndKeepsNothing(t *testing.T) {
	states := memoryStates{}
	var logged written
	c := &callback{states: states, now: time.Now, log: slog.New(slog.NewTextHandler(&logged, nil))}
	for _, query := range []string{"", "?state=canary&code=canary", "?state=<b>canary</b>&error=canary", "?state=%zz&canary"} {
		w := httptest.NewRecorder()
		c.ServeHTTP(w, httptest.NewRequest(http.MethodGet, callbackPath+query, nil))
		if w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), "pipehook pipedrive connect") {
			t.Errorf("%s: %d %s", query, w.Code, w.Body)
		}
		if strings.Contains(w.Body.String()+logged.String()+fmt.Sprint(states, w.Header()), "canary") {
			t.Errorf("%s shows in %s%s", query, w.Body, logged.String())
		}
		if h := w.Header(); h.Get("Cache-Control") != "no-store" || h.Get("Referrer-Policy") != "no-referrer" || !strings.HasPrefix(h.Get("Content-Type"), "text/plain") {
			t.Errorf("got %v", h)
		}
	}
}

func TestARedirectURLThatIsNotTheAppsIsNamed(t *testing.T) {
	s := newAppStandIn(t, simulate.Options{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"success":false,"message":"Invalid request: redirect_uri is not the canary-uri","error":"invalid_request"}`))
	}))
	defer server.Close()
	p := migrated(t, s, "")
	edit(t, p.config, "server = \""+s.url, "server = \""+server.URL)
	code, said := pasteFile(t, p, "abc")
	if code != exitFailed || !strings.Contains(said, "redirect_url must be the one that the app is registered with") || strings.Contains(said, "canary") {
		t.Errorf("exit code %d\n%s", code, said)
	}
}

func TestDoctorSaysThatAnAppIsNotConnected(t *testing.T) {
	p := migrated(t, newAppStandIn(t, simulate.Options{}), "")
	code, found := examined(t, p)
	finds(t, found, "account", bad, "not connected with Pipedrive")
	finds(t, found, "webhooks", bad, "not connected with Pipedrive")
	if code != exitFailed {
		t.Errorf("exit code %d", code)
	}
	if code, said := pasteFile(t, p, agree(t, begun(t, p))); code != exitDone {
		t.Fatalf("exit code %d\n%s", code, said)
	}
	_, found = examined(t, p)
	finds(t, found, "account", good, "company acme")
}

func TestConnectSaysWhichKeysAreMissing(t *testing.T) {
	p := connected(t, "[pipedrive.oauth]\nclient_id = \"app\"\nclient_secret = \"x\"\n")
	says(t, exitUsage, []string{"pipedrive", "connect", "--config", p.config}, "there is no pipedrive.oauth.redirect_url", "[pipedrive.oauth]")
	p = connected(t, "")
	says(t, exitUsage, []string{"pipedrive", "connect", "--config", p.config}, "no pipedrive.oauth.client_id, client_secret, redirect_url")
	says(t, exitUsage, []string{"pipedrive", "disconnect", "--yes", "--config", p.config}, "with an API token there is nothing to connect")
	p = newProject(t, testdb.SQLite(t), fullChain, nil)
	says(t, exitUsage, []string{"pipedrive", "status", "--config", p.config}, "pipehook: hint: set pipedrive.company and pipedrive.api_token")
}

func TestAnotherCompanyThanTheConfiguredOneIsSaid(t *testing.T) {
	p := migrated(t, newAppStandIn(t, simulate.Options{}), "company = \"other\"")
	if code, said := pasteFile(t, p, agree(t, begun(t, p))); code != exitFailed || !strings.Contains(said, "connected with acme, and pipedrive.company is other") {
		t.Errorf("exit code %d\n%s", code, said)
	}
}

func TestTokensAreRenewedTakenBackAndForgotten(t *testing.T) {
	s := newAppStandIn(t, simulate.Options{TokenLife: time.Minute}) // less than what is renewed early
	p := migrated(t, s, "company = \"acme\"")
	if code, said := pasteFile(t, p, agree(t, begun(t, p))); code != exitDone {
		t.Fatalf("exit code %d\n%s", code, said)
	}
	before := s.renewed.Load()
	says(t, exitDone, []string{"webhooks", "list", "--config", p.config})
	if s.renewed.Load() == before {
		t.Error("the access token was not renewed")
	}
	edit(t, p.config, appSecret, "another-secret")
	says(t, exitFailed, []string{"pipedrive", "status", "--config", p.config}, "the client secret is another one", "hint: pipehook pipedrive connect")
	edit(t, p.config, "another-secret", appSecret)
	says(t, exitUsage, []string{"pipedrive", "disconnect", "--config", p.config}, "add --yes")
	says(t, exitDone, []string{"pipedrive", "disconnect", "--yes", "--config", p.config}, "disconnected")
	says(t, exitFailed, []string{"pipedrive", "status", "--config", p.config}, "connected  no", "hint: pipehook pipedrive connect")
}

func TestTheStatusSaysWhyARenewalFailed(t *testing.T) {
	s := newAppStandIn(t, simulate.Options{TokenLife: time.Minute})
	p := migrated(t, s, "")
	if code, said := pasteFile(t, p, agree(t, begun(t, p))); code != exitDone {
		t.Fatalf("exit code %d\n%s", code, said)
	}
	s.Server = simulate.New(simulate.Options{ClientID: "app", ClientSecret: appSecret}) // which knows no tokens
	out := says(t, exitFailed, []string{"pipedrive", "status", "--json", "--config", p.config}, `"renewalError"`, "taken back")
	s.keepsSecrets(t, out)
	if code, said := pasteFile(t, p, agree(t, begun(t, p))); code != exitDone {
		t.Fatalf("exit code %d\n%s", code, said)
	}
	if out := says(t, exitDone, []string{"pipedrive", "status", "--json", "--config", p.config}); strings.Contains(out, "renewalError") {
		t.Errorf("it failed before it was connected again:\n%s", out)
	}
}

func TestACompanyWithATokenHasAStatusToo(t *testing.T) {
	s := newAppStandIn(t, simulate.Options{Daily: 10_000})
	p := newProject(t, testdb.SQLite(t), fullChain, map[string]string{"": "[pipedrive]\nbase_url = \"" + s.url + "\"\napi_token = \"" + accountToken + "\"\n"})
	out := says(t, exitDone, []string{"pipedrive", "status", "--config", p.config}, "an API token", "acme", "tokens left today")
	s.keepsSecrets(t, out)
	edit(t, p.config, accountToken, "wrong-token")
	says(t, exitFailed, []string{"pipedrive", "status", "--config", p.config}, "the token is not accepted", "connected  no")
}

func TestConnectNeedsADatabase(t *testing.T) {
	p := appProject(t, newAppStandIn(t, simulate.Options{}), "sqlite:"+filepath.Join(t.TempDir(), "none.db"), "")
	says(t, exitFailed, []string{"pipedrive", "connect", "--config", p.config},
		"pipehook: error: there is no database at ", "pipehook: hint: pipehook migrate makes it")
	says(t, exitFailed, []string{"pipedrive", "status", "--config", p.config}, "pipehook: error: there is no database at ", "pipehook: hint: pipehook migrate makes it")
	_, found := examined(t, p)
	finds(t, found, "account", bad, "there is no database at ")
	for _, d := range found {
		if strings.Contains(d.Says, "read the tokens") {
			t.Errorf("doctor says %q", d.Says)
		}
	}
}

// A process that serves has asked before the app is connected, and asks after, when the first tokens have ended.
func TestAProcessThatServesFindsTheTokensAndRenewsThem(t *testing.T) {
	s := newAppStandIn(t, simulate.Options{TokenLife: time.Minute})
	p := appProject(t, s, testdb.SQLite(t), "company = \"acme\"")
	p.write(t, "pipedrive.fields.json", dealFields)
	p.serve(t)
	if code, said := pasteFile(t, p, agree(t, begun(t, p))); code != exitDone {
		t.Fatalf("exit code %d\n%s", code, said)
	}
	s.ahead.Store(int64(2 * time.Minute))
	before := s.renewed.Load()
	body, err := os.ReadFile("../../core/samples/pipedrive_docs-v2-change-deal-customfield.json")
	if err != nil {
		t.Fatal(err)
	}
	p.post(t, body) // which has a field that is not defined, so that the definitions are asked for
	eventually(t, "the definitions", func() bool {
		text, err := os.ReadFile(filepath.Join(p.dir, "pipedrive.fields.json"))
		return err == nil && string(text) != dealFields
	})
	if s.renewed.Load() == before {
		t.Error("the access token was not renewed")
	}
}

// What the configuration says of the API holds for who asks how the connection is, too.
func TestTheStatusOfAnAppIsAskedForNoLongerThanATryMayTake(t *testing.T) {
	asked := make(chan struct{}, 10)
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done()
	}))
	defer silent.Close()
	states := memoryStates{}
	keeper, err := pipedrive.NewSealedKeeper(states, appSecret)
	if err != nil {
		t.Fatal(err)
	}
	if err := keeper.Save(t.Context(), pipedrive.Tokens{Access: "a", Refresh: "r", Expires: time.Now().Add(time.Hour), APIDomain: silent.URL}); err != nil {
		t.Fatal(err)
	}
	conf := &config.Config{}
	conf.Pipedrive = config.Pipedrive{Company: "acme", BaseURL: silent.URL, Timeout: time.Second, OAuth: config.PipedriveOAuth{ClientID: "app", ClientSecret: appSecret, Server: silent.URL}}
	n := &connection{conf, states, namedApp(conf, states)}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := n.ask(ctx); err == nil || ctx.Err() != nil || len(asked) != 1 {
		t.Errorf("error %v after %d tries, the time is over: %v", err, len(asked), ctx.Err())
	}
}
