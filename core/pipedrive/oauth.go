package pipedrive

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/pipehook/pipehook/core"
)

const (
	early     = 2 * time.Minute // before its end an access token is renewed
	oauthWait = 20 * time.Second
	lookFor   = time.Second     // while those that are known are good
	lookAgain = 5 * time.Second // after so long tokens are read again: somebody may have connected the app anew, or with another company
)

// OAuthOptions are an app's, as Pipedrive's developer hub shows them.
type OAuthOptions struct {
	ClientID     string
	ClientSecret core.Secret
	RedirectURL  string
	Server       string // https://oauth.pipedrive.com when empty
	Keeper       TokenKeeper
	HTTP         http.RoundTripper // nil for one with time-outs of its own
	Now          func() time.Time

	Renewed func(ctx context.Context, err error) // told how each renewal of the access token went; may be nil
}

// OAuthAuthorizer authorizes as an app. Of many goroutines one renews the access token and the others wait for it; of
// many processes the refresh token stays the same for all, and who reads a newer access token takes it.
type OAuthAuthorizer struct {
	config  oauth2.Config
	server  string
	keeper  TokenKeeper
	http    *http.Client
	now     func() time.Time
	renewed func(context.Context, error)
	turn    chan struct{} // held by who reads or writes tokens
	tokens  Tokens
	isKnown bool
	looked  time.Time // when tokens were last read
}

// OAuth makes one and asks nothing yet.
func OAuth(o OAuthOptions) *OAuthAuthorizer {
	if o.Server == "" {
		o.Server = "https://oauth.pipedrive.com"
	}
	if o.HTTP == nil {
		o.HTTP = newTransport()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Renewed == nil {
		o.Renewed = func(context.Context, error) {}
	}
	server := strings.TrimRight(o.Server, "/")
	return &OAuthAuthorizer{
		config: oauth2.Config{
			ClientID: o.ClientID, ClientSecret: string(o.ClientSecret), RedirectURL: o.RedirectURL,
			Endpoint: oauth2.Endpoint{AuthURL: server + "/oauth/authorize", TokenURL: server + "/oauth/token", AuthStyle: oauth2.AuthStyleInHeader},
		},
		server: server, keeper: o.Keeper, now: o.Now, renewed: o.Renewed, turn: make(chan struct{}, 1),
		http: &http.Client{Transport: o.HTTP, Timeout: oauthWait, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}
}

// AuthURL is where somebody agrees that the app may use the account. State comes back with the code.
func (a *OAuthAuthorizer) AuthURL(state string) string { return a.config.AuthCodeURL(state) }

// Exchange turns the code, which is good for five minutes and once, into tokens and keeps them.
func (a *OAuthAuthorizer) Exchange(ctx context.Context, code string) (Tokens, error) {
	if err := a.lock(ctx); err != nil {
		return Tokens{}, err
	}
	defer a.unlock()
	t, err := a.config.Exchange(context.WithValue(ctx, oauth2.HTTPClient, a.http), code)
	if err != nil {
		return Tokens{}, tokenError(ctx, "exchange the code", err)
	}
	return a.keep(ctx, t)
}

// Tokens are those that are kept, zero when the app is not connected.
func (a *OAuthAuthorizer) Tokens(ctx context.Context) (Tokens, error) {
	if err := a.lock(ctx); err != nil {
		return Tokens{}, err
	}
	defer a.unlock()
	return a.load(ctx)
}

// Revoke ends the tokens at Pipedrive and forgets them. They are forgotten also when Pipedrive does not know them.
func (a *OAuthAuthorizer) Revoke(ctx context.Context) error {
	if err := a.lock(ctx); err != nil {
		return err
	}
	defer a.unlock()
	t, err := a.load(ctx)
	if err != nil && reasonOf(err) != Disconnected {
		return err
	}
	if t.Refresh != "" {
		if err := a.revoke(ctx, t); err != nil {
			return err
		}
	}
	if err := a.keeper.Save(ctx, Tokens{}); err != nil {
		return err
	}
	a.tokens, a.isKnown = Tokens{}, false
	return nil
}

func (a *OAuthAuthorizer) revoke(ctx context.Context, t Tokens) error {
	form := url.Values{"token": {string(t.Refresh)}, "token_type_hint": {"refresh_token"}}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, a.server+"/oauth/revoke", strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(url.QueryEscape(a.config.ClientID), url.QueryEscape(a.config.ClientSecret))
	response, err := a.http.Do(r)
	if err != nil {
		return tokenError(ctx, "revoke the tokens", err)
	}
	defer response.Body.Close()
	if code := response.StatusCode; code >= 300 && code != http.StatusBadRequest {
		return tokenRefusal("revoke the tokens", code)
	}
	return nil
}

// Authorize sets the access token, which is renewed first when it is about to end.
func (a *OAuthAuthorizer) Authorize(ctx context.Context, r *http.Request) error {
	t, err := a.good(ctx)
	if err != nil {
		return err
	}
	return bearer(t.Access).Authorize(ctx, r)
}

func (a *OAuthAuthorizer) good(ctx context.Context) (Tokens, error) {
	if err := a.lock(ctx); err != nil {
		return Tokens{}, err
	}
	defer a.unlock()
	return a.current(ctx, "")
}

// renew gets another access token than the one that was refused, unless somebody has it already.
func (a *OAuthAuthorizer) renew(ctx context.Context, refused *http.Request) (bool, error) {
	if err := a.lock(ctx); err != nil {
		return false, err
	}
	defer a.unlock()
	_, err := a.current(ctx, core.Secret(strings.TrimPrefix(refused.Header.Get("Authorization"), "Bearer ")))
	return err == nil, err
}

// current is a token that is good for a while and not the one refused. The turn is held.
func (a *OAuthAuthorizer) current(ctx context.Context, refused core.Secret) (Tokens, error) {
	good := func(t Tokens) bool {
		return t.Access != "" && t.Access != refused && a.now().Add(early).Before(t.Expires)
	}
	t, err := a.load(ctx)
	if err == nil && !good(t) {
		a.isKnown = false // another process may have renewed it
		t, err = a.load(ctx)
	}
	switch {
	case err != nil || good(t):
		return t, err
	case t.Refresh == "":
		return t, &Error{Reason: Disconnected}
	}
	renewed, err := a.config.TokenSource(context.WithValue(ctx, oauth2.HTTPClient, a.http), &oauth2.Token{RefreshToken: string(t.Refresh)}).Token()
	if err != nil {
		err = tokenError(ctx, "renew the access token", err)
		a.renewed(ctx, err)
		return Tokens{}, err
	}
	kept, err := a.keep(ctx, renewed)
	a.renewed(ctx, err)
	return kept, err
}

// load gives the tokens that are kept, as they were a moment ago. While they can't be read, those that are known hold.
func (a *OAuthAuthorizer) load(ctx context.Context) (Tokens, error) {
	now := a.now()
	if a.isKnown && now.Sub(a.looked) < lookAgain {
		return a.tokens, nil
	}
	if a.isKnown && now.Before(a.tokens.Expires) { // a store that hangs holds nobody up
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, lookFor)
		defer cancel()
	}
	t, err := a.keeper.Load(ctx)
	a.looked = a.now() // not before: who waited for the answer does not ask once more
	if err != nil && a.isKnown && reasonOf(err) != Disconnected {
		return a.tokens, nil
	}
	a.tokens, a.isKnown = t, err == nil && t != (Tokens{})
	return t, err
}

func (a *OAuthAuthorizer) keep(ctx context.Context, got *oauth2.Token) (Tokens, error) {
	t := Tokens{Access: core.Secret(got.AccessToken), Refresh: core.Secret(got.RefreshToken), Expires: got.Expiry, Renewed: a.now()}
	if got.Expiry.IsZero() {
		t.Expires = a.now().Add(time.Hour)
	}
	t.Scope, _ = got.Extra("scope").(string)
	if domain, _ := got.Extra("api_domain").(string); domain != "" {
		u, err := url.Parse(domain)
		if err != nil || u.Scheme != "https" && !strings.HasPrefix(a.server, "http://") {
			return Tokens{}, &Error{Op: "get tokens", Reason: Garbled, Msg: "the company's address is no https URL"}
		}
		t.APIDomain = domain
	} else {
		t.APIDomain = a.tokens.APIDomain
	}
	if err := a.keeper.Save(ctx, t); err != nil {
		return Tokens{}, err
	}
	a.tokens, a.isKnown = t, true
	return t, nil
}

func (a *OAuthAuthorizer) lock(ctx context.Context) error {
	select {
	case a.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return &Error{Reason: Canceled, Err: context.Cause(ctx)}
	}
}

func (a *OAuthAuthorizer) unlock() { <-a.turn }

// tokenError says why there are no tokens. The error of the library has the answer's body in its text and is
// not kept.
func tokenError(ctx context.Context, op string, err error) error {
	refused, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok || refused.Response == nil {
		e := lost(ctx, ctx, err)
		if _, isURL := errors.AsType[*url.Error](err); !isURL && e.Reason == Unavailable {
			e = &Error{Reason: Garbled}
		}
		e.Op = op
		return e
	}
	e := tokenRefusal(op, refused.Response.StatusCode)
	said := strings.ToLower(string(refused.Body))
	switch {
	case strings.Contains(said, "invalid_grant"), strings.Contains(said, "invalid grant"):
		e.Reason, e.Msg = Disconnected, "the code or the tokens ended or were taken back"
	case strings.Contains(said, "invalid_client"), strings.Contains(said, "invalid client"):
		e.Reason, e.Msg = Invalid, checkApp
	case strings.Contains(said, "redirect_uri"):
		e.Reason, e.Msg = Invalid, "pipedrive.oauth.redirect_url must be the one that the app is registered with"
	}
	return e
}

const checkApp = "check pipedrive.oauth.client_id and client_secret"

// tokenRefusal is what a status of the token server means. Unauthorized is about an access token, which is not asked for here
// but with: this 401 is about the app.
func tokenRefusal(op string, status int) *Error {
	e := &Error{Op: op, Status: status, Reason: reason(status, true)}
	if e.Reason == Unauthorized {
		e.Reason, e.Msg = Invalid, checkApp
	}
	return e
}
