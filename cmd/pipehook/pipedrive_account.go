package main

import (
	"cmp"
	"context"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/pipedrive"
	"github.com/pipehook/pipehook/core/store"
)

// openClient makes a client of the account that a configuration describes. states is where the tokens of an
// app are kept. before is the client of the same account that it follows, nil for none.
func openClient(conf *config.Config, states pipedrive.States, log *slog.Logger, before *pipedrive.Client) (*pipedrive.Client, error) {
	p := &conf.Pipedrive
	if !p.Connected() {
		return nil, usagef("set pipedrive.company and pipedrive.api_token, or [pipedrive.oauth] and then: pipehook pipedrive connect",
			"%s does not say how Pipedrive's API is reached", conf.Path)
	}
	auth := pipedrive.Token(p.APIToken)
	if p.APIToken == "" {
		app, err := appOf(conf, states)
		if err != nil {
			return nil, err
		}
		auth = app
	}
	return pipedrive.New(pipedrive.Options{
		BaseURL: p.Address(), Auth: auth, Log: log, UserAgent: "pipehook/" + currentVersion(), Timeout: p.Timeout, Retries: cmp.Or(p.Retries, -1),
		Budget: pipedrive.BudgetOptions{Daily: p.Budget.Daily, Burst: p.Budget.Burst}, Before: before,
	})
}

// appOf is the app of a configuration, with the tokens that states keeps.
func appOf(conf *config.Config, states pipedrive.States) (*pipedrive.OAuthAuthorizer, error) {
	o := &conf.Pipedrive.OAuth
	keeper, err := pipedrive.NewSealedKeeper(states, o.ClientSecret)
	if err != nil {
		return nil, err
	}
	return pipedrive.OAuth(pipedrive.OAuthOptions{
		ClientID: o.ClientID, ClientSecret: o.ClientSecret, RedirectURL: o.RedirectURL, Server: o.Server, Keeper: keeper,
		Renewed: func(ctx context.Context, err error) { noteRenewal(ctx, states, err) },
	}), nil
}

// besideStates are the states of a store that another process may be serving. It is opened for each question: there
// are few.
type besideStates struct{ url core.Secret }

// State is part of pipedrive.States.
func (s besideStates) State(ctx context.Context, name string) (value []byte, err error) {
	err = s.with(ctx, func(m *store.Manager) (err error) { value, err = m.State(ctx, name); return err })
	return value, err
}

// SetState is part of pipedrive.States.
func (s besideStates) SetState(ctx context.Context, name string, value []byte) error {
	return s.with(ctx, func(m *store.Manager) error { return m.SetState(ctx, name, value) })
}

func (s besideStates) with(ctx context.Context, use func(*store.Manager) error) (err error) {
	m, err := store.OpenManager(ctx, string(s.url))
	if err != nil {
		return err
	}
	defer func() { err = joinClose(err, m.Close) }()
	return use(m)
}

// commandClient is the client of a command, which may run beside a process that serves. All that it asks is of one company.
func commandClient(conf *config.Config) (*pipedrive.Client, error) {
	client, err := openClient(conf, besideStates{core.Secret(storeURL(conf))}, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		return nil, err
	}
	return client.Steady(), nil
}

// accountClient is the one client of a process that serves, so that all who ask share its budget. It is made
// anew when a reload says something else of the account.
type accountClient struct {
	states pipedrive.States
	log    *slog.Logger

	mu     sync.Mutex
	conf   *config.Config // that holds
	terms  accountTerms
	client *pipedrive.Client
	me     *pipedrive.Me // of a token; nil until it was asked
}

type accountTerms struct {
	address string
	token   core.Secret
	app     config.PipedriveOAuth
	budget  config.PipedriveBudget
	timeout time.Duration
	retries int
}

// use takes the configuration that holds from now on.
func (a *accountClient) use(conf *config.Config) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.conf = conf
}

// get is the client, nil where no account is connected.
func (a *accountClient) get() (*pipedrive.Client, error) {
	if a == nil {
		return nil, nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.conf == nil || !a.conf.Pipedrive.Connected() {
		return nil, nil
	}
	return a.locked(a.conf)
}

// of is the client for a configuration.
func (a *accountClient) of(conf *config.Config) (*pipedrive.Client, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.locked(conf)
}

func (a *accountClient) locked(conf *config.Config) (*pipedrive.Client, error) {
	p := &conf.Pipedrive
	terms := accountTerms{p.Address(), p.APIToken, p.OAuth, p.Budget, p.Timeout, p.Retries}
	if a.client != nil && a.terms == terms {
		return a.client, nil
	}
	var before *pipedrive.Client // whose budget goes on
	if a.terms.address == terms.address && a.terms.token == terms.token && a.terms.app == terms.app {
		before = a.client
	}
	client, err := openClient(conf, a.states, a.log, before)
	if err != nil {
		return nil, err
	}
	a.terms, a.client, a.me = terms, client, nil
	return client, nil
}

// openFields is the account whose definitions are asked for.
func (a *app) openFields(conf *config.Config) (fieldsAPI, error) { return a.account.of(conf) }

// whose is the client, and the user and company that it speaks for. Of a token they are asked once; an app may have been
// connected with another company since. What is asked with the client is of the one that it speaks for, or fails.
func (a *accountClient) whose(ctx context.Context, conf *config.Config) (*pipedrive.Client, pipedrive.Me, error) {
	client, err := a.of(conf)
	if err != nil {
		return nil, pipedrive.Me{}, err
	}
	if me := a.known(client, nil); me != nil && conf.Pipedrive.APIToken != "" {
		return client, *me, nil
	}
	run := client.Steady()
	me, err := run.Me(ctx) // others use the client meanwhile
	if err != nil {
		return nil, pipedrive.Me{}, err
	}
	a.known(client, &me)
	return run, me, nil
}

// known is what is known of whom a client speaks for, once somebody has found it.
func (a *accountClient) known(client *pipedrive.Client, found *pipedrive.Me) *pipedrive.Me {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.client != client {
		return nil
	}
	if found != nil {
		a.me = found
	}
	return a.me
}

// companyOf is a company as its webhooks name it.
func companyOf(me pipedrive.Me) (id, host string) {
	return strconv.FormatInt(me.CompanyID, 10), me.CompanyDomain + ".pipedrive.com"
}
