package main

import (
	"context"
	"encoding/json"
	"time"

	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/pipedrive"
	"github.com/pipehook/pipehook/core/store"
)

// renewalName is the state that says why an app's access token was not renewed, as long as it is not.
const renewalName = "pipedrive.renewal"

// renewal is a renewal that failed.
type renewal struct {
	At  time.Time `json:"at"`
	Err string    `json:"error"`
}

// appOf authorizes as the app that the configuration names; nil when it names none.
func appOf(conf *config.Config, states pipedrive.States) *pipedrive.OAuthAuthorizer {
	app := &conf.Pipedrive.OAuth
	if app.ClientID == "" || states == nil {
		return nil
	}
	keeper, err := pipedrive.NewSealedKeeper(states, app.ClientSecret)
	if err != nil {
		return nil // without a secret, which the configuration asks for
	}
	return pipedrive.OAuth(pipedrive.OAuthOptions{
		ClientID: app.ClientID, ClientSecret: app.ClientSecret, RedirectURL: app.RedirectURL, Server: app.Server, Keeper: keeper,
		Renewed: func(ctx context.Context, err error) { noteRenewal(ctx, states, err) },
	})
}

// noteRenewal keeps why a renewal failed, for who asks how the connection is. It is no great loss when it can't.
func noteRenewal(ctx context.Context, states pipedrive.States, err error) {
	var text []byte
	if err != nil {
		text, _ = json.Marshal(renewal{time.Now().UTC(), err.Error()})
	}
	_ = states.SetState(ctx, renewalName, text)
}

// notReached is the error of a configuration that does not say how the API is reached; nil when it does.
func notReached(conf *config.Config) error {
	p := &conf.Pipedrive
	if p.OAuth.ClientID != "" || p.APIToken != "" && p.Address() != "" {
		return nil
	}
	return usagef("set pipedrive.company and pipedrive.api_token, or pipedrive.oauth and then: pipehook pipedrive connect",
		"%s does not say how Pipedrive's API is reached", conf.Path)
}

// besideStates are the states of a store that others may serve meanwhile. It is opened for each.
type besideStates struct{ url string }

func (s besideStates) State(ctx context.Context, name string) (value []byte, err error) {
	err = s.with(ctx, func(m *store.Manager) error {
		value, err = m.State(ctx, name)
		return err
	})
	return value, err
}

func (s besideStates) SetState(ctx context.Context, name string, value []byte) error {
	return s.with(ctx, func(m *store.Manager) error { return m.SetState(ctx, name, value) })
}

func (s besideStates) with(ctx context.Context, use func(*store.Manager) error) (err error) {
	m, err := store.OpenManager(ctx, s.url)
	if err != nil {
		return err
	}
	defer func() { err = joinClose(err, m.Close) }()
	return use(m)
}
