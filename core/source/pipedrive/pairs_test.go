package pipedrive_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/pipedrive/shape"
	"github.com/pipehook/pipehook/core/source/pipedrive"
)

// unequal is what the two versions can't tell alike, by object: what version 1 does not send, or sends as
// something that can't be made the same. docs/pipedrive.md has the same list. What version 1 sends beyond version 2
// is kept, and no list of it would be complete.
var unequal = map[string][]string{
	"deal":    {"channel", "channel_id", "origin", "origin_id", "is_archived", "archive_time"},
	"note":    {"project_id"},
	"user":    {"lang"},   // a number in version 1
	"product": {"prices"}, // other members
	// Of accounts with the feature, since May 2026.
	"organization": {"website", "linkedin", "industry", "annual_revenue", "employee_count"},
}

// silent are what version 2 need not report as changed; for a deal that is new it has no time of a change either.
var silent = []string{"update_time", "stage_change_time", "modified"}

func definitions(t testing.TB) *shape.Fields {
	t.Helper()
	text, err := os.ReadFile("testdata/pipedrive.fields.json")
	if err != nil {
		t.Fatal(err)
	}
	f, err := shape.ParseFields(text)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestBothVersionsOfOneChangeAreOneEvent(t *testing.T) {
	files, err := filepath.Glob("testdata/pairs/*.v1.json")
	if err != nil || len(files) < 30 {
		t.Fatal(len(files), err)
	}
	f := definitions(t)
	source := pipedrive.Source{Fields: func() *shape.Fields { return f }}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".v1.json"), func(t *testing.T) {
			one, two := pairEvent(t, source, file), pairEvent(t, source, strings.Replace(file, ".v1.", ".v2.", 1))
			compareEvents(t, one, two)
		})
	}
}

// compareEvents compares all that scripts see of the same change.
func compareEvents(t *testing.T, one, two *core.Event) {
	t.Helper()
	if one.Type() != two.Type() || one.ObjectID != two.ObjectID || one.Facts != two.Facts {
		t.Errorf("got %s %s %+v, want %s %s %+v", one.Type(), one.ObjectID, one.Facts, two.Type(), two.ObjectID, two.Facts)
	}
	if got, want := one.OccurredAt.Truncate(time.Millisecond), two.OccurredAt; !got.Equal(want) {
		t.Errorf("occurred at %s, want %s", got, want)
	}
	comparePart(t, "current", one, one.Current, two.Current)
	if !one.IsMerge() {
		comparePart(t, "previous", one, one.Previous, two.Previous)
		comparePart(t, "previous fields", one, one.PreviousFields, two.PreviousFields)
	}
	comparePart(t, "fields", one, one.Fields, two.Fields)
	compareChanged(t, one, two)
}

func pairEvent(t *testing.T, source pipedrive.Source, file string) *core.Event {
	t.Helper()
	body, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	ev := &core.Event{Body: body}
	if err := source.Name(ev); err != nil || ev.Flaw != "" {
		t.Fatal(err, ev.Flaw)
	}
	return ev
}

func comparePart(t *testing.T, name string, ev *core.Event, got, want json.RawMessage) {
	t.Helper()
	if (got == nil) != (want == nil) {
		t.Errorf("%s is %s, want %s", name, got, want)
		return
	}
	have := object(t, got)
	for key, value := range object(t, want) {
		switch is, carried := have[key]; {
		case slices.Contains(unequal[ev.Object], key), key == "update_time" && value == nil:
		case !carried || !equal(is, value):
			t.Errorf("%s.%s is %v, want %v", name, key, is, value)
		}
	}
}

// equal takes what is not set for an empty list: version 1 has no lists of labels.
func equal(a, b any) bool {
	list, _ := b.([]any)
	return reflect.DeepEqual(a, b) || a == nil && b != nil && reflect.TypeOf(b) == reflect.TypeOf(list) && len(list) == 0
}

func object(t *testing.T, text json.RawMessage) map[string]any {
	t.Helper()
	if text == nil {
		return nil
	}
	var all map[string]any
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

func compareChanged(t *testing.T, one, two *core.Event) {
	t.Helper()
	var keys []string
	for key := range object(t, two.Current) {
		keys = append(keys, key)
	}
	custom, _ := object(t, two.Current)["custom_fields"].(map[string]any)
	for key := range custom {
		keys = append(keys, "custom_fields."+key)
	}
	for key := range object(t, two.Fields) {
		keys = append(keys, "fields."+key)
	}
	for _, key := range keys {
		if slices.Contains(unequal[one.Object], key) || slices.Contains(silent, key) || one.IsMerge() {
			continue
		}
		if got, want := one.Changed(key), two.Changed(key); got != want {
			t.Errorf("changed(%q) is %v, want %v", key, got, want)
		}
	}
}
