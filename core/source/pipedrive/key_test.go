package pipedrive_test

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/source/pipedrive"
)

const v2 = `{"data":{"id":8,"title":"a"},"previous":{"title":"b"},"meta":{"action":"change","entity":"deal","entity_id":"8","id":"e1","company_id":"1","webhook_id":"2","correlation_id":"c","version":"2.0","timestamp":"2026-06-01T10:00:00.400Z","attempt":1}}`

const v1 = `{"v":1,"meta":{"action":"updated","object":"deal","id":8,"company_id":1,"webhook_id":"2","timestamp":1680840600,"timestamp_micro":1680840600123456},"current":{"id":8},"previous":{"id":8},"event":"updated.deal","retry":0}`

const v2User = `{"data":{"id":"7","name":"a"},"previous":{"name":"b"},"meta":{"action":"change","entity":"user","entity_id":"7","id":"7","version":"2.0","timestamp":1669304802,"attempt":1}}`

func TestOneOccurrenceHasOneKey(t *testing.T) {
	tests := []struct {
		name, body, old, new string
		same                 bool
	}{
		{"version 2, another attempt", v2, `"attempt":1`, `"attempt":3`, true},
		{"version 2, the operation's correlation id", v2, `"correlation_id":"c"`, `"correlation_id":"d"`, true},
		{"version 2, another event id", v2, `"id":"e1"`, `"id":"e2"`, false},
		{"version 2, another subscription", v2, `"webhook_id":"2"`, `"webhook_id":"3"`, false},
		{"version 2, another company", v2, `"company_id":"1"`, `"company_id":"9"`, false},
		{"version 2, another action", v2, `"change"`, `"delete"`, false},
		{"version 2, a word without a name of its own", v2, `"change"`, `["x"]`, false},
		{"version 2, a millisecond later", v2, `.400Z`, `.401Z`, false},
		{"version 2, text that moves from one field to the next", v2, `"company_id":"1","webhook_id":"2"`, `"company_id":"12","webhook_id":""`, false},
		{"version 2, ids that can't be stored", v2, `"entity_id":"8"`, `"entity_id":"\u0000"`, false},
		{"version 1, another retry", v1, `"retry":0`, `"retry":2`, true},
		{"version 1, the event that came with the creation", v1, `"updated`, `"added`, false},
		{"version 1, another record", v1, `"id":8,"company_id"`, `"id":9,"company_id"`, false},
		{"version 1, a microsecond later", v1, `123456}`, `123457}`, false},
		{"a user, another attempt", v2User, `"attempt":1`, `"attempt":2`, true},
		{"a user who changes twice in a second", v2User, `"name":"a"`, `"name":"c"`, false},
		{"a user, without any time", strings.Replace(v2User, `"timestamp":1669304802,`, "", 1), `"name":"a"`, `"name":"c"`, false},
		{"a user, without any time, another attempt", strings.Replace(v2User, `"timestamp":1669304802,`, "", 1), `"attempt":1`, `"attempt":2`, true},
		{"no event id and a time in seconds", strings.Replace(v2, `"id":"e1",`, "", 1), `"title":"a"`, `"title":"c"`, false},
		{"version 1 in seconds", strings.Replace(v1, `,"timestamp_micro":1680840600123456`, "", 1), `"current":{"id":8}`, `"current":{"id":8,"x":1}`, false},
		{"version 1 in seconds, another retry", strings.Replace(v1, `,"timestamp_micro":1680840600123456`, "", 1), `"retry":0`, `"retry":1`, true},
		{"no id and no time, so that a repetition counts as new", `{"meta":{"version":"2.0","attempt":1}}`, `"attempt":1`, `"attempt":2`, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			body := test.body
			if test.name == "no event id and a time in seconds" {
				body = strings.Replace(body, ".400Z", "Z", 1)
			}
			other := strings.ReplaceAll(body, test.old, test.new)
			if other == body {
				t.Fatal("the body does not have what should be replaced")
			}
			one, two := name(t, []byte(body)), name(t, []byte(other))
			if got := bytes.Equal(one.Key, two.Key); got != test.same {
				t.Errorf("same key: %v, want %v", got, test.same)
			}
		})
	}
}

func TestAKeyBeginsWithItsTime(t *testing.T) {
	for body, want := range map[string]uint64{v2: 1780308000400, v1: 1680840600123, v2User: 1669304802000, `{}`: 0} {
		ev := name(t, []byte(body))
		if len(ev.Key) != 24 || binary.BigEndian.Uint64(ev.Key) != want {
			t.Errorf("%s: key %x, want it to begin with %d", body, ev.Key, want)
		}
	}
}

func TestTheSurvivorOfAMergeIsNotTheLoser(t *testing.T) {
	survivor := name(t, []byte(strings.Replace(v2, `"attempt"`, `"merged_from_id":"9","attempt"`, 1)))
	loser := name(t, []byte(strings.Replace(strings.Replace(v2, `"attempt"`, `"merged_to_id":"8","attempt"`, 1), `"change"`, `"delete"`, 1)))
	if survivor.Action != core.Merged || survivor.AlsoAction != core.Updated || loser.Action != core.Deleted || loser.AlsoAction != "" {
		t.Errorf("survivor %s, also %q; loser %s, also %q", survivor.Action, survivor.AlsoAction, loser.Action, loser.AlsoAction)
	}
}

func TestAnEventOfAComparisonHasItsStateAsItsKey(t *testing.T) {
	body := []byte(`{"data":{"id":1,"update_time":"2026-05-27T12:00:00Z"},"previous":{},"meta":{"action":"change","entity":"deal","entity_id":"1","id":"x","company_id":"7","version":"2.0","timestamp":"2026-05-27T12:00:00.000Z"}}`)
	found, sent := core.Event{Origin: core.OriginReconcile, Body: body}, core.Event{Body: body}
	for _, ev := range []*core.Event{&found, &sent} {
		if err := (pipedrive.Source{States: true}).Name(ev); err != nil {
			t.Fatal(err)
		}
	}
	if found.Key == nil || string(found.Key) != string(sent.State) || string(sent.Key) == string(sent.State) {
		t.Errorf("the keys are %x and %x, the states %x and %x", found.Key, sent.Key, found.State, sent.State)
	}
}

// A webhook that comes after a comparison has told of its state is a duplicate: of that state and of no other.
func TestAStateIsOfWhatAnEventTellsAndOfNothingElse(t *testing.T) {
	state := func(action, data, previous, meta string) string {
		ev := core.Event{Body: []byte(`{"data":` + data + `,"previous":` + previous + `,"meta":{"action":"` + action + `","entity":"person","entity_id":"1","id":"x","company_id":"7","version":"2.0"` + meta + `}}`)}
		if err := (pipedrive.Source{States: true}).Name(&ev); err != nil {
			t.Fatal(err)
		}
		return string(ev.State)
	}
	const first, second = `{"id":1,"update_time":"2026-05-27T12:00:00Z"}`, `{"id":1,"update_time":"2026-05-27T13:00:00Z"}`
	deleted := state("delete", "null", first, "")
	if deleted == "" || deleted == state("delete", "null", second, "") {
		t.Error("a deletion after a restoration is in the state of the first one")
	}
	if deleted != state("delete", "null", `{"id":1,"name":"a","update_time":"2026-05-27T12:00:00.400Z"}`, "") {
		t.Error("one deletion has two states")
	}
	if state("delete", "null", first, `,"merged_to_id":"2"`) != "" || state("change", first, `{}`, `,"merged_from_id":"2"`) != "" {
		t.Error("a merge is in a state that others tell of too")
	}
}
