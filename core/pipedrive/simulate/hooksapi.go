package simulate

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/pipehook/pipehook/core"
)

// Caller is who asks the API.
type Caller struct {
	UserID int64
	App    string // the client id of an OAuth app; empty for an API token
}

// Subscription is a webhook as the API knows it.
type Subscription struct {
	ID, CompanyID, OwnerID, UserID int64
	Action, Object, URL, Name      string
	Version                        string // 1.0 or 2.0
	Type                           string // general, or application for one that an OAuth app made
	AuthUser                       string
	AuthPassword                   core.Secret
	AddTime                        string
	RemoveTime, RemoveReason       string // empty while it is there
	LastDelivery                   string // of any attempt, which is a guess
	LastStatus                     int    // 0 for none, or for no answer in time

	app string
}

const (
	version1    = "1.0"
	version2    = "2.0"
	maxWebhooks = 40 // of a user; of an app and a user
	maxName     = 255
)

// hookVersion is what a subscription of a version may ask for.
type hookVersion struct{ actions, objects []string }

var hookVersions = map[string]hookVersion{
	version1: {
		strings.Fields("added updated deleted merged *"),
		strings.Fields("activity activityType deal note organization person pipeline product stage user *"),
	},
	version2: {
		strings.Fields("create change delete *"),
		strings.Fields("activity deal lead note organization person pipeline product stage user project task board " +
			"phase deal_installment deal_product *"),
	},
}

// wants reports whether the webhook is about such changes. Version 1 knows fewer objects.
func (w *Subscription) wants(ch Change) bool {
	action := ch.Action
	if w.Version == version1 {
		action = actionV1(ch)
	}
	return (w.Action == "*" || w.Action == action) && (w.Object == "*" || w.Object == ch.Object) &&
		slices.Contains(hookVersions[w.Version].objects, ch.Object)
}

// ServeHTTP is /v1/webhooks, for somebody who has already shown a token.
func (h *hooks) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, id, _ := strings.Cut(strings.TrimSuffix(r.URL.Path, "/"), "webhooks")
	id = strings.TrimPrefix(id, "/")
	switch {
	case r.Method == http.MethodGet && id == "":
		h.serveList(w, h.o.Caller(r))
	case r.Method == http.MethodPost && id == "":
		h.serveCreate(w, r, h.o.Caller(r))
	case r.Method == http.MethodDelete && id != "":
		h.serveDelete(w, id, h.o.Caller(r))
	default:
		answer(w, http.StatusMethodNotAllowed, object{{"success", false}, {"error", "Method not allowed"}})
	}
}

func answer(w http.ResponseWriter, status int, body object) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(appendJSON(nil, body)) // whoever has gone wants no answer
}

func refuse(w http.ResponseWriter, status int, errors object) {
	answer(w, status, object{{"status", "error"}, {"success", false}, {"errors", errors}})
}

func (h *hooks) serveList(w http.ResponseWriter, by Caller) {
	h.mu.Lock()
	all := []any{}
	for _, s := range h.list {
		if !s.gone && (by.App == "" || by.App == s.app) { // an app sees its own
			all = append(all, s.view())
		}
	}
	h.mu.Unlock()
	answer(w, http.StatusOK, object{{"status", "ok"}, {"success", true}, {"data", all}})
}

func (h *hooks) serveDelete(w http.ResponseWriter, id string, by Caller) {
	number, _ := strconv.ParseInt(id, 10, 64)
	h.mu.Lock()
	i := slices.IndexFunc(h.list, func(s *hook) bool { return s.ID == number && !s.gone })
	allowed := i >= 0 && h.list[i].app == by.App
	if allowed {
		h.list[i].gone = true
		h.forget(h.list[i])
	}
	h.mu.Unlock()
	switch {
	case i < 0:
		refuse(w, http.StatusNotFound, object{{"id", []string{"not found"}}})
	case !allowed:
		answer(w, http.StatusForbidden, object{{"success", false}, {"message", "Forbidden"}})
	default:
		answer(w, http.StatusOK, object{{"status", "ok"}, {"success", true}})
	}
}

// hookRequest is what POST takes.
type hookRequest struct {
	URL      string `json:"subscription_url"`
	Action   string `json:"event_action"`
	Object   string `json:"event_object"`
	Name     string `json:"name"`
	UserID   int64  `json:"user_id"`
	User     string `json:"http_auth_user"`
	Password string `json:"http_auth_password"`
	Version  string `json:"version"`
}

func (h *hooks) serveCreate(w http.ResponseWriter, r *http.Request, by Caller) {
	var in hookRequest
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil || json.Unmarshal(text, &in) != nil {
		answer(w, http.StatusBadRequest, object{{"status", "error"}, {"success", false}, {"error", "Bad request"}})
		return
	}
	in.Version = cmp.Or(in.Version, version2) // since 17 March 2025
	errors, unknown := in.check()
	if len(errors) == 0 && h.o.Check && !h.reachable(r.Context(), in.URL) {
		errors = object{unreachable}
	}
	if len(errors) > 0 {
		body := object{{"status", "error"}, {"success", false}}
		if unknown { // what clients of version 1 were told from that day on
			body = append(body, member{"error", "Validation failed"}, member{"message", "Validation failed"})
		}
		answer(w, http.StatusBadRequest, append(body, member{"errors", errors}))
		return
	}
	created, ok := h.create(in, by)
	if !ok { // the text is a guess
		answer(w, http.StatusUnprocessableEntity, object{{"status", "error"}, {"success", false},
			{"error", "Webhooks limit reached"}, {"errors", object{{"subscription_url", []string{"limit of 40 webhooks reached"}}}}})
		return
	}
	answer(w, http.StatusCreated, object{{"status", "ok"}, {"success", true}, {"data", created}})
}

var unreachable = member{"subscription_url", []string{"invalid or non-reachable URL"}}

// check is what is wrong, by the names of the request; unknown is about an action or object that the version
// does not have. Texts other than that about the URL are guesses.
func (in *hookRequest) check() (errors object, unknown bool) {
	u, err := url.Parse(in.URL)
	switch {
	case err != nil, u.Host == "", u.Scheme != "http" && u.Scheme != "https":
		errors = append(errors, unreachable)
	case u.Hostname() == "pipedrive.com" || strings.HasSuffix(u.Hostname(), ".pipedrive.com"): // the guide refuses its own API
		errors = append(errors, unreachable)
	}
	allowed, known := hookVersions[in.Version]
	if !known {
		errors = append(errors, member{"version", []string{"must be 1.0 or 2.0"}})
	}
	for _, part := range []struct {
		key, value string
		of         []string
	}{{"event_action", in.Action, allowed.actions}, {"event_object", in.Object, allowed.objects}} {
		if known && !slices.Contains(part.of, part.value) {
			unknown = true
			errors = append(errors, member{part.key, []string{"must be one of: " + strings.Join(part.of, ", ")}})
		}
	}
	if n := utf8.RuneCountInString(in.Name); n == 0 || n > maxName {
		errors = append(errors, member{"name", []string{"must be 1 to 255 characters long"}})
	}
	return errors, unknown
}

func (h *hooks) reachable(ctx context.Context, target string) bool {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return false
	}
	res, err := h.client.Do(req)
	if err != nil {
		return false
	}
	drained(res.Body)
	return true
}

// create adds a webhook; ok is false when the caller has as many as he may have.
func (h *hooks) create(in hookRequest, by Caller) (view object, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, s := range h.list {
		if !s.gone && s.RemoveTime == "" && s.OwnerID == by.UserID && s.app == by.App {
			n++
		}
	}
	if n >= maxWebhooks {
		return nil, false
	}
	h.lastID++
	w := &hook{Subscription: Subscription{
		ID: h.lastID, CompanyID: h.o.Account.CompanyID, OwnerID: by.UserID, UserID: cmp.Or(in.UserID, by.UserID),
		Action: in.Action, Object: in.Object, URL: in.URL, Name: in.Name, Version: in.Version, Type: "general",
		AuthUser: in.User, AuthPassword: core.Secret(in.Password), AddTime: hookTime(h.o.Now()), app: by.App,
	}, lanes: make([]lane, h.o.Lanes)}
	if by.App != "" {
		w.Type = "application"
	}
	h.list = append(h.list, w)
	return w.view(), true
}

// view is the webhook as the API shows it, its password too: so the published OpenAPI file has it. That a ban
// shows in is_active is a guess.
func (w *hook) view() object {
	active := 1
	if w.banned || w.RemoveTime != "" {
		active = 0
	}
	var status any
	if w.LastStatus != 0 {
		status = w.LastStatus
	}
	return object{
		{"id", w.ID}, {"company_id", w.CompanyID}, {"owner_id", w.OwnerID}, {"user_id", w.UserID},
		{"event_action", w.Action}, {"event_object", w.Object}, {"subscription_url", w.URL}, {"version", w.Version},
		{"is_active", active}, {"add_time", w.AddTime}, {"remove_time", orNull(w.RemoveTime)}, {"type", w.Type},
		{"http_auth_user", orNull(w.AuthUser)}, {"http_auth_password", orNull(string(w.AuthPassword))},
		{"remove_reason", orNull(w.RemoveReason)}, {"last_delivery_time", orNull(w.LastDelivery)},
		{"last_http_status", status}, {"admin_id", w.OwnerID}, {"name", w.Name},
	}
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// hookTime is a time as answers about webhooks have it.
func hookTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
