package mirror_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/coretest/testdb"
	"github.com/pipehook/pipehook/core/mirror"
	"github.com/pipehook/pipehook/core/pipedrive/shape"
)

var noon = time.Date(2026, 5, 27, 12, 0, 0, 0, time.UTC)

func open(t testing.TB, url string, objects ...string) *mirror.Mirror {
	t.Helper()
	m, err := mirror.Open(t.Context(), mirror.Options{URL: url, Objects: objects})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// deal is a change of a deal as a webhook tells it, so many seconds after noon, and so many milliseconds after that.
func deal(id string, second, ms int, values map[string]any) mirror.Change {
	updated := noon.Add(time.Duration(second) * time.Second)
	all := map[string]any{"id": json.Number(id), "update_time": updated.Format(time.RFC3339)}
	for key, v := range values {
		all[key] = v
	}
	return mirror.Change{
		Record: shape.Record{Object: "deal", ID: id, Values: all, Added: noon.Add(-time.Hour), Updated: updated},
		Action: core.Updated, At: updated.Add(time.Duration(ms) * time.Millisecond), From: mirror.FromWebhook, Event: "e",
	}
}

func apply(t testing.TB, m *mirror.Mirror, changes ...mirror.Change) []mirror.Result {
	t.Helper()
	results, err := m.Apply(t.Context(), changes)
	if err != nil {
		t.Fatal(err)
	}
	return results
}

func row(t testing.TB, m *mirror.Mirror, object, id string) mirror.Row {
	t.Helper()
	rows, err := m.Rows(t.Context(), object, []string{id})
	if err != nil {
		t.Fatal(err)
	}
	return rows[id]
}

func TestAChangeIsWrittenAndReadBack(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		m := open(t, url)
		c := deal("7", 1, 250, map[string]any{"title": "A\x00B", "value": json.Number("4200.50"), "person_id": json.Number("3"), "label_ids": []any{json.Number("1")}})
		if got := apply(t, m, c)[0]; got != mirror.Applied {
			t.Errorf("got %v", got)
		}
		got := row(t, m, "deal", "7")
		if got.Values["title"] != "A\uFFFDB" || !got.Updated.Equal(c.Record.Updated) || !got.At.Equal(c.At) || !got.Added.Equal(c.Record.Added) || got.From != "webhook" || got.Event != "e" || got.Deleted {
			t.Errorf("got %+v", got)
		}
		ids, err := m.IDs(t.Context(), "deal", "", 10)
		if err != nil || len(ids) != 1 || ids[0] != "7" {
			t.Errorf("ids: %v, %v", ids, err)
		}
		if got := apply(t, m, c)[0]; got != mirror.Same {
			t.Errorf("again: got %v", got)
		}
	})
}

func TestStateIsKept(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		m := open(t, url)
		if got, err := m.State(t.Context(), "a"); got != nil || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
		for _, value := range [][]byte{{1, 0, 2}, {}, nil} {
			if err := m.SetState(t.Context(), "a", value); err != nil {
				t.Fatal(err)
			}
			if got, err := m.State(t.Context(), "a"); string(got) != string(value) || err != nil {
				t.Errorf("got %q, %v, want %q", got, err, value)
			}
		}
	})
}
