package simulate

import (
	"math/rand"
	"testing"
	"time"
)

func TestWhatWasDeletedIsGoneAfterThirtyDays(t *testing.T) {
	now := time.Date(2026, 11, 26, 10, 0, 0, 0, time.UTC)
	c := New(Options{Now: func() time.Time { return now }}).CRM()
	if _, err := c.Create("person", Record{"name": "A"}, By{}); err != nil {
		t.Fatal(err)
	}
	if err := c.Delete("person", "1", By{}); err != nil {
		t.Fatal(err)
	}
	if rec, there := c.Get("person", "1"); !there || rec["is_deleted"] != true || rec["update_time"] != "2026-11-26T10:00:00Z" {
		t.Errorf("the deleted person is %v", rec)
	}
	now = now.Add(31 * 24 * time.Hour)
	c.page(query{object: "person", limit: 1})
	if rec, there := c.Get("person", "1"); there {
		t.Errorf("after a month it is still there: %v", rec)
	}
}

func BenchmarkFill(b *testing.B) {
	for b.Loop() {
		c := New(Options{}).CRM()
		if err := c.Fill(rand.New(rand.NewSource(1)), 10_000); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/10_000, "ns/record")
}

func BenchmarkPageThroughAll(b *testing.B) {
	c := New(Options{}).CRM()
	for i := range 100_000 {
		if _, err := c.Create("person", Record{"name": "A", "org_id": nil, "visible_to": i % 7}, By{Quiet: true}); err != nil {
			b.Fatal(err)
		}
	}
	for _, order := range []string{"id", "update_time"} {
		b.Run(order, func(b *testing.B) {
			for b.Loop() {
				n := 0
				for q := (query{object: "person", sort: order, limit: 500}); ; {
					recs, next := c.page(q)
					n += len(recs)
					if q.after = next; next == nil {
						break
					}
				}
				if n != 100_000 {
					b.Fatal(n)
				}
			}
		})
	}
}
