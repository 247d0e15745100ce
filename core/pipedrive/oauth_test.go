package pipedrive_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/pipedrive"
	"github.com/pipehook/pipehook/core/pipedrive/shape"
)

// states are kept in memory.
type states struct {
	mu   sync.Mutex
	m    map[string][]byte
	away error
}

func (s *states) State(_ context.Context, name string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.m[name], s.away
}

func (s *states) SetState(_ context.Context, name string, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.m[name] = value
	return nil
}

// app is a token server, an API that takes its newest token, and an app that is registered there.
type app struct {
	*httptest.Server
	states  *states
	renewed atomic.Int32
	access  atomic.Int32
	expires int
	revoked atomic.Bool
	answers atomic.Int32 // the status with which the token server refuses everything; 0 for none
}

func newApp(t *testing.T) *app {
	a := &app{states: &states{m: map[string][]byte{}}, expires: 3600}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /oauth/token", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		id, password, _ := r.BasicAuth()
		good := id == "app" && password == "client-secret" && !a.revoked.Load() &&
			(r.FormValue("code") == "the-code" || r.FormValue("refresh_token") == "the-refresh")
		if !good {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"success":false,"message":"Invalid grant: refresh_token is invalid the-refresh"}`)
			return
		}
		if r.FormValue("grant_type") == "refresh_token" {
			a.renewed.Add(1)
		}
		fmt.Fprintf(w, `{"access_token":"access-%d","token_type":"Bearer","expires_in":%d,"refresh_token":"the-refresh","scope":"base,admin","api_domain":%q}`, a.access.Add(1), a.expires, a.URL)
	})
	mux.HandleFunc("POST /oauth/revoke", func(_ http.ResponseWriter, r *http.Request) { a.revoked.Store(r.FormValue("token") == "the-refresh") })
	mux.HandleFunc("/api/", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != fmt.Sprintf("Bearer access-%d", a.access.Load()) {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"success":false,"error":"unauthorized access"}`)
			return
		}
		fmt.Fprint(w, good)
	})
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if status := int(a.answers.Load()); status != 0 && strings.HasPrefix(r.URL.Path, "/oauth/") {
			w.WriteHeader(status)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(a.Close)
	return a
}

func (a *app) authorizer(t *testing.T) *pipedrive.OAuthAuthorizer {
	t.Helper()
	keeper, err := pipedrive.NewSealedKeeper(a.states, "client-secret")
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return pipedrive.OAuth(pipedrive.OAuthOptions{
		ClientID: "app", ClientSecret: "client-secret", Server: a.URL, RedirectURL: "https://hooks.example.com/pipedrive/callback", Keeper: keeper, HTTP: transport,
	})
}

func (a *app) client(t *testing.T, auth pipedrive.Authorizer) *pipedrive.Client {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	c, err := pipedrive.New(pipedrive.Options{Auth: auth, HTTP: transport, Budget: pipedrive.BudgetOptions{Burst: 1000}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAnAppIsConnectedAndDisconnected(t *testing.T) {
	a := newApp(t)
	auth := a.authorizer(t)
	failure(t, get(a.client(t, auth)), pipedrive.Disconnected)
	at, err := url.Parse(auth.AuthURL("the-state"))
	if err != nil || at.Query().Get("state") != "the-state" || at.Query().Get("client_id") != "app" || at.Path != "/oauth/authorize" {
		t.Errorf("got %v, %v", at, err)
	}
	tokens, err := auth.Exchange(t.Context(), "the-code")
	if err != nil || tokens.Scope != "base,admin" || tokens.APIDomain != a.URL {
		t.Fatalf("got %v, %v", tokens, err)
	}
	if kept := string(a.states.m["pipedrive.tokens"]); strings.Contains(kept, "access-1") || !strings.HasPrefix(kept, "pipehook-sealed-1.") {
		t.Errorf("the tokens are kept as %q", kept)
	}
	again := a.authorizer(t) // another process
	if err := get(a.client(t, again)); err != nil {
		t.Error(err)
	}
	if err := again.Revoke(t.Context()); err != nil || !a.revoked.Load() {
		t.Errorf("got %v, revoked %v", err, a.revoked.Load())
	}
	failure(t, get(a.client(t, again)), pipedrive.Disconnected)
}

func TestOneOfManyGoroutinesRenewsTheToken(t *testing.T) {
	for _, test := range []struct {
		name    string
		expires int
		refuse  bool
	}{{"that has ended", 1, false}, {"that is refused", 3600, true}} {
		t.Run(test.name, func(t *testing.T) {
			a := newApp(t)
			a.expires = test.expires
			auth := a.authorizer(t)
			if _, err := auth.Exchange(t.Context(), "the-code"); err != nil {
				t.Fatal(err)
			}
			a.expires = 3600
			if test.refuse {
				a.access.Add(1)
			}
			c := a.client(t, auth)
			var all sync.WaitGroup
			for range 50 {
				all.Go(func() {
					if err := get(c); err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
			if got := a.renewed.Load(); got != 1 {
				t.Errorf("got %d renewals, want 1", got)
			}
		})
	}
}

func TestTokensThatWereTakenBackAskToConnectAgain(t *testing.T) {
	a := newApp(t)
	a.expires = 1
	auth := a.authorizer(t)
	if _, err := auth.Exchange(t.Context(), "the-code"); err != nil {
		t.Fatal(err)
	}
	a.revoked.Store(true)
	e := failure(t, get(a.client(t, auth)), pipedrive.Disconnected)
	if text := e.Error(); strings.Contains(text, "the-refresh") || !strings.Contains(text, "pipehook pipedrive connect") {
		t.Errorf("got %q", text)
	}
}

func TestATokenServerThatRefusesNamesItself(t *testing.T) {
	for _, test := range []struct {
		name   string
		status int
		reason pipedrive.Reason
		says   string
	}{
		{"the app", http.StatusUnauthorized, pipedrive.Invalid, "pipedrive.oauth.client_id"},
		{"everybody", http.StatusServiceUnavailable, pipedrive.Unavailable, "try again"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := newApp(t)
			a.expires = 1
			auth := a.authorizer(t)
			if _, err := auth.Exchange(t.Context(), "the-code"); err != nil {
				t.Fatal(err)
			}
			a.answers.Store(int32(test.status))
			_, err := a.client(t, auth).CreateWebhook(t.Context(), pipedrive.NewWebhook{Name: "n"})
			e := failure(t, err, test.reason)
			if text := e.Error(); !strings.Contains(text, "renew the access token") || !strings.Contains(text, test.says) || strings.Contains(text, "webhook") {
				t.Errorf("got %q, want %q in it and no webhook", text, test.says)
			}
			if e.Unsure {
				t.Error("it may have been done")
			}
			if err := auth.Revoke(t.Context()); !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %q, want %q in it", err, test.says)
			}
		})
	}
}

func TestTokensThatCanNotBeReadNowAskNobodyToConnect(t *testing.T) {
	a := newApp(t)
	if _, err := a.authorizer(t).Exchange(t.Context(), "the-code"); err != nil {
		t.Fatal(err)
	}
	a.states.away = errors.New("database is locked")
	c := a.client(t, a.authorizer(t))
	e := failure(t, get(c), pipedrive.Unavailable)
	if text := e.Error(); !strings.Contains(text, "database is locked") || strings.Contains(text, "connect") {
		t.Errorf("got %q", text)
	}
	a.states.away = &core.Error{Kind: core.Invalid, Msg: "there is no database"}
	if text := failure(t, get(c), pipedrive.Unavailable).Error(); strings.Contains(text, "tried") {
		t.Errorf("what is not there was asked again: %q", text)
	}
	a.states.away = nil
	if err := get(c); err != nil {
		t.Error(err)
	}
}

// held are tokens that somebody else may change.
type held struct {
	tokens pipedrive.Tokens
	away   error
	loads  int
}

func (h *held) Load(context.Context) (pipedrive.Tokens, error) {
	h.loads++
	return h.tokens, h.away
}

func (h *held) Save(_ context.Context, t pipedrive.Tokens) error {
	h.tokens = t
	return nil
}

func TestAnAppThatSomebodyConnectsAgainIsAskedWithItsNewTokensWithinSeconds(t *testing.T) {
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	kept := &held{}
	connect := func(company string) {
		kept.tokens = pipedrive.Tokens{Access: core.Secret("of " + company), Refresh: "r", Expires: now.Add(time.Hour), APIDomain: "https://" + company + ".pipedrive.com"}
	}
	connect("acme")
	asked := ""
	c := client(t, func(r *http.Request) (*http.Response, error) {
		asked = r.URL.Host + " " + r.Header.Get("Authorization")
		return reply(200, good)
	}, once, func(o *pipedrive.Options) {
		o.BaseURL, o.Auth = "", pipedrive.OAuth(pipedrive.OAuthOptions{Keeper: kept, Now: func() time.Time { return now }})
	})
	want := func(want string) {
		t.Helper()
		if err := get(c); err != nil || asked != want {
			t.Errorf("got %q (%v), want %q", asked, err, want)
		}
	}
	for range 10 {
		want("acme.pipedrive.com Bearer of acme")
	}
	if kept.loads != 1 {
		t.Errorf("the tokens were read %d times at once", kept.loads)
	}
	connect("other")
	now = now.Add(5 * time.Second)
	want("other.pipedrive.com Bearer of other")
	kept.away = errors.New("database is locked")
	now = now.Add(5 * time.Second)
	want("other.pipedrive.com Bearer of other")
	for _, gone := range []held{{}, {tokens: kept.tokens, away: &pipedrive.Error{Reason: pipedrive.Disconnected}}} {
		kept.tokens, kept.away = gone.tokens, gone.away
		now = now.Add(5 * time.Second)
		failure(t, get(c), pipedrive.Disconnected)
		failure(t, get(c), pipedrive.Disconnected)
		connect("acme")
		kept.away = nil
		want("acme.pipedrive.com Bearer of acme")
	}
}

func TestAListIsNotReadOnFromAnotherCompany(t *testing.T) {
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	kept := &held{}
	connect := func(company, access string) {
		kept.tokens = pipedrive.Tokens{Access: core.Secret(access), Refresh: "r", Expires: now.Add(time.Hour), APIDomain: "https://" + company + ".pipedrive.com"}
	}
	var asked []string
	after := func() {}
	c := client(t, func(r *http.Request) (*http.Response, error) {
		asked = append(asked, r.URL.Hostname()+r.URL.Query().Get("cursor"))
		after()
		now = now.Add(5 * time.Second)
		if r.URL.Query().Get("cursor") == "" {
			return reply(200, `{"data":[{"id":1}],"additional_data":{"next_cursor":"2"}}`)
		}
		return reply(200, `{"data":[{"id":2}]}`)
	}, func(o *pipedrive.Options) {
		o.BaseURL, o.Auth = "", pipedrive.OAuth(pipedrive.OAuthOptions{Keeper: kept, Now: func() time.Time { return now }})
	})
	list := func(c *pipedrive.Client) (err error) {
		for _, err = range c.Pages(t.Context(), pipedrive.List{Path: "/api/v2/persons", Paging: shape.Cursor}) {
		}
		return err
	}
	want := func(want ...string) {
		t.Helper()
		if !slices.Equal(asked, want) {
			t.Errorf("asked were %q, want %q", asked, want)
		}
		asked = nil
	}
	connect("acme", "1")
	after = func() { connect("acme", "again") } // with another scope
	if err := list(c); err != nil {
		t.Error(err)
	}
	want("acme.pipedrive.com", "acme.pipedrive.com2")

	run := c.Steady()
	if err := get(run); err != nil {
		t.Fatal(err)
	}
	after = func() { connect("other", "2") }
	e := failure(t, list(c), pipedrive.Switched)
	if text := e.Error(); !strings.Contains(text, "connected with another company since this began; begin again") {
		t.Errorf("got %q", text)
	}
	want("acme.pipedrive.com", "acme.pipedrive.com")
	failure(t, list(run), pipedrive.Switched)
	failure(t, get(run), pipedrive.Switched)
	want()
	if err := list(c); err != nil {
		t.Error(err)
	}
	want("other.pipedrive.com", "other.pipedrive.com2")
}

// moving are tokens of another company each time that they are read.
type moving struct {
	held
	now time.Time
}

func (m *moving) Load(context.Context) (pipedrive.Tokens, error) {
	m.loads++
	company := fmt.Sprintf("company%d", m.loads)
	return pipedrive.Tokens{Access: core.Secret(company), Refresh: "r", Expires: m.now.Add(time.Hour), APIDomain: "https://" + company + ".pipedrive.com"}, nil
}

func TestNoCompanyIsAskedWithAnothersToken(t *testing.T) {
	kept := &moving{now: time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)}
	asked := ""
	c := client(t, func(r *http.Request) (*http.Response, error) {
		asked = r.URL.Hostname() + " " + r.Header.Get("Authorization")
		return reply(200, good)
	}, once, func(o *pipedrive.Options) {
		o.BaseURL, o.Auth = "", pipedrive.OAuth(pipedrive.OAuthOptions{Keeper: kept, Now: func() time.Time {
			kept.now = kept.now.Add(5 * time.Second) // so that each look is a new one
			return kept.now
		}})
	})
	for i := range 3 {
		if err := get(c); err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("company%d.pipedrive.com Bearer company%[1]d", kept.loads); asked != want {
			t.Errorf("request %d: got %q, want %q", i, asked, want)
		}
	}
}

// hanging are tokens whose store answers nobody, until it gives up.
type hanging struct {
	held
	hangs bool
}

func (h *hanging) Load(ctx context.Context) (pipedrive.Tokens, error) {
	if !h.hangs {
		return h.held.Load(ctx)
	}
	h.loads++
	select {
	case <-time.After(10 * time.Second):
	case <-ctx.Done():
	}
	return pipedrive.Tokens{}, errors.New("the store does not answer")
}

func TestWhileTheStoreHangsTheTokensThatAreKnownAreUsedForAsLongAsTheyAreGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kept := &hanging{held: held{tokens: pipedrive.Tokens{Access: "a", Refresh: "r", Expires: time.Now().Add(time.Hour), APIDomain: "https://acme.pipedrive.com"}}}
		c := client(t, func(*http.Request) (*http.Response, error) { return reply(200, good) }, once, func(o *pipedrive.Options) {
			o.BaseURL, o.Auth = "", pipedrive.OAuth(pipedrive.OAuthOptions{Keeper: kept, HTTP: wire(func(*http.Request) (*http.Response, error) { return reply(503, "") })})
		})
		if err := get(c); err != nil {
			t.Fatal(err)
		}
		kept.hangs, kept.loads = true, 0
		time.Sleep(5 * time.Second)
		began := time.Now()
		var all sync.WaitGroup
		for range 6 {
			all.Go(func() {
				if err := get(c); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if took := time.Since(began); took > time.Second || kept.loads != 1 {
			t.Errorf("it took %s and the store was asked %d times, want a second and once", took, kept.loads)
		}
		time.Sleep(time.Hour)
		began = time.Now()
		e := failure(t, get(c), pipedrive.Unavailable)
		if took := time.Since(began); took < 10*time.Second || !strings.Contains(e.Error(), "the store does not answer") {
			t.Errorf("tokens that have ended: %v after %s", e, took)
		}
	})
}

func FuzzAnswer(f *testing.F) {
	for _, body := range []string{good, `{"success":false,"error":{"a":["b"]}}`, `{"data":[{"id":"x"}],"additional_data":{"pagination":{"more_items_in_collection":true}}}`, "<html>", ""} {
		f.Add(200, body)
		f.Add(403, body)
	}
	f.Fuzz(func(t *testing.T, status int, body string) {
		if status < 200 || status > 599 {
			t.Skip()
		}
		n := 0
		c := client(&testing.T{}, func(*http.Request) (*http.Response, error) { return reply(status, body) }, once)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for _, err := range c.Pages(ctx, pipedrive.List{Path: "/api/v1/webhooks"}) {
			if n++; err != nil && len(err.Error()) > 2000 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
		}
		_, _ = c.Webhooks(ctx)
	})
}
