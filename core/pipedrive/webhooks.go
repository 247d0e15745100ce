package pipedrive

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/pipedrive/shape"
)

// The API has webhooks in version 1 only, whichever version their bodies have.
const webhooks = "/api/v1/webhooks"

// Webhook is one that the account has. An app sees only those that it made itself.
type Webhook struct {
	ID, CompanyID, OwnerID, UserID, AdminID int64

	Name         string
	Action       string // of version 1 or 2, as Version says
	Object       string
	URL          string
	Version      string // 1.0 or 2.0
	Type         string // general, application or automation
	Active       bool
	AuthUser     string
	AuthPassword core.Secret // Pipedrive gives it back

	Added, Removed time.Time
	RemoveReason   string
	LastDelivery   time.Time // zero when there was none
	LastStatus     int       // of that delivery; 0 when not known
}

// NewWebhook is one to create. Pipedrive wants a name; its version is 2.0 when Version is empty.
type NewWebhook struct {
	Name         string
	Action       string
	Object       string
	URL          string
	Version      string
	UserID       int64 // whose permissions it has; 0 for the token's
	AuthUser     string
	AuthPassword core.Secret
}

// Webhooks are all that the credentials see.
func (c *Client) Webhooks(ctx context.Context) ([]Webhook, error) {
	var all []Webhook
	for p, err := range c.Pages(ctx, List{Op: "list the webhooks", Path: webhooks, Paging: shape.Whole, Urgent: true}) {
		if err != nil {
			return nil, err
		}
		for _, item := range p.Items {
			w, ok := readWebhook(item)
			if !ok {
				return nil, &Error{Op: "list the webhooks", Method: http.MethodGet, Path: webhooks, Reason: Garbled, Msg: "this is no webhook"}
			}
			all = append(all, w)
		}
	}
	return all, nil
}

// CreateWebhook makes one. It is not tried again when nobody knows whether it was done: a second one would
// bring every event twice.
func (c *Client) CreateWebhook(ctx context.Context, n NewWebhook) (Webhook, error) {
	body := map[string]any{"name": n.Name, "subscription_url": n.URL, "event_action": n.Action, "event_object": n.Object}
	for key, value := range map[string]string{"version": n.Version, "http_auth_user": n.AuthUser, "http_auth_password": string(n.AuthPassword)} {
		if value != "" {
			body[key] = value
		}
	}
	if n.UserID != 0 {
		body["user_id"] = n.UserID
	}
	r, err := c.Do(ctx, Request{
		Op: "create a webhook", Method: http.MethodPost, Path: webhooks, Body: body,
		hidden: map[string]string{"password": string(n.AuthPassword)},
	})
	if err != nil {
		return Webhook{}, err
	}
	w, ok := readWebhook(r.Data)
	if !ok {
		return Webhook{}, &Error{Op: "create a webhook", Method: http.MethodPost, Path: webhooks, Status: r.Status, Reason: Garbled, Msg: "it may be there: list the webhooks first"}
	}
	return w, nil
}

// DeleteWebhook deletes one.
func (c *Client) DeleteWebhook(ctx context.Context, id int64) error {
	_, err := c.Do(ctx, Request{Op: "delete a webhook", Method: http.MethodDelete, Path: webhooks + "/" + strconv.FormatInt(id, 10)})
	return err
}

func readWebhook(data json.RawMessage) (Webhook, bool) {
	var w struct {
		ID           loose   `json:"id"`
		CompanyID    loose   `json:"company_id"`
		OwnerID      loose   `json:"owner_id"`
		UserID       loose   `json:"user_id"`
		AdminID      loose   `json:"admin_id"`
		Name         *string `json:"name"`
		Action       string  `json:"event_action"`
		Object       string  `json:"event_object"`
		URL          string  `json:"subscription_url"`
		Version      loose   `json:"version"`
		Type         string  `json:"type"`
		Active       loose   `json:"is_active"`
		AuthUser     string  `json:"http_auth_user"`
		AuthPassword string  `json:"http_auth_password"`
		Added        loose   `json:"add_time"`
		Removed      loose   `json:"remove_time"`
		RemoveReason string  `json:"remove_reason"`
		LastDelivery loose   `json:"last_delivery_time"`
		LastStatus   loose   `json:"last_http_status"`
	}
	if json.Unmarshal(data, &w) != nil || w.ID.int() == 0 {
		return Webhook{}, false
	}
	hook := Webhook{
		ID: w.ID.int(), CompanyID: w.CompanyID.int(), OwnerID: w.OwnerID.int(), UserID: w.UserID.int(), AdminID: w.AdminID.int(),
		Action: w.Action, Object: w.Object, URL: w.URL, Version: string(w.Version), Type: w.Type, Active: w.Active.bool(),
		AuthUser: w.AuthUser, AuthPassword: core.Secret(w.AuthPassword), Added: w.Added.time(), Removed: w.Removed.time(),
		RemoveReason: w.RemoveReason, LastDelivery: w.LastDelivery.time(), LastStatus: int(w.LastStatus.int()),
	}
	if w.Name != nil {
		hook.Name = *w.Name
	}
	return hook, true
}

// loose is a number, text or truth value as text; null is empty. The API writes ids and the like as either.
type loose string

func (l *loose) UnmarshalJSON(b []byte) error {
	if bytes.Equal(b, []byte("null")) {
		*l = ""
		return nil
	}
	if b[0] == '"' {
		return json.Unmarshal(b, (*string)(l))
	}
	*l = loose(b)
	return nil
}

func (l loose) int() int64 {
	n, _ := strconv.ParseInt(string(l), 10, 64)
	return n
}

func (l loose) bool() bool { return l == "1" || l == "true" }

func (l loose) time() time.Time {
	for _, form := range [...]string{time.RFC3339, time.DateTime} {
		if t, err := time.Parse(form, string(l)); err == nil {
			return t.UTC()
		}
	}
	return time.Time{}
}
