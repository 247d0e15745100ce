package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/pipedrive"
)

// A script that asks Pipedrive does not wait for an answer to somebody else's question.
func TestTheClientIsThereWhileItIsAskedWhoseItIs(t *testing.T) {
	asked, answer := make(chan struct{}, 10), make(chan struct{})
	account := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked <- struct{}{}
		<-answer
		_, _ = w.Write([]byte(`{"success":true,"data":{"id":1,"company_id":7,"company_domain":"acme"}}`))
	}))
	defer account.Close()
	conf := &config.Config{}
	conf.Pipedrive.BaseURL, conf.Pipedrive.APIToken, conf.Pipedrive.Budget.Burst = account.URL, "token", 20
	a := &accountClient{log: slog.New(slog.DiscardHandler)}
	a.use(conf)
	found := make(chan pipedrive.Me, 1)
	go func() { // waited for
		defer close(found)
		_, me, err := a.whose(t.Context(), conf)
		if err != nil {
			t.Error(err)
		}
		found <- me
	}()
	<-asked
	got := make(chan error, 1)
	go func() { // it ends when the answer is there at the latest
		_, err := a.get()
		got <- err
	}()
	select {
	case err := <-got:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("it waits for the answer")
	}
	close(answer)
	if me := <-found; me.CompanyID != 7 {
		t.Errorf("got %+v", me)
	}
	if _, me, err := a.whose(t.Context(), conf); err != nil || me.CompanyID != 7 || len(asked) != 0 {
		t.Errorf("asked again: %+v, %v, %d more", me, err, len(asked))
	}
}

// keptStates are states in memory.
type keptStates map[string][]byte

func (s keptStates) State(_ context.Context, name string) ([]byte, error) { return s[name], nil }

func (s keptStates) SetState(_ context.Context, name string, value []byte) error {
	s[name] = value
	return nil
}

// Somebody may type pipehook pipedrive connect while this process serves, and agree as another company.
func TestAnAppThatIsConnectedWithAnotherCompanyIsAskedAgain(t *testing.T) {
	company := "7"
	account := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"success":true,"data":{"id":1,"company_id":` + company + `,"company_domain":"acme"}}`))
	}))
	defer account.Close()
	conf := &config.Config{}
	p := &conf.Pipedrive
	p.BaseURL, p.Budget.Burst = account.URL, 20
	p.OAuth.ClientID, p.OAuth.ClientSecret = "app", "secret"
	states := keptStates{}
	keeper, err := pipedrive.NewSealedKeeper(states, p.OAuth.ClientSecret)
	if err != nil {
		t.Fatal(err)
	}
	if err := keeper.Save(t.Context(), pipedrive.Tokens{Access: "access", Refresh: "refresh", Expires: time.Now().Add(time.Hour), APIDomain: account.URL}); err != nil {
		t.Fatal(err)
	}
	a := &accountClient{states: states, log: slog.New(slog.DiscardHandler)}
	for _, company = range []string{"7", "8"} {
		_, me, err := a.whose(t.Context(), conf)
		if id, _ := companyOf(me); err != nil || id != company {
			t.Errorf("it is %+v (%v), want the company %s", me, err, company)
		}
	}
}

// What a comparison reads after that would be taken for changes of the first company's records.
func TestARunThatBeganWithOneCompanyDoesNotGoOnWithAnother(t *testing.T) {
	var accepted atomic.Value // the only token that is accepted: another is read from where it is kept then
	company := func(id string) *httptest.Server {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "Bearer "+accepted.Load().(string) {
				w.WriteHeader(http.StatusUnauthorized)
			}
			_, _ = w.Write([]byte(`{"success":true,"data":{"id":1,"company_id":` + id + `,"company_domain":"acme"}}`))
		}))
		t.Cleanup(s.Close)
		return s
	}
	conf := &config.Config{}
	p := &conf.Pipedrive
	p.Budget.Burst, p.OAuth.ClientID, p.OAuth.ClientSecret = 20, "app", "secret"
	states := keptStates{}
	keeper, err := pipedrive.NewSealedKeeper(states, p.OAuth.ClientSecret)
	if err != nil {
		t.Fatal(err)
	}
	connect := func(token string, with *httptest.Server) {
		t.Helper()
		accepted.Store(token)
		if err := keeper.Save(t.Context(), pipedrive.Tokens{Access: core.Secret(token), Refresh: "refresh", Expires: time.Now().Add(time.Hour), APIDomain: with.URL}); err != nil {
			t.Fatal(err)
		}
	}
	acme, other := company("7"), company("8")
	connect("first", acme)
	a := &accountClient{states: states, log: slog.New(slog.DiscardHandler)}
	run, me, err := a.whose(t.Context(), conf)
	if err != nil || me.CompanyID != 7 {
		t.Fatalf("it is %+v (%v)", me, err)
	}
	connect("second", acme)
	if _, err := run.Me(t.Context()); err != nil {
		t.Errorf("connected again with the same: %v", err)
	}
	connect("third", other)
	for range 2 {
		_, err := run.Me(t.Context())
		if e, ok := errors.AsType[*pipedrive.Error](err); !ok || e.Reason != pipedrive.Switched {
			t.Errorf("got %v, want the reason %s", err, pipedrive.Switched)
		}
	}
	if _, me, err := a.whose(t.Context(), conf); err != nil || me.CompanyID != 8 {
		t.Errorf("the next run is of %+v (%v)", me, err)
	}
}
