package main

import (
	"context"
	"encoding/json"
	"time"

	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/pipedrive"
)

// renewalName is the state that says why an app's access token was not renewed, as long as it is not.
const renewalName = "pipedrive.renewal"

// renewal is a renewal that failed.
type renewal struct {
	At  time.Time `json:"at"`
	Err string    `json:"error"`
}

// namedApp is the app that the configuration names; nil when it names none.
func namedApp(conf *config.Config, states pipedrive.States) *pipedrive.OAuthAuthorizer {
	if conf.Pipedrive.OAuth.ClientID == "" {
		return nil
	}
	app, err := appOf(conf, states)
	if err != nil {
		return nil // without a secret, which is a mistake in the configuration
	}
	return app
}

// noteRenewal keeps why a renewal failed, for who asks how the connection is. It is no great loss when it can't.
func noteRenewal(ctx context.Context, states pipedrive.States, err error) {
	var text []byte
	if err != nil {
		text, _ = json.Marshal(renewal{time.Now().UTC(), err.Error()})
	}
	_ = states.SetState(ctx, renewalName, text)
}
