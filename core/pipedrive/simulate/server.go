package simulate

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/pipehook/pipehook/core"
)

// Options are how a stand-in behaves. Everything may be left out but a Token or a ClientID.
type Options struct {
	Token        core.Secret // the API token of the account's first user
	ClientID     string      // of an app that asks for tokens by OAuth
	ClientSecret core.Secret
	TokenLife    time.Duration // of an OAuth access token; an hour when 0
	Company      string        // the name before .pipedrive.com; company when empty
	CompanyID    int64

	Now          func() time.Time
	Scale        float64 // how much faster retries, bans and deletion come; 60 makes a minute a second, 0 is 1
	Latency      time.Duration
	Burst        int   // requests in two seconds, for each token; 0 for no limit
	Daily        int64 // tokens in a day; 0 for no limit
	Log          *slog.Logger
	Seed         int64
	WebhookCheck bool // a webhook's address is asked when the webhook is made
}

// Server is a stand-in for one account of Pipedrive's.
type Server struct {
	o      Options
	crm    *CRM
	faults *Faults
	limits *limits
	oauth  *oauth
	hooks  *hooks
}

// New makes an account with users, pipelines, stages and a board, and custom fields of every type.
func New(o Options) *Server {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Scale <= 0 {
		o.Scale = 1
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Company == "" {
		o.Company = "company"
	}
	if o.CompanyID == 0 {
		o.CompanyID = 8087566
	}
	if o.TokenLife == 0 {
		o.TokenLife = time.Hour
	}
	s := &Server{
		o: o, crm: newCRM(o.Now, o.Scale, o.Seed), faults: newFaults(o.Seed),
		limits: newLimits(o.Burst, o.Daily, o.Scale, o.Now), oauth: newOAuth(o),
	}
	s.hooks = newHooks(hookOptions{
		Account: Account{CompanyID: o.CompanyID, Host: o.Company + ".pipedrive.com", Fields: s.crm.Fields, Users: s.crm.userIDs, Lookup: s.crm.lookup},
		Now:     o.Now, Scale: o.Scale, Check: o.WebhookCheck, Seed: o.Seed, Log: o.Log, Caller: s.caller, Faults: s.faults.Hooks,
	})
	s.crm.OnChange(s.hooks.changed)
	s.crm.OnChange(func(ch Change) {
		o.Log.Info("change", "action", ch.Action, "object", ch.Object, "id", ch.ID, "user", ch.UserID, "source", ch.Source)
	})
	return s
}

// CRM is the account's records.
func (s *Server) CRM() *CRM { return s.crm }

// Faults is what goes wrong on demand.
func (s *Server) Faults() *Faults { return s.faults }

// Run delivers webhooks until ctx is done.
func (s *Server) Run(ctx context.Context) error { return s.hooks.run(ctx) }

// Settle waits until every webhook that was due is delivered, failed for good or lost. Run must be running.
func (s *Server) Settle(ctx context.Context) error { return s.hooks.Settle(ctx) }

// HookStats say what became of each webhook's events, by the number of the webhook.
func (s *Server) HookStats() map[int64]HookStats { return s.hooks.Stats() }

// caller is who asks for webhooks; serveAPI has looked at the token.
func (s *Server) caller(r *http.Request) Caller {
	by, _ := s.authenticate(r)
	if by.oauth {
		return Caller{UserID: by.userID, App: s.o.ClientID}
	}
	return Caller{UserID: by.userID}
}

// ServeHTTP answers as Pipedrive's API, OAuth server and, below /simulate, as the switchboard.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	started := time.Now()
	told := &statusWriter{ResponseWriter: w}
	switch {
	case strings.HasPrefix(r.URL.Path, "/simulate/"):
		s.serveControl(told, r)
	case strings.HasPrefix(r.URL.Path, "/oauth/"):
		s.serveOAuth(told, r)
	default:
		s.serveAPI(told, r)
	}
	params := r.URL.Query()
	params.Del("api_token") // the former way, which some still try
	s.o.Log.Debug("request", "method", r.Method, "path", r.URL.Path, "query", params.Encode(), "status", told.status, "took", time.Since(started).Round(time.Microsecond).String())
}

// statusWriter remembers the status for the log.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(text []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(text)
}

// Unwrap is for http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// who is behind a request's credentials.
type who struct {
	userID int64
	token  string // what the rate limit is counted by
	oauth  bool
}

// authenticate finds out who asks.
func (s *Server) authenticate(r *http.Request) (who, bool) {
	if token := r.Header.Get("X-Api-Token"); token != "" && s.o.Token != "" {
		ok := subtle.ConstantTimeCompare([]byte(token), []byte(string(s.o.Token))) == 1
		return who{1001, token, false}, ok
	}
	if token, is := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); is {
		return who{1001, token, true}, s.oauth.knows(token)
	}
	return who{}, false
}

// reply is an answer of the API.
type reply struct {
	status int
	body   any
	text   []byte // in place of body
	html   bool
	header map[string]string
	serve  http.Handler // answers itself
}

func ok(data any) *reply {
	return &reply{status: http.StatusOK, body: map[string]any{"success": true, "data": data}}
}

// failed is an error as the API's version 1 and 2 say it.
func failed(status int, msg, info string) *reply {
	return &reply{status: status, body: map[string]any{
		"success": false, "error": msg, "error_info": info, "data": nil, "additional_data": nil,
	}}
}

// unauthorized is what the gateway says to a wrong token.
func unauthorized() *reply {
	return &reply{status: http.StatusUnauthorized, header: map[string]string{"X-401-By-Gw": "true"}, body: map[string]any{
		"success": false, "error": "unauthorized access", "errorCode": http.StatusUnauthorized,
		"error_info": "Please check developers.pipedrive.com",
	}}
}

// blocked is the page that stands before the API when somebody goes on after many answers of 429.
func blocked() *reply {
	return &reply{status: http.StatusForbidden, html: true, text: []byte("<!DOCTYPE html>\n<html><head><title>Access denied</title></head>" +
		"<body><h1>Error 1020</h1><p>You have been blocked.</p></body></html>\n")}
}

func (s *Server) send(w http.ResponseWriter, a *reply) {
	text := a.text
	if text == nil && a.body != nil {
		text, _ = json.Marshal(a.body)
	}
	for name, value := range a.header {
		w.Header().Set(name, value)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	if a.html {
		w.Header().Set("Content-Type", "text/html; charset=UTF-8")
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(text)
}
