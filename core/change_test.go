package core_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/pipehook/pipehook/core"
)

func TestAFieldHasChangedWhenBothSidesSaySo(t *testing.T) {
	tests := []struct {
		name, previous, current, field string
		want                           bool
	}{
		{"another value", `{"a":1}`, `{"a":2}`, "a", true},
		{"the same value", `{"a":1}`, `{"a":1}`, "a", false},
		{"the same value in another order", `{"a":{"x":1,"y":2}}`, `{"a":{"y":2,"x":1}}`, "a", false},
		{"not reported", `{"b":1}`, `{"a":2}`, "a", false},
		{"was null", `{"a":null}`, `{"a":2}`, "a", true},
		{"is gone", `{"a":1}`, `{}`, "a", true},
		{"a new record", ``, `{"a":2}`, "a", false},
		{"a deleted record", `{"a":2}`, ``, "a", false},
		{"nested", `{"c":{"x":1}}`, `{"c":{"x":2,"y":3}}`, "c.x", true},
		{"nested, not reported", `{"c":{"x":1}}`, `{"c":{"x":2,"y":3}}`, "c.y", false},
		{"a name with a dot wins over nesting", `{"c.x":1,"c":{"x":1}}`, `{"c.x":2,"c":{"x":1}}`, "c.x", true},
		{"digits beyond a float", `{"a":9007199254740993}`, `{"a":9007199254740992}`, "a", true},
		{"a name inside a text", `{"b":"\"a\":1","a":1}`, `{"a":2}`, "a", true},
		{"an escaped name", `{"\u0061":1}`, `{"a":2}`, "a", true},
		{"the last of two equal names", `{"a":1,"a":5}`, `{"a":1}`, "a", true},
		{"white space", "{ \"x\" : [1, {\"a\":3}] ,\n\"a\" : 1 }", `{"a":2}`, "a", true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ev := core.Event{Previous: raw(test.previous), Current: raw(test.current)}
			if got := ev.Changed(test.field); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func raw(s string) json.RawMessage {
	if s == "" {
		return nil
	}
	return json.RawMessage(s)
}

func TestChangesListsWhatChanged(t *testing.T) {
	ev := core.Event{Previous: raw(`{"a":1,"b":2,"c":null}`), Current: raw(`{"a":1,"b":3,"d":4}`)}
	got := ev.Changes()
	if names := slices.Sorted(maps.Keys(got)); strings.Join(names, "") != "bc" || string(got["b"].Was) != "2" || string(got["b"].Is) != "3" || got["c"].Is != nil {
		t.Errorf("got %+v", got)
	}
}

func FuzzChangedFindsWhatAParserFinds(f *testing.F) {
	f.Add(`{"a":1,"b":{"c":"}"}}`, "a")
	f.Add(`{"a\\":[1,"]"],"b":-1.5e3 , "c":true}`, "c")
	f.Fuzz(func(t *testing.T, doc, field string) {
		var all map[string]json.RawMessage
		if strings.ContainsAny(field, ".") || json.Unmarshal([]byte(doc), &all) != nil || all == nil || !json.Valid([]byte(doc)) {
			return
		}
		if strings.ToValidUTF8(doc, "") != doc || strings.Contains(doc, `\u`) || strings.ToValidUTF8(field, "") != field {
			return // the parser replaces what is broken
		}
		value, ok := all[field]
		ev := core.Event{Previous: raw(doc), Current: raw(`{}`)}
		if got := ev.Changed(field); got != (ok && value != nil) {
			t.Errorf("%q has %q: %v, want %v", doc, field, got, ok)
		}
	})
}
