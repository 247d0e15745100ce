package mirror_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math/rand"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/mirror"
	"github.com/pipehook/pipehook/core/pipedrive"
	"github.com/pipehook/pipehook/core/pipedrive/shape"
	"github.com/pipehook/pipehook/core/pipedrive/simulate"
	source "github.com/pipehook/pipehook/core/source/pipedrive"
)

// histories says how many random histories are tried, and historySeed which one is the first. That is another one each
// time, unless it is said.
const (
	histories   = "PIPEHOOK_TEST_HISTORIES"
	historySeed = "PIPEHOOK_TEST_HISTORY_SEED"
)

func numberIn(t *testing.T, name string, otherwise int64) int64 {
	t.Helper()
	n, err := strconv.ParseInt(cmp.Or(os.Getenv(name), strconv.FormatInt(otherwise, 10)), 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// Whatever webhooks lose, mix up and bring late, and whenever comparisons run: the last one leaves the tables as the
// account is, and the last change of each record was told once.
func TestAnyHistoryIsWholeInTheEndAndToldOnce(t *testing.T) {
	first := numberIn(t, historySeed, time.Now().UnixNano())
	for seed := first; seed < first+numberIn(t, histories, 8); seed++ {
		t.Run(strconv.FormatInt(seed, 10), func(t *testing.T) {
			h := newPast(t, seed)
			for range 10 + h.r.Intn(240) {
				h.step(t)
			}
			h.later(time.Hour)
			h.arrive(t)
			h.handle(t)
			h.later(time.Hour)   // what has just been handled is left alone
			if len(h.lost) > 0 { // and so is what a merge has moved that is only now taken over
				h.compare(t, true)
				h.handle(t)
				h.later(time.Hour)
			}
			h.compare(t, true)
			h.handle(t)
			h.check(t)
			h.later(time.Hour)
			if again := h.compare(t, true); again.Differences() != 0 {
				t.Errorf("another comparison finds %+v", again.Objects)
			}
		})
	}
}

// past is an account whose time passes as the test says, and what webhooks have made of it.
type past struct {
	receiver
	r      *rand.Rand
	now    time.Time
	server *simulate.Server
	web    *httptest.Server
	client *pipedrive.Client
	fields *shape.Fields
	coming []coming
	last   map[string]simulate.Change // by object and id
	n      int
}

// coming is a webhook that is on its way.
type coming struct {
	due  time.Time
	body []byte
}

func newPast(t *testing.T, seed int64) *past {
	h := &past{r: rand.New(rand.NewSource(seed)), now: noon, last: map[string]simulate.Change{}}
	h.server = simulate.New(simulate.Options{Token: "token", Company: "acme", CompanyID: 7, Seed: seed, Now: func() time.Time { return h.now }})
	h.web = httptest.NewServer(h.server)
	var err error
	if err = h.server.CRM().Fill(h.r, 20); err == nil {
		h.client, err = pipedrive.New(pipedrive.Options{BaseURL: h.web.URL, Auth: pipedrive.Token("token"), Budget: pipedrive.BudgetOptions{Burst: 1 << 30}})
	}
	if err == nil {
		h.fields, err = h.client.Fields(context.Background(), true)
	}
	if err == nil {
		h.m, err = mirror.Open(context.Background(), mirror.Options{
			URL: "sqlite:" + filepath.Join(t.TempDir(), "tables.db"), Now: func() time.Time { return h.now }, Fields: func() *shape.Fields { return h.fields },
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.close)
	h.later(time.Hour)
	h.compare(t, false)
	h.server.CRM().OnChange(h.changed)
	return h
}

func (h *past) close() {
	h.web.Close()
	_ = h.m.Close()
}

func (h *past) later(by time.Duration) { h.now = h.now.Add(by) }

// changed has a webhook on its way, if it is not lost.
func (h *past) changed(ch simulate.Change) {
	h.last[ch.Object+" "+ch.ID] = ch
	if o, _ := shape.Find(ch.Object); !o.Hooks || h.r.Intn(10) == 0 {
		return
	}
	late := time.Duration(h.r.Int63n(int64(time.Second)))
	switch roll := h.r.Intn(100); {
	case roll < 10:
		late = time.Duration(h.r.Int63n(int64(4 * time.Minute)))
	case roll < 12: // later than a comparison waits for
		late = time.Duration(h.r.Int63n(int64(30 * time.Minute)))
	}
	h.n++
	account := &simulate.Account{CompanyID: 7, Host: "acme.pipedrive.com", Fields: h.server.CRM().Fields}
	body := simulate.BodyV2(ch, simulate.Subscription{ID: 1, CompanyID: 7, Version: "2.0"}, account, simulate.Send{Event: strconv.Itoa(h.n), Attempt: 1})
	h.coming = append(h.coming, coming{h.now.Add(late), body})
}

// step is something that somebody does, and what comes of it.
func (h *past) step(t *testing.T) {
	h.later(time.Millisecond + time.Duration(h.r.Int63n(int64([]time.Duration{100 * time.Millisecond, time.Second, 20 * time.Second}[h.r.Intn(3)]))))
	mix := simulate.Mix{Objects: strings.Fields("organization person deal lead activity note product deal_product deal_installment project task file stage phase")}
	if _, err := h.server.CRM().Act(h.r, 1, mix); err != nil {
		t.Fatal(err)
	}
	h.arrive(t)
	switch h.r.Intn(30) {
	case 0:
		h.giveUp()
	case 1, 2, 3, 4, 5, 6, 7, 8, 9, 10:
		h.handle(t)
	}
	if h.r.Intn(50) == 0 {
		h.later(time.Duration(h.r.Int63n(int64(20 * time.Minute))))
		h.compare(t, h.r.Intn(3) == 0)
	}
}

// arrive has the webhooks that are due stored, unless they are there already.
func (h *past) arrive(t *testing.T) {
	slices.SortStableFunc(h.coming, func(a, b coming) int { return a.due.Compare(b.due) })
	for len(h.coming) > 0 && !h.coming[0].due.After(h.now) {
		ev := core.Event{ID: fmt.Sprintf("hook %d", len(h.events)), Source: mirror.Source, Body: h.coming[0].body, ReceivedAt: h.now}
		h.coming = h.coming[1:]
		if err := (source.Source{States: true}).Name(&ev); err != nil || ev.Flaw != "" {
			t.Fatal(err, ev.Flaw)
		}
		if !slices.ContainsFunc(h.events, func(old core.Event) bool { return bytes.Equal(old.Key, ev.Key) || bytes.Equal(old.Key, ev.State) }) {
			h.events, h.waiting = append(h.events, ev), append(h.waiting, ev)
		}
	}
}

// handle has the tables follow what is stored.
func (h *past) handle(t *testing.T) {
	for _, ev := range h.waiting {
		if err := h.m.Handle(t.Context(), ev); err != nil {
			t.Fatal(err)
		}
	}
	h.waiting = nil
}

// submit stores an event of a comparison, named as those of webhooks are.
func (h *past) submit(ctx context.Context, ev core.Event) (core.Receipt, error) {
	ev.Source, ev.ReceivedAt = mirror.Source, h.now
	if err := (source.Source{States: true}).Name(&ev); err != nil {
		return core.Receipt{}, err
	}
	return h.Submit(ctx, ev)
}

func (h *past) compare(t *testing.T, deletes bool) mirror.Report {
	report, err := h.m.Reconcile(t.Context(), h.client, mirror.ReconcileOptions{
		Deletes: deletes, Settle: 5 * time.Minute, Overlap: 10 * time.Minute, Owner: "test", CompanyID: "7", Host: "acme.pipedrive.com", Fields: h.fields,
		Submit: h.submit, LastSeq: h.LastSeq, Pending: h.Pending, Unheard: h.Unheard, Events: h.Events,
	})
	if err != nil || report.Failed() != nil {
		t.Fatal(err, report.Failed())
	}
	return report
}

// check holds the tables, and what was told, against the account.
func (h *past) check(t *testing.T) {
	for _, o := range shape.Objects() {
		there := map[string]bool{}
		for _, record := range h.server.CRM().List(o.Name) {
			id := fmt.Sprint(record["id"])
			there[id] = true
			h.checkRow(t, o.Name, id, record)
		}
		ids, err := h.m.IDs(t.Context(), o.Name, "", 1_000_000)
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range ids {
			if !there[id] {
				t.Errorf("%s %s is deleted, and its row says nothing of it", o.Name, id)
			}
		}
	}
	for is, ch := range h.last {
		o, _ := shape.Find(ch.Object)
		switch n := h.told(ch); {
		case !o.Hooks, ch.Object == "deal_installment": // which says nothing of when it was changed
		case n == 2 && ch.MergedFrom+ch.MergedTo != "": // a late merge tells more than a comparison found
		case n == 2 && ch.Action == "delete": // one that came late, of a record whose change before it was missed
		case n > 1, n == 0 && ch.Action != "delete": // what was never known, or is known by the other half of a merge, is not told as deleted
			t.Errorf("%s of %s at %s was told %d times: %s", ch.Action, is, ch.At, n, h.all(ch))
		}
	}
}

func (h *past) checkRow(t *testing.T, object, id string, record simulate.Record) {
	text, err := json.Marshal(record)
	if err != nil {
		t.Fatal(err)
	}
	r, err := shape.FromAPI(object, text, h.fields)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := h.m.Rows(t.Context(), object, []string{id})
	if err != nil {
		t.Fatal(err)
	}
	row, known := rows[id]
	if keys := shape.Differ(row.Record, r); !known || row.Deleted || len(keys) > 0 {
		t.Errorf("%s %s differs in %v (known %t, deleted at %s): row %v %s, account %v", object, id, keys, known, row.DeletedAt, row.Values, row.At, r.Values)
	}
}

// told is how often the last change of a record was told: by its webhook, or by a comparison.
func (h *past) told(ch simulate.Change) (n int) {
	for _, ev := range h.events {
		if ev.Object != ch.Object || ev.ObjectID != ch.ID {
			continue
		}
		gone := ev.Action == core.Deleted
		switch {
		case gone != (ch.Action == "delete"):
		case ev.Origin == "" && ev.OccurredAt.Equal(ch.At), ev.Origin != "" && gone,
			ev.Origin != "" && shape.LastChange(ev.Object, ev.Current).Unix() == ch.At.Unix():
			n++
		}
	}
	return n
}

// all is what was told of a record, and how.
func (h *past) all(ch simulate.Change) (all []string) {
	for _, ev := range h.events {
		if ev.Object == ch.Object && ev.ObjectID == ch.ID {
			all = append(all, fmt.Sprintf("%s %s of %s, stored at %s", cmp.Or(ev.Origin, "webhook"), ev.Action, ev.OccurredAt, ev.ReceivedAt))
		}
	}
	return all
}
