package store_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/coretest/testdb"
)

// rename is what a source does whose sender always speaks of deal 7.
func rename(ev *core.Event) error {
	ev.Action, ev.Object, ev.ObjectID, ev.Current = core.Updated, "deal", "7", json.RawMessage(`{"a":1}`)
	return nil
}

func TestWhatWasSaidOfAnEventIsReadBackWithIt(t *testing.T) {
	lead, id := "lead", `9 "\{},` // what PostgreSQL's arrays are made of
	tests := []struct {
		name string
		say  core.Amendment
		want string
	}{
		{"nothing", core.Amendment{}, `updated.deal 7 map[] {"a":1}`},
		{"labels", core.Amendment{Labels: map[string]string{"size": `{"large", é}`}}, `updated.deal 7 map[size:{"large", é}] {"a":1}`},
		{"names", core.Amendment{Object: &lead, ObjectID: &id}, `updated.lead 9 "\{}, map[] {"a":1}`},
		{"values", core.Amendment{Current: json.RawMessage(`{"b":"\u0000 <\\>","c":["x\"y"]}`)}, `updated.deal 7 map[] {"b":"\u0000 <\\>","c":["x\"y"]}`},
	}
	testdb.Each(t, func(t *testing.T, url string) {
		f := open(t, url, &intake{full: true})
		for i, test := range tests {
			listener := fmt.Sprint("l", i)
			ev := f.event("", listener)
			if err := rename(ev); err != nil {
				t.Fatal(err)
			}
			if _, err := ev.Amend(test.say); err != nil {
				t.Fatal(err)
			}
			f.commit(t, ev)
			d, _ := f.begin(t, listener)
			if err := d.Event.Restore(rename); err != nil {
				t.Fatal(err)
			}
			got := fmt.Sprintf("%s %s %v %s", d.Event.Type(), d.Event.ObjectID, d.Event.Labels, d.Event.Current)
			if got != test.want {
				t.Errorf("%s: read back as %s\nwant %s", test.name, got, test.want)
			}
			if d.Record != ev.Record() || d.Record == 0 {
				t.Errorf("%s: it is about record %d, want %d", test.name, d.Record, ev.Record())
			}
			row, _, err := f.Reader().Event(t.Context(), ev.ID)
			if err != nil || row.Labels != ev.LabelsText() || row.Overlay != ev.Overlay || row.Object != ev.Object {
				t.Errorf("%s: stored %+v, %v", test.name, row, err)
			}
		}
		for _, ev := range f.stored(t) {
			if ev.Overlay != "" {
				t.Error("a list reads what may be large")
			}
		}
	})
}

func TestOfAnEventThatIsNotStoredNothingThatWasSaidIsKept(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		f := open(t, url, &intake{})
		ev := f.event("key")
		ev.Plan.Store = false
		if _, err := ev.Amend(core.Amendment{Current: json.RawMessage(`{"canary":1}`)}); err != nil {
			t.Fatal(err)
		}
		f.commit(t, ev)
		row, _, err := f.Reader().Event(t.Context(), ev.ID)
		if err != nil || strings.Contains(row.Overlay, "canary") {
			t.Errorf("%+v, %v", row, err)
		}
	})
}

func TestTheRecordOfAChangedEventIsWhatItIsAboutNow(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		f := open(t, url, &intake{full: true})
		one, other := f.event("", "audit"), f.event("", "audit")
		for _, ev := range []*core.Event{one, other} {
			id := "merged-into-1"
			if _, err := ev.Amend(core.Amendment{ObjectID: &id}); err != nil {
				t.Fatal(err)
			}
			f.commit(t, ev)
		}
		plain := f.event("", "audit")
		f.commit(t, plain)
		var records []int64
		for _, p := range f.pending(t, "audit") {
			records = append(records, p.Record)
		}
		if len(records) != 3 || records[0] != records[1] || records[2] == records[0] || records[0] != one.Record() {
			t.Errorf("records %v", records)
		}
	})
}
