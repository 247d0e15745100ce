package mirror_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/coretest/testdb"
	"github.com/pipehook/pipehook/core/mirror"
	"github.com/pipehook/pipehook/core/samples"
	"github.com/pipehook/pipehook/core/source/pipedrive"
)

// named is a body as the receiver hands it on.
func named(t testing.TB, body []byte) core.Event {
	t.Helper()
	ev := core.Event{ID: "0190", Source: mirror.Source, Body: body, ReceivedAt: time.Now()}
	if err := (pipedrive.Source{}).Name(&ev); err != nil {
		t.Fatal(err)
	}
	return ev
}

// handle gives events to the tables as the delivery does, and returns what came of each.
func handle(t testing.TB, m *mirror.Mirror, events ...core.Event) []core.Outcome {
	t.Helper()
	batch := make([]core.Delivery, len(events))
	for i := range events {
		batch[i].Event = events[i]
	}
	var all []core.Outcome
	m.HandleBatch(t.Context(), time.Minute, batch, func(int) bool { return true }, func(i int, out core.Outcome) {
		if i != len(all) {
			t.Errorf("%d has ended after %d others", i, len(all))
		}
		all = append(all, out)
	})
	return all
}

func TestEverySampleOfPipedrivesFindsItsPlace(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		m := open(t, url)
		for i, name := range samples.Names() { // many are of one and the same record, at other times
			body, _ := samples.Body(name)
			ev := named(t, body)
			if ev.Object != "lead" {
				ev.ObjectID = strconv.Itoa(5000 + i)
			}
			if _, kept := mirror.TableOf(ev.Object); !kept {
				continue
			}
			if out := handle(t, m, ev); out[0].Err != nil {
				t.Errorf("%s: %v", name, out[0].Err)
				continue
			}
			got := row(t, m, ev.Object, ev.ObjectID)
			if got.ID != ev.ObjectID || len(got.Values) == 0 || ev.Object != "lead" && got.Deleted != (ev.Action == core.Deleted) {
				t.Errorf("%s: the row is %+v", name, got)
			}
		}
	})
}

func TestOneBadEventFailsNoOther(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		m := open(t, url, "deal")
		body := func(id, title string) []byte {
			return []byte(`{"meta":{"version":"2.0","action":"change","entity":"deal","entity_id":"` + id + `","id":"x","timestamp":"2026-05-27T12:00:00.000Z"},
				"data":{"id":` + id + `,"title":"` + title + `","update_time":"2026-05-27T12:00:00Z"},"previous":{"title":"b"}}`)
		}
		foreign, unnamed, odd := named(t, body("3", "c")), named(t, body("4", "d")), named(t, body("5", "e"))
		foreign.Source, unnamed.ObjectID, odd.ObjectID = "stripe", "", "seven"
		other := named(t, []byte(strings.Replace(string(body("6", "f")), `"entity":"deal"`, `"entity":"person"`, 1)))
		outs := handle(t, m, named(t, body("1", "a")), foreign, unnamed, odd, other, named(t, body("2", `b\u0000c`)))
		for i, want := range []core.Kind{0, core.Permanent, core.Permanent, core.Permanent, 0, 0} {
			if err := outs[i].Err; (err == nil) != (want == 0) || err != nil && core.KindOf(err) != want {
				t.Errorf("event %d came to %v", i, err)
			}
		}
		if ids, err := m.IDs(t.Context(), "deal", "", 10); err != nil || len(ids) != 2 {
			t.Errorf("the deals are %v, %v", ids, err)
		}
	})
}

// A comparison would find what a stage has made of a record, and tell of it, each time.
func TestTheTablesKeepARecordAsPipedriveHasItWhateverAStageSaysOfIt(t *testing.T) {
	m, err := mirror.Open(t.Context(), mirror.Options{URL: testdb.SQLite(t), Objects: []string{"deal"}, Name: pipedrive.Source{}.Name})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	text := func(s string) *string { return &s }
	for id, say := range map[string]core.Amendment{
		"1": {Current: []byte(`{"id":1,"title":"a"}`)},
		"2": {Object: text("order")},
		"3": {ObjectID: text("30")},
		"4": {Action: text(core.Deleted), Current: []byte("null")},
	} {
		for _, origin := range []string{"", core.OriginReconcile} {
			ev := core.Event{ID: "0190", Source: mirror.Source, ReceivedAt: time.Now(), Body: []byte(`{"meta":{"version":"2.0","action":"change","entity":"deal",
				"entity_id":"` + id + `","id":"x","timestamp":"2026-05-27T12:00:00.000Z"},
				"data":{"id":` + id + `,"title":" a` + origin + ` ","update_time":"2026-05-27T12:00:00Z"},"previous":{"title":"b"}}`)}
			err := errors.Join(ev.SetOrigin(origin), pipedrive.Source{}.Name(&ev))
			if _, wrong := ev.Amend(say); err != nil || wrong != nil {
				t.Fatal(err, wrong)
			}
			if out := handle(t, m, ev); out[0].Err != nil || out[0].Output != mirror.Applied.String() {
				t.Errorf("the event of deal %s came to %+v", id, out)
			}
			if err := m.Handle(t.Context(), ev); err != nil {
				t.Error(err)
			}
			from := mirror.FromWebhook
			if origin != "" {
				from = mirror.FromReconcile
			}
			if got := row(t, m, "deal", id); got.Values["title"] != " a"+origin+" " || got.Deleted || got.From != from {
				t.Errorf("the row of deal %s is %+v", id, got)
			}
		}
	}
}

func TestAServerThatIsAwayCostsNoAttempt(t *testing.T) {
	m, err := mirror.Open(t.Context(), mirror.Options{URL: "postgres://nobody@127.0.0.1:1/none?sslmode=disable", Away: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Close() }()
	body, err := os.ReadFile(filepath.Join("..", "samples", "pipedrive_docs-v2-create-deal.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, out := range handle(t, m, named(t, body), named(t, body)) {
		if core.KindOf(out.Err) != core.Unreached {
			t.Errorf("it came to %v", out.Err)
		}
	}
}

// BenchmarkABacklog is how fast stored events become rows.
func BenchmarkABacklog(b *testing.B) {
	for name, url := range map[string]func(testing.TB) string{"sqlite": testdb.SQLite, "postgres": testdb.Postgres} {
		b.Run(name, func(b *testing.B) {
			m := open(b, url(b))
			body, _ := samples.Body("pipedrive_docs-v2-change-deal-customfield")
			ev := named(b, body)
			batch := make([]core.Delivery, m.Bulk())
			n := 0
			for b.Loop() {
				for i := range batch {
					n++
					batch[i].Event = ev
					batch[i].Event.ObjectID = strings.Repeat("1", 1+n%3) + string(rune('0'+n%10)) + string(rune('0'+n/10%10)) + string(rune('0'+n/100%10)) + string(rune('0'+n/1000%10))
				}
				m.HandleBatch(b.Context(), time.Minute, batch, func(int) bool { return true }, func(_ int, out core.Outcome) {
					if out.Err != nil {
						b.Fatal(out.Err)
					}
				})
			}
			b.ReportMetric(float64(b.N*len(batch))/b.Elapsed().Seconds(), "events/s")
		})
	}
}
