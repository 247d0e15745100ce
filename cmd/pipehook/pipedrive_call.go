package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/pipehook/pipehook/core/effect"
	"github.com/pipehook/pipehook/core/pipedrive"
)

// callAPI makes a call of a script or a plugin. Its errors are for them to see.
func callAPI(ctx context.Context, client *pipedrive.Client, c *effect.APICall) (*effect.APIAnswer, error) {
	request := pipedrive.Request{Method: c.Method, Path: c.Path, Query: c.Query}
	if c.Body != nil {
		request.Body = json.RawMessage(c.Body)
	}
	r, err := client.Do(ctx, request)
	if err != nil {
		return nil, apiError(err)
	}
	if len(r.Data) > maxAPIAnswer {
		return nil, &effect.Error{Code: "ETOOLARGE", Msg: "the answer has more than 8 MiB: ask for smaller pages, with limit in the query", Status: r.Status}
	}
	return &effect.APIAnswer{Status: r.Status, Data: r.Data, Next: nextPage(r)}, nil
}

// maxAPIAnswer bounds what goes on to a script's or a plugin's process.
const maxAPIAnswer = 8 << 20

// nextPage is where a list goes on, by either version's additional_data. Version 1 may say that there is more without saying
// where: behind what came.
func nextPage(r *pipedrive.Response) string {
	var a struct {
		NextCursor string `json:"next_cursor"`
		Pagination struct {
			Start int         `json:"start"`
			More  bool        `json:"more_items_in_collection"`
			Next  json.Number `json:"next_start"`
		} `json:"pagination"`
	}
	if len(r.Additional) == 0 || json.Unmarshal(r.Additional, &a) != nil {
		return ""
	}
	if !a.Pagination.More || a.NextCursor != "" {
		return a.NextCursor
	}
	if a.Pagination.Next != "" {
		return a.Pagination.Next.String()
	}
	var came []json.RawMessage
	if json.Unmarshal(r.Data, &came) != nil || len(came) == 0 {
		return "" // the same page would come again
	}
	return strconv.Itoa(a.Pagination.Start + len(came))
}

// apiError is what a script or a plugin may know of an error of the API: all of it, since its words hold
// nothing that is secret.
func apiError(err error) *effect.Error {
	if own, ok := errors.AsType[*effect.Error](err); ok { // of the transport in a test
		return own
	}
	e, ok := errors.AsType[*pipedrive.Error](err)
	if !ok {
		return &effect.Error{Code: "EUNAVAILABLE", Msg: "Pipedrive can't be asked now"}
	}
	return &effect.Error{
		Code: apiCode(e.Reason), Msg: strings.TrimPrefix(e.Error(), "pipedrive: "), Status: e.Status, RetryAfter: e.RetryAfter, Unsure: e.Unsure,
		NotDone: !e.Unsure && (e.Status == 0 || e.Path == ""), // without a path it is about getting the tokens
	}
}

func apiCode(r pipedrive.Reason) string {
	switch r {
	case pipedrive.Unauthorized, pipedrive.Disconnected:
		return "EUNAUTHORIZED"
	case pipedrive.Forbidden, pipedrive.Closed, pipedrive.FeatureOff:
		return "EFORBIDDEN"
	case pipedrive.NotFound, pipedrive.Gone:
		return "ENOTFOUND"
	case pipedrive.Invalid, pipedrive.Limit:
		return "EINVALID"
	case pipedrive.RateLimited, pipedrive.Blocked:
		return "ERATELIMIT"
	case pipedrive.DailySpent:
		return "EDAILYSPENT"
	case pipedrive.TooLarge:
		return "ETOOLARGE"
	case pipedrive.Canceled:
		return "ETIMEDOUT"
	default:
		return "EUNAVAILABLE"
	}
}

// notConnected is what a script or a plugin is told where no account is configured.
func notConnected() *effect.Error {
	return &effect.Error{Code: "ENOTCONNECTED", Msg: "pipehook is not connected with Pipedrive: set company and api_token under [pipedrive] in the configuration"}
}

// madeUpAddress is where the account is taken to be in tests and trials whose configuration names none.
const madeUpAddress = "https://company.pipedrive.com"

// trialAPI makes a call over another transport, once. A client for each keeps nothing from one to the next.
func trialAPI(address string) func(context.Context, http.RoundTripper, *effect.APICall) (*effect.APIAnswer, error) {
	if address == "" {
		address = madeUpAddress
	}
	return func(ctx context.Context, over http.RoundTripper, c *effect.APICall) (*effect.APIAnswer, error) {
		client, err := pipedrive.New(pipedrive.Options{BaseURL: address, Auth: trialAuth{}, HTTP: over, Retries: -1})
		if err != nil {
			return nil, err
		}
		return callAPI(ctx, client, c)
	}
}

// trialAuth asks without credentials: nothing is sent.
type trialAuth struct{}

func (trialAuth) Authorize(context.Context, *http.Request) error { return nil }

// accountAddress is where the account is that the configuration names, empty without one. Mistakes elsewhere
// in it don't matter here.
func (c *cli) accountAddress() string {
	conf, _, _ := c.loadOrExample()
	if conf == nil {
		return ""
	}
	return conf.Pipedrive.Address()
}
