package simulate

import (
	"math/rand"
	"slices"
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

func TestWhatADealConsistsOfGoesWithItAndMovesInAMerge(t *testing.T) {
	c := New(Options{}).CRM()
	create := func(object string, values Record) {
		t.Helper()
		if _, err := c.Create(object, values, By{}); err != nil {
			t.Fatal(err)
		}
	}
	create("deal", Record{"title": "loser"})
	create("deal", Record{"title": "survivor"})
	create("product", Record{"name": "P"})
	create("deal_product", Record{"deal_id": 1, "product_id": 1, "item_price": 5, "quantity": 1})
	create("deal_installment", Record{"deal_id": 1, "description": "Part", "amount": 5, "billing_date": "2026-11-26"})
	if _, err := c.Merge("deal", "1", "2", By{}); err != nil {
		t.Fatal(err)
	}
	if parts := c.Count("deal_product") + c.Count("deal_installment"); parts != 2 {
		t.Errorf("after the merge there are %d parts", parts)
	}
	var told []string
	c.OnChange(func(ch Change) { told = append(told, ch.Action+" "+ch.Object) })
	if err := c.Delete("deal", "2", By{}); err != nil {
		t.Fatal(err)
	}
	if want := []string{"delete deal", "delete deal_product", "delete deal_installment"}; !slices.Equal(told, want) {
		t.Errorf("told %v, want %v", told, want)
	}
	if parts := c.Count("deal_product") + c.Count("deal_installment"); parts != 0 || c.Count("product") != 1 {
		t.Errorf("there are %d parts and %d products", parts, c.Count("product"))
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
