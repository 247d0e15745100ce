package mirror_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/coretest/testdb"
	"github.com/pipehook/pipehook/core/mirror"
	"github.com/pipehook/pipehook/core/pipedrive/shape"
)

func created(id string, second int, values map[string]any) mirror.Change {
	c := deal(id, second, 100, values)
	c.Record.Added, c.Record.Updated = c.Record.Updated, time.Time{}
	c.Record.Values["update_time"] = nil
	c.Action = core.Added
	return c
}

func deleted(id string, second, ms int, last map[string]any) mirror.Change {
	c := deal(id, 0, 0, last)
	c.Action, c.At = core.Deleted, noon.Add(time.Duration(second)*time.Second+time.Duration(ms)*time.Millisecond)
	if last == nil {
		c.Record = shape.Record{Object: "deal", ID: id}
	}
	c.Record.Deleted = true
	return c
}

// listed is a deal as the API lists it, which was asked so long after noon.
func listed(id string, second int, asked time.Duration, values map[string]any) mirror.Change {
	c := deal(id, second, 0, values)
	c.From, c.At = mirror.FromSync, noon.Add(asked)
	return c
}

func title(s string) map[string]any { return map[string]any{"title": s} }

func with(c mirror.Change, change func(c *mirror.Change)) mirror.Change {
	change(&c)
	return c
}

func TestWhatIsOlderNeverOverwritesWhatIsNewer(t *testing.T) {
	type want struct {
		results []mirror.Result
		title   any
		deleted bool
	}
	applied, same, older, gone := mirror.Applied, mirror.Same, mirror.Older, mirror.Deleted
	cases := map[string]struct {
		changes []mirror.Change
		want    want
	}{
		"a newer update":                               {[]mirror.Change{deal("1", 1, 0, title("a")), deal("1", 2, 0, title("b"))}, want{[]mirror.Result{applied, applied}, "b", false}},
		"an older update":                              {[]mirror.Change{deal("1", 2, 0, title("b")), deal("1", 1, 0, title("a"))}, want{[]mirror.Result{applied, older}, "b", false}},
		"two in one second":                            {[]mirror.Change{deal("1", 1, 700, title("b")), deal("1", 1, 200, title("a"))}, want{[]mirror.Result{applied, older}, "b", false}},
		"the same again":                               {[]mirror.Change{deal("1", 1, 0, title("a")), deal("1", 1, 0, title("a"))}, want{[]mirror.Result{applied, same}, "a", false}},
		"a create after its change":                    {[]mirror.Change{deal("1", 5, 0, title("b")), created("1", 1, title("a"))}, want{[]mirror.Result{applied, older}, "b", false}},
		"a change in the second of its create":         {[]mirror.Change{created("1", 1, title("a")), deal("1", 1, 400, title("b"))}, want{[]mirror.Result{applied, applied}, "b", false}},
		"a create after its deletion":                  {[]mirror.Change{deleted("1", 9, 0, nil), created("1", 1, title("a"))}, want{[]mirror.Result{applied, gone}, "a", true}},
		"a change after its deletion":                  {[]mirror.Change{deal("1", 1, 0, title("a")), deleted("1", 9, 500, nil), deal("1", 9, 900, title("b"))}, want{[]mirror.Result{applied, applied, gone}, "b", true}},
		"a deletion twice":                             {[]mirror.Change{deleted("1", 9, 0, nil), deleted("1", 9, 0, nil)}, want{[]mirror.Result{applied, same}, nil, true}},
		"a change of later than the deletion":          {[]mirror.Change{deleted("1", 9, 0, nil), deal("1", 20, 0, title("b"))}, want{[]mirror.Result{applied, applied}, "b", false}},
		"a deletion of before a restoration":           {[]mirror.Change{deal("1", 20, 0, title("b")), deleted("1", 9, 0, nil)}, want{[]mirror.Result{applied, older}, "b", false}},
		"a list that was asked for long after":         {[]mirror.Change{deleted("1", 9, 0, nil), listed("1", 5, time.Hour, title("b"))}, want{[]mirror.Result{applied, applied}, "b", false}},
		"a list that was asked for about then":         {[]mirror.Change{deleted("1", 9, 0, nil), listed("1", 5, 20*time.Second, title("b"))}, want{[]mirror.Result{applied, gone}, "b", true}},
		"a list of the second of the last webhook":     {[]mirror.Change{deal("1", 5, 300, title("a")), listed("1", 5, time.Hour, title("b"))}, want{[]mirror.Result{applied, applied}, "b", false}},
		"a webhook of the second of the last list":     {[]mirror.Change{listed("1", 5, time.Hour, title("b")), deal("1", 5, 300, title("a"))}, want{[]mirror.Result{applied, older}, "b", false}},
		"a list that was asked for within that second": {[]mirror.Change{listed("1", 5, 5100*time.Millisecond, title("b")), deal("1", 5, 300, title("a"))}, want{[]mirror.Result{applied, applied}, "a", false}},
		"a list with another value of the same time":   {[]mirror.Change{listed("1", 5, time.Hour, title("b")), listed("1", 5, 2*time.Hour, title("c"))}, want{[]mirror.Result{applied, applied}, "c", false}},
		"null":             {[]mirror.Change{deal("1", 1, 0, title("a")), deal("1", 2, 0, map[string]any{"title": nil})}, want{[]mirror.Result{applied, applied}, nil, false}},
		"what it does not": {[]mirror.Change{deal("1", 1, 0, title("a")), deal("1", 2, 0, nil)}, want{[]mirror.Result{applied, applied}, "a", false}},
		"of itself": {[]mirror.Change{deal("1", 1, 0, title("a")), with(listed("1", 7, time.Hour, nil), func(c *mirror.Change) { c.Record.Deleted = true })},
			want{[]mirror.Result{applied, applied}, "a", true}},
	}
	testdb.Each(t, func(t *testing.T, url string) {
		m, id := open(t, url), 0
		for name, c := range cases {
			id++
			t.Run(name, func(t *testing.T) {
				for i, change := range c.changes {
					change.Record.ID = fmt.Sprint(id)
					if got := apply(t, m, change)[0]; got != c.want.results[i] {
						t.Errorf("change %d came to %v, want %v", i, got, c.want.results[i])
					}
				}
				got := row(t, m, "deal", fmt.Sprint(id))
				if got.Values["title"] != c.want.title || got.Deleted != c.want.deleted || got.Deleted == got.DeletedAt.IsZero() {
					t.Errorf("the row is %+v", got)
				}
			})
		}
	})
}

// stands is what must not depend on the order.
func stands(t *rapid.T, m *mirror.Mirror, object string, ids ...string) map[string]any {
	t.Helper()
	rows, err := m.Rows(t.Context(), object, ids)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]any{}
	for id, r := range rows {
		data, err := json.Marshal(r.Values)
		if err != nil {
			t.Fatal(err)
		}
		all[id] = []any{string(data), r.Updated.UTC(), r.Added.UTC(), r.At.UTC(), r.DeletedAt.UTC(), r.MergedInto}
	}
	return all
}

// history is what happens to a deal, in its order, as webhooks tell it.
func history(t *rapid.T, id string) []mirror.Change {
	second := 1
	values := map[string]any{"title": "0", "custom_fields": map[string]any{"k": nil, "l": nil}}
	all := []mirror.Change{created(id, second, values)}
	ms := 100
	for i := range rapid.IntRange(0, 8).Draw(t, "changes") {
		if rapid.Bool().Draw(t, "later") {
			second, ms = second+rapid.IntRange(1, 3).Draw(t, "seconds"), 0
		}
		ms += rapid.IntRange(1, 90).Draw(t, "ms")
		values = map[string]any{"title": fmt.Sprint(i + 1), "custom_fields": map[string]any{"k": fmt.Sprint(rapid.IntRange(0, 2).Draw(t, "k")), "l": nil}}
		if rapid.IntRange(0, 3).Draw(t, "what") == 0 {
			gone := deleted(id, second, ms, nil)
			if rapid.Bool().Draw(t, "with its last state") {
				gone = deleted(id, second, ms, all[len(all)-1].Record.Values)
				gone.Record.Updated, gone.Record.Added = all[len(all)-1].Record.Updated, all[len(all)-1].Record.Added
			}
			all = append(all, gone)
			second, ms = second+2, 0
			if !rapid.Bool().Draw(t, "restored") {
				break
			}
			continue
		}
		all = append(all, deal(id, second, ms, values))
	}
	return all
}

func TestAnyOrderOfDeliveriesEndsInTheSameRow(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		m := open(t, url)
		next := 0
		rapid.Check(t, func(t *rapid.T) {
			next += 2
			right, other := fmt.Sprint(next), fmt.Sprint(next+1)
			changes := history(t, right)
			for _, c := range changes {
				if _, err := m.Apply(t.Context(), []mirror.Change{c}); err != nil {
					t.Fatal(err)
				}
			}
			again := slices.Concat(changes, rapid.SliceOfN(rapid.SampledFrom(changes), 0, 3).Draw(t, "again"))
			var mixed []mirror.Change
			for _, c := range rapid.Permutation(again).Draw(t, "order") {
				c.Record.ID = other
				c.Record.Values = copied(c.Record.Values)
				mixed = append(mixed, c)
			}
			for len(mixed) > 0 {
				n := rapid.IntRange(1, len(mixed)).Draw(t, "at once")
				if _, err := m.Apply(t.Context(), mixed[:n]); err != nil {
					t.Fatal(err)
				}
				mixed = mixed[n:]
			}
			all := stands(t, m, "deal", right, other)
			if !reflect.DeepEqual(all[right], all[other]) {
				t.Fatalf("in the right order %v\nin another        %v", all[right], all[other])
			}
		})
	})
}

func copied(values map[string]any) map[string]any {
	if values == nil {
		return nil
	}
	all := map[string]any{}
	for key, v := range values {
		all[key] = v
	}
	return all
}

// person 1 becomes part of person 2, which may then become part of person 3.
func mergeHalves(loser, survivor string, second int) (gone, kept mirror.Change) {
	at := noon.Add(time.Duration(second) * time.Second)
	gone = mirror.Change{Record: shape.Record{Object: "person", ID: loser, Deleted: true}, Action: core.Deleted, At: at, From: mirror.FromWebhook, MergedTo: survivor}
	kept = mirror.Change{Record: shape.Record{Object: "person", ID: survivor, Updated: at, Values: map[string]any{"name": "whole", "update_time": at.Format(time.RFC3339)}},
		Action: core.Updated, At: at, From: mirror.FromWebhook, MergedFrom: loser}
	return gone, kept
}

func TestAMergeMovesWhatRefersToTheLoserInAnyOrder(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		m := open(t, url)
		next := 10
		rapid.Check(t, func(t *rapid.T) {
			next += 10
			id := func(n int) string { return fmt.Sprint(next + n) }
			gone, kept := mergeHalves(id(1), id(2), 10)
			gone2, kept2 := mergeHalves(id(2), id(3), 20)
			project := mirror.Change{Record: shape.Record{Object: "project", ID: id(0), Updated: noon, Values: map[string]any{"person_ids": []any{json.Number(id(1)), json.Number(id(3))}}},
				Action: core.Added, At: noon, From: mirror.FromWebhook}
			all := []mirror.Change{
				deal(id(0), 1, 0, map[string]any{"person_id": json.Number(id(1))}), deal(id(4), 1, 0, map[string]any{"person_id": json.Number(id(2))}), project,
			}
			halves := [][]mirror.Change{{gone}, {kept}, {gone, kept}}
			all = append(all, rapid.SampledFrom(halves).Draw(t, "first")...)
			halves = [][]mirror.Change{{gone2}, {kept2}, {gone2, kept2}}
			all = append(all, rapid.SampledFrom(halves).Draw(t, "second")...)
			all = rapid.Permutation(all).Draw(t, "order")
			for len(all) > 0 {
				n := rapid.IntRange(1, len(all)).Draw(t, "at once")
				if _, err := m.Apply(t.Context(), all[:n]); err != nil {
					t.Fatal(err)
				}
				all = all[n:]
			}
			deals, err := m.Rows(t.Context(), "deal", []string{id(0), id(4)})
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range []int{0, 4} {
				if got := deals[id(n)].Values["person_id"]; got != json.Number(id(3)) {
					t.Errorf("deal %s is of person %v, want %s", id(n), got, id(3))
				}
			}
			projects, err := m.Rows(t.Context(), "project", []string{id(0)})
			if err != nil || !reflect.DeepEqual(projects[id(0)].Values["person_ids"], []any{json.Number(id(3))}) {
				t.Errorf("the project is %+v, %v", projects[id(0)], err)
			}
			persons, err := m.Rows(t.Context(), "person", []string{id(1), id(2), id(3)})
			if err != nil {
				t.Fatal(err)
			}
			if a, b := persons[id(1)], persons[id(2)]; a.MergedInto != id(2) || !a.Deleted || b.MergedInto != id(3) || !b.Deleted || persons[id(3)].Deleted {
				t.Errorf("the persons are %+v", persons)
			}
		})
	})
}

func TestTwoProcessesWriteTheSameRecords(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		processes := []*mirror.Mirror{open(t, url), open(t, url)}
		var wg sync.WaitGroup
		for p, m := range processes {
			wg.Go(func() {
				for i := range 40 {
					var changes []mirror.Change
					for id := range 5 {
						changes = append(changes, deal(fmt.Sprint(id+1), 1+i*2+p, 0, map[string]any{"title": fmt.Sprint(i*2 + p), fmt.Sprint("only_", p): "x"}))
					}
					if p == 1 {
						slices.Reverse(changes)
					}
					if _, err := m.Apply(t.Context(), changes); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		for id := range 5 {
			if got := row(t, processes[0], "deal", fmt.Sprint(id+1)); got.Values["title"] != "79" || got.Values["only_0"] != "x" || got.Values["only_1"] != "x" {
				t.Errorf("deal %d is %v", id+1, got.Values)
			}
		}
	})
}
