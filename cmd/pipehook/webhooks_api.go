package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/pipedrive"
	"github.com/pipehook/pipehook/core/pipedrive/hooks"
)

// pipedriveAccount is an account of which the client is asked.
type pipedriveAccount struct{ client *pipedrive.Client }

// connectAccount makes the client that the configuration describes.
func connectAccount(conf *config.Config) (account, error) {
	client, err := commandClient(conf)
	if err != nil {
		return nil, err
	}
	return &pipedriveAccount{client}, nil
}

func (a *pipedriveAccount) webhooks(ctx context.Context) ([]hooks.Webhook, error) {
	has, err := a.client.Webhooks(ctx)
	if err != nil {
		return nil, explainAPI(err)
	}
	all := make([]hooks.Webhook, len(has))
	for i := range has {
		all[i] = hookOf(&has[i])
	}
	return all, nil
}

func hookOf(w *pipedrive.Webhook) hooks.Webhook {
	return hooks.Webhook{
		ID: w.ID, User: w.UserID, Owner: w.OwnerID, Name: w.Name, Event: hooks.FromWire(w.Action, w.Object), URL: w.URL, Version: w.Version,
		Active: w.Active, AuthUser: w.AuthUser, Type: w.Type, LastStatus: w.LastStatus, LastDelivery: w.LastDelivery, RemovedReason: w.RemoveReason,
	}
}

func (a *pipedriveAccount) create(ctx context.Context, w hooks.Wanted, password core.Secret) (hooks.Webhook, error) {
	action, object := w.Event.Wire(w.Version)
	made, err := a.client.CreateWebhook(ctx, pipedrive.NewWebhook{
		Name: w.Name, Action: action, Object: object, URL: w.URL, Version: w.Version, UserID: w.User, AuthUser: w.AuthUser, AuthPassword: password,
	})
	return hookOf(&made), explainAPI(err)
}

func (a *pipedriveAccount) remove(ctx context.Context, id int64) error {
	return explainAPI(a.client.DeleteWebhook(ctx, id))
}

// explainAPI adds to an error of Pipedrive's what to type next.
func explainAPI(err error) error {
	e, ok := errors.AsType[*pipedrive.Error](err)
	if !ok {
		return err
	}
	switch e.Reason {
	case pipedrive.Forbidden:
		return &hinted{err, "webhooks need the token of an admin, or an app with the scope admin; then: pipehook webhooks list"}
	case pipedrive.NotFound:
		return &hinted{err, "pipehook webhooks list shows which there are"}
	case pipedrive.Limit:
		return &hinted{err, fmt.Sprintf("a user can have %d webhooks: pipehook webhooks list, then pipehook webhooks delete --id ID; one for *.* does for all", hooks.Limit)}
	case pipedrive.Invalid:
		return &hinted{err, refusedHint(e.Keys)}
	case pipedrive.Unavailable, pipedrive.Garbled:
		if e.Method == http.MethodPost {
			return &hinted{err, "pipehook webhooks list shows whether it was made"}
		}
	}
	return typeAgain(err, "pipehook webhooks list")
}

// refusedHint is what to do about a webhook that is not accepted because of these parts.
func refusedHint(keys []string) string {
	for _, key := range keys {
		switch key {
		case "event_object", "event_action":
			return "choose another event, or another version"
		case "name":
			return "choose another name"
		case "subscription_url":
			return "Pipedrive may not reach the address: pipehook webhooks test"
		}
	}
	return "pipehook webhooks list"
}

// typeAgain adds to an error of Pipedrive's what to type next, which is the command that failed.
func typeAgain(err error, command string) error {
	if e, ok := errors.AsType[*pipedrive.Error](err); ok && hintOf(err) == "" {
		return &hinted{err, nextOf(e, command)}
	}
	return err
}

func nextOf(e *pipedrive.Error, command string) string {
	switch e.Reason {
	case pipedrive.Unauthorized:
		return "set pipedrive.api_token to the one that Pipedrive shows under Personal preferences > API (of an app: pipehook pipedrive connect), then: " + command
	case pipedrive.Disconnected:
		return "pipehook pipedrive connect, then: " + command
	case pipedrive.Forbidden:
		return "use the token of an admin, or give the app the scope that it lacks; then: " + command
	case pipedrive.RateLimited, pipedrive.DailySpent, pipedrive.Blocked, pipedrive.Unavailable, pipedrive.Open:
		if e.RetryAfter > 0 {
			return fmt.Sprintf("in %s: %s", max(time.Second, e.RetryAfter.Round(time.Second)), command)
		}
		return "after a while: " + command
	}
	return command
}
