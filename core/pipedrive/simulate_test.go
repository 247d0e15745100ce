package pipedrive_test

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"github.com/pipehook/pipehook/core/pipedrive"
	"github.com/pipehook/pipehook/core/pipedrive/shape"
	"github.com/pipehook/pipehook/core/pipedrive/simulate"
)

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
