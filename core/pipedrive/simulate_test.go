package pipedrive_test

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/pipehook/pipehook/core/pipedrive"
	"github.com/pipehook/pipehook/core/pipedrive/shape"
	"github.com/pipehook/pipehook/core/pipedrive/simulate"
)

func TestARequestIsCountedAsWhatItCosts(t *testing.T) {
	const daily = 1_000_000
	s := httptest.NewServer(simulate.New(simulate.Options{Token: secret, Burst: 1000, Daily: daily}))
	t.Cleanup(s.Close)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	c, err := pipedrive.New(pipedrive.Options{BaseURL: s.URL, Auth: pipedrive.Token(secret), HTTP: transport, Retries: -1, Budget: pipedrive.BudgetOptions{Burst: 1000}})
	if err != nil {
		t.Fatal(err)
	}
	requests := []string{
		"GET /api/v2/deals/1", "GET /api/v1/notes/1", "GET /api/v2/boards/1", "GET /api/v2/phases/1", "GET /api/v1/users/me", "GET /api/v2/deals/archived",
		"GET /api/v2/projects/archived", "GET /api/v1/leads/archived", "GET /api/v2/dealFields", "GET /api/v1/noteFields", "GET /api/v1/recents", "GET /api/v1/webhooks",
		"GET /api/v2/deals/1/products", "POST /api/v2/deals", "PATCH /api/v2/deals/1", "PUT /api/v1/notes/1", "PUT /api/v1/deals/1/merge", "DELETE /api/v2/deals/1",
		"DELETE /api/v1/notes/1", "DELETE /api/v1/webhooks/1",
	}
	for _, o := range shape.Objects() {
		requests = append(requests, "GET "+o.Path)
	}
	left := int64(daily)
	for _, request := range requests {
		method, path, _ := strings.Cut(request, " ")
		before := c.Budget().Spent
		_, _ = c.Do(t.Context(), pipedrive.Request{Method: method, Path: path}) // many are refused, and counted all the same
		b := c.Budget()
		if counted, cost := b.Spent-before, left-b.DailyLeft; counted != cost {
			t.Errorf("%s: %d tokens are counted, it costs %d", request, counted, cost)
		}
		left = b.DailyLeft
	}
}

func TestTheClientAndTheStandInUnderstandEachOther(t *testing.T) {
	server := simulate.New(simulate.Options{Token: secret, Company: "acme", CompanyID: 7, Burst: 100})
	for i := range 25 {
		if _, err := server.CRM().Create("deal", simulate.Record{"title": "deal " + strconv.Itoa(i)}, simulate.By{}); err != nil {
			t.Fatal(err)
		}
	}
	s := httptest.NewServer(server)
	t.Cleanup(s.Close)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	c, err := pipedrive.New(pipedrive.Options{BaseURL: s.URL, Auth: pipedrive.Token(secret), HTTP: transport, Budget: pipedrive.BudgetOptions{Burst: 100}})
	if err != nil {
		t.Fatal(err)
	}
	if me, err := c.Me(t.Context()); err != nil || me.CompanyID != 7 || me.CompanyDomain != "acme" {
		t.Errorf("got %+v, %v", me, err)
	}
	if f, err := c.Fields(t.Context(), true); err != nil || len(f.Of("deal")) == 0 || f.Company() != "acme" {
		t.Errorf("got fields %v, %v", f, err)
	}
	n := 0
	for page, err := range c.Pages(t.Context(), pipedrive.List{Path: "/api/v2/deals", Paging: shape.Cursor, Limit: 10}) {
		if err != nil {
			t.Fatal(err)
		}
		n += len(page.Items)
	}
	if n < 25 {
		t.Errorf("got %d deals, want 25", n)
	}
	made, err := c.CreateWebhook(t.Context(), pipedrive.NewWebhook{Name: "all", Action: "*", Object: "*", URL: "http://127.0.0.1:9/hook", AuthUser: "u", AuthPassword: "hunter22"})
	if err != nil {
		t.Fatal(err)
	}
	if list, err := c.Webhooks(t.Context()); err != nil || len(list) != 1 || list[0].ID != made.ID || !list[0].Active {
		t.Errorf("got %+v, %v", list, err)
	}
	if err := c.DeleteWebhook(t.Context(), made.ID); err != nil {
		t.Error(err)
	}
	failure(t, c.DeleteWebhook(t.Context(), made.ID), pipedrive.NotFound)
}
