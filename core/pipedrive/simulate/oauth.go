package simulate

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// codeLife is how long an authorization code lives.
const codeLife = 5 * time.Minute

// oauth gives out tokens.
type oauth struct {
	o Options

	mu      sync.Mutex
	codes   map[string]time.Time // until when
	access  map[string]time.Time
	refresh map[string]bool
}

func newOAuth(o Options) *oauth {
	return &oauth{o: o, codes: map[string]time.Time{}, access: map[string]time.Time{}, refresh: map[string]bool{}}
}

func (a *oauth) knows(token string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	until, there := a.access[token]
	return there && a.o.Now().Before(until)
}

// serveOAuth is the OAuth server. It asks nobody whether the app may.
func (s *Server) serveOAuth(w http.ResponseWriter, r *http.Request) {
	switch {
	case s.o.ClientID == "":
		s.send(w, failed(http.StatusNotFound, "there is no app: the stand-in has no client id", ""))
	case r.URL.Path == "/oauth/authorize" && r.Method == http.MethodGet:
		s.authorize(w, r)
	case r.URL.Path == "/oauth/token" && r.Method == http.MethodPost:
		s.giveToken(w, r)
	case r.URL.Path == "/oauth/revoke" && r.Method == http.MethodPost:
		s.revoke(w, r)
	default:
		s.send(w, failed(http.StatusNotFound, "Unknown method .", ""))
	}
}

func (s *Server) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	back, err := url.Parse(q.Get("redirect_uri"))
	if err != nil || back.Host == "" || q.Get("client_id") != s.o.ClientID {
		s.send(w, oauthError(http.StatusBadRequest, "invalid_request", "client_id and redirect_uri must be those of the app"))
		return
	}
	code := rand.Text()
	s.oauth.mu.Lock()
	s.oauth.codes[code] = s.o.Now().Add(codeLife)
	s.oauth.mu.Unlock()
	params := back.Query()
	params.Set("code", code)
	if state := q.Get("state"); state != "" {
		params.Set("state", state)
	}
	back.RawQuery = params.Encode()
	http.Redirect(w, r, back.String(), http.StatusFound)
}

func oauthError(status int, code, msg string) *reply {
	return &reply{status: status, body: map[string]any{"success": false, "message": msg, "error": code}}
}

// isApp checks the app's own credentials.
func (s *Server) isApp(r *http.Request) bool {
	id, secret, has := r.BasicAuth()
	if !has {
		id, secret = r.PostFormValue("client_id"), r.PostFormValue("client_secret")
	}
	return id == s.o.ClientID && secret == string(s.o.ClientSecret)
}

func (s *Server) giveToken(w http.ResponseWriter, r *http.Request) {
	if !s.isApp(r) {
		s.send(w, oauthError(http.StatusUnauthorized, "invalid_client", "Invalid client: client is invalid"))
		return
	}
	refresh, good := s.oauth.grant(r.PostFormValue("grant_type"), r.PostFormValue("code"), r.PostFormValue("refresh_token"))
	if !good {
		s.send(w, oauthError(http.StatusBadRequest, "invalid_grant", "Invalid grant: refresh token is invalid"))
		return
	}
	access := "v1u:" + strings.Repeat(rand.Text(), 10) // tokens are long
	s.oauth.mu.Lock()
	s.oauth.access[access] = s.o.Now().Add(s.o.TokenLife)
	s.oauth.mu.Unlock()
	scheme := "http://"
	if r.TLS != nil {
		scheme = "https://"
	}
	text, _ := json.Marshal(map[string]any{
		"access_token": access, "token_type": "Bearer", "refresh_token": refresh, "scope": "base,admin",
		"expires_in": int(s.o.TokenLife / time.Second), "api_domain": scheme + r.Host,
	})
	s.send(w, &reply{status: http.StatusOK, text: text})
}

// grant is the refresh token that a code or a refresh token is good for.
func (a *oauth) grant(kind, code, refresh string) (string, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch kind {
	case "authorization_code":
		until, there := a.codes[code]
		delete(a.codes, code)
		if !there || a.o.Now().After(until) {
			return "", false
		}
		refresh = strings.ToLower(rand.Text())
		a.refresh[refresh] = true
		return refresh, true
	case "refresh_token":
		return refresh, a.refresh[refresh]
	}
	return "", false
}

// revoke ends a refresh token and with it all access, or one access token.
func (s *Server) revoke(w http.ResponseWriter, r *http.Request) {
	if !s.isApp(r) {
		s.send(w, oauthError(http.StatusUnauthorized, "invalid_client", "Invalid client: client is invalid"))
		return
	}
	token := r.PostFormValue("token")
	s.oauth.mu.Lock()
	defer s.oauth.mu.Unlock()
	if s.oauth.refresh[token] {
		clear(s.oauth.access)
	}
	delete(s.oauth.refresh, token)
	delete(s.oauth.access, token)
	s.send(w, &reply{status: http.StatusOK, body: map[string]any{"success": true}})
}
