package pipedrive_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/pipedrive/shape"
	"github.com/pipehook/pipehook/core/pipedrive/simulate"
	"github.com/pipehook/pipehook/core/source/pipedrive"
)

// twoWebhooks is a stand-in with a webhook of each version for everything, and what they have brought.
type twoWebhooks struct {
	crm    *simulate.CRM
	fields *shape.Fields
	settle func() error

	mu     sync.Mutex
	bodies map[string][][]byte // by the version
}

func newTwoWebhooks(t *testing.T) *twoWebhooks {
	t.Helper()
	a := &twoWebhooks{bodies: map[string][][]byte{}}
	var ticks atomic.Int64 // no two changes are at the same moment
	s := simulate.New(simulate.Options{Token: "t", Now: func() time.Time {
		return time.Date(2026, 11, 26, 9, 0, 0, 0, time.UTC).Add(time.Duration(ticks.Add(1)) * 700 * time.Millisecond)
	}})
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		a.bodies[strings.Trim(r.URL.Path, "/")] = append(a.bodies[strings.Trim(r.URL.Path, "/")], body)
	}))
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = s.Run(ctx) })
	t.Cleanup(func() {
		stop()
		running.Wait()
		receiver.Close()
	})
	for _, version := range []string{"1.0", "2.0"} {
		body := fmt.Sprintf(`{"name":"all","subscription_url":"%s/%s","event_action":"*","event_object":"*","version":%q}`, receiver.URL, version, version)
		r := httptest.NewRequest(http.MethodPost, "/api/v1/webhooks", strings.NewReader(body))
		r.Header.Set("X-Api-Token", "t")
		w := httptest.NewRecorder()
		if s.ServeHTTP(w, r); w.Code != http.StatusCreated {
			t.Fatal(w.Code, w.Body)
		}
	}
	a.crm, a.settle = s.CRM(), func() error { return s.Settle(t.Context()) }
	byObject := map[string][]shape.Field{}
	for _, o := range shape.Objects() {
		if o.Custom && o.Name != "lead" {
			byObject[o.Name] = a.crm.Fields(o.Name)
		}
	}
	a.fields = shape.NewFields("acme", byObject)
	return a
}

// named are the events that the webhook of a version has brought, by when and about what they are.
func (a *twoWebhooks) named(t *testing.T, version string) map[string]*core.Event {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	source := pipedrive.Source{Fields: func() *shape.Fields { return a.fields }}
	all := map[string]*core.Event{}
	for _, body := range a.bodies[version] {
		ev := &core.Event{Body: body}
		if err := source.Name(ev); err != nil || ev.Flaw != "" || ev.Version != version {
			t.Fatalf("%v %s: %s", err, ev.Flaw, body)
		}
		at := ev.OccurredAt.UTC().Truncate(time.Millisecond).Format(time.RFC3339Nano) + " " + ev.Object + " " + ev.ObjectID
		if all[at] != nil {
			t.Fatalf("two events are about %s", at)
		}
		all[at] = ev
	}
	return all
}

// everyCustomField gives a record a value of every type, and then another or none.
func everyCustomField(r *rand.Rand, fields []shape.Field) map[string]any {
	custom := map[string]any{}
	for _, f := range fields {
		n := r.Int63n(3)
		if n == 2 {
			custom[f.Key] = nil
			continue
		}
		custom[f.Key] = map[string]any{
			"double": float64(n) + 0.5, "monetary": map[string]any{"value": 10 + n, "currency": "EUR"},
			"people": n + 1, "org": n + 1, "user": 1001 + n, "phone": fmt.Sprintf("+372 5%d", n), "time": map[string]any{"value": fmt.Sprintf("1%d:00:00", n)},
			"timerange": map[string]any{"value": fmt.Sprintf("1%d:00:00", n), "until": "20:00:00"}, "date": fmt.Sprintf("2027-01-0%d", n+1),
			"daterange": map[string]any{"value": fmt.Sprintf("2027-01-0%d", n+1), "until": "2027-02-01"},
			"address":   map[string]any{"value": "Tartu, Estonia", "locality": "Tartu", "postal_code": fmt.Sprint(51000 + n)},
		}[f.Type]
		switch f.Type {
		case "enum":
			custom[f.Key] = f.Options[n].ID
		case "set":
			custom[f.Key] = []any{f.Options[0].ID, f.Options[1+n].ID}
		case "varchar", "text", "varchar_auto":
			custom[f.Key] = fmt.Sprintf("text %d", n)
		}
	}
	return custom
}

// work is what people do, and what random steps do too rarely.
func (a *twoWebhooks) work(t *testing.T, r *rand.Rand, n int) {
	t.Helper()
	objects := []string{"deal", "person", "organization", "activity", "note", "product"}
	if _, err := a.crm.Act(r, n, simulate.Mix{Create: 30, Update: 60, Delete: 5, Merge: 5, Objects: objects}); err != nil {
		t.Fatal(err)
	}
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, object := range []string{"deal", "person", "organization", "activity", "product"} {
		list := a.crm.List(object)
		for i := range 6 {
			_, err := a.crm.Update(object, fmt.Sprint(list[i%min(2, len(list))]["id"]), simulate.Record{"custom_fields": everyCustomField(r, a.crm.Fields(object))}, simulate.By{UserID: 1002, Source: "api", Bulk: i == 0})
			do(err)
		}
	}
	for object, key := range map[string]string{"deal": "title", "person": "name", "organization": "name"} {
		loser, err := a.crm.Create(object, simulate.Record{key: "twice"}, simulate.By{})
		do(err)
		_, err = a.crm.Merge(object, fmt.Sprint(loser["id"]), fmt.Sprint(a.crm.List(object)[0]["id"]), simulate.By{})
		do(err)
	}
	product, activity := fmt.Sprint(a.crm.List("product")[0]["id"]), fmt.Sprint(a.crm.List("activity")[0]["id"])
	for i := range 3 {
		price := map[string]any{"product_id": json.Number(product), "price": 10 + i, "currency": "EUR", "cost": i, "direct_cost": nil, "notes": ""}
		_, err := a.crm.Update("product", product, simulate.Record{"prices": []any{price}, "category": i, "is_linkable": i == 1}, simulate.By{})
		do(err)
		_, err = a.crm.Update("activity", activity, simulate.Record{"due_time": []any{"10:00:00", nil, "11:30:00"}[i], "duration": []any{nil, "00:30:00", "01:00:00"}[i], "busy": i == 1}, simulate.By{})
		do(err)
	}
	for _, values := range []struct {
		object string
		made   simulate.Record
		other  simulate.Record
	}{
		{"user", simulate.Record{"name": "Uma", "email": "uma@example.com"}, simulate.Record{"phone": "+372 1", "active_flag": false}},
		{"pipeline", simulate.Record{"name": "New"}, simulate.Record{"name": "Newer", "is_deal_probability_enabled": true}},
		{"stage", simulate.Record{"name": "First", "pipeline_id": 1}, simulate.Record{"days_to_rotten": 7, "is_deal_rot_enabled": true, "order_nr": 3}},
	} {
		made, err := a.crm.Create(values.object, values.made, simulate.By{})
		do(err)
		_, err = a.crm.Update(values.object, fmt.Sprint(made["id"]), values.other, simulate.By{})
		do(err)
		if values.object != "user" {
			do(a.crm.Delete(values.object, fmt.Sprint(made["id"]), simulate.By{}))
		}
	}
}

func TestWhatAStandInTellsInBothVersionsIsTheSameEvent(t *testing.T) {
	a := newTwoWebhooks(t)
	a.work(t, rand.New(rand.NewSource(4)), 600)
	if err := a.settle(); err != nil {
		t.Fatal(err)
	}
	ones, twos := a.named(t, "1.0"), a.named(t, "2.0")
	kinds := map[string]int{}
	for at, two := range twos {
		one := ones[at]
		delete(ones, at)
		if one == nil {
			t.Errorf("only version 2 tells of %s", at)
			continue
		}
		kinds[two.Type()]++
		compareEvents(t, one, two)
		if t.Failed() {
			t.Fatalf("of %s at %s\n%s\n%s", two.Type(), at, one.Body, two.Body)
		}
	}
	for at := range ones {
		t.Errorf("only version 1 tells of %s", at)
	}
	for _, object := range []string{"deal", "person", "organization", "activity", "note", "product", "user", "pipeline", "stage"} {
		for _, action := range []string{"added", "updated", "deleted", "merged"} {
			o, _ := shape.Find(object)
			if kinds[action+"."+object] == 0 && (action != "merged" || o.Merges) && (action != "deleted" || object != "user") {
				t.Errorf("no %s was %s", object, action)
			}
		}
	}
}
