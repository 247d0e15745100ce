package pipedrive_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/samples"
	"github.com/pipehook/pipehook/core/source/pipedrive"
)

// body2 is version 2 with these members in meta.
func body2(meta string) []byte {
	return fmt.Appendf(nil, `{"data":{},"meta":{"version":"2.0",%s}}`, meta)
}

func TestWhatCouldNotBeStoredIsNoNameAndAFlaw(t *testing.T) {
	const short, id = " must be short printable text", "the object's id must be a number or short printable text"
	tests := []struct{ name, meta, typ, id, flaw string }{
		{"a NUL in the id", `"action":"change","entity":"deal","entity_id":"a\u0000b"`, "updated.deal", "", id},
		{"a NUL in the action", `"action":"a\u0000","entity":"deal","entity_id":"1"`, "unknown.deal", "1", "meta.action" + short},
		{"broken UTF-8 in the entity", "\"action\":\"change\",\"entity\":\"d\xff\",\"entity_id\":\"1\"", "updated.unknown", "1", "meta.entity" + short},
		{"a line break in the entity", `"action":"change","entity":"a\nb","entity_id":"1"`, "updated.unknown", "1", "meta.entity" + short},
		{"a delete character in the entity", "\"action\":\"change\",\"entity\":\"a\x7f\",\"entity_id\":\"1\"", "updated.unknown", "1", "meta.entity" + short},
		{"an entity without end", `"action":"change","entity":"` + strings.Repeat("x", 256) + `","entity_id":"1"`, "updated.unknown", "1", "meta.entity" + short},
		{"an object for an action", `"action":{"a":1},"entity":"deal","entity_id":"1"`, "unknown.deal", "1", "meta.action must be text"},
		{"an object for an id", `"action":"change","entity":"deal","entity_id":{}`, "updated.deal", "", id},
		{"half a surrogate pair, as parsers read it", `"action":"change","entity":"deal","entity_id":"\ud800"`, "updated.deal", "\ufffd", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ev := name(t, body2(test.meta))
			if ev.Type() != test.typ || ev.ObjectID != test.id || ev.Flaw != test.flaw {
				t.Errorf("%q %q flaw %q, want %q %q flaw %q", ev.Type(), ev.ObjectID, ev.Flaw, test.typ, test.id, test.flaw)
			}
		})
	}
}

func TestKeysThatParsersReadDifferentlyAreAFlaw(t *testing.T) {
	rest := `"action":"change","entity":"deal","entity_id":"1"`
	for body, want := range map[string]string{
		string(body2(rest + `,"action":"delete"`)):                      "meta.action stands twice",
		string(body2(rest + `,"\u0061ction":"delete"`)):                 "meta.action stands twice",
		string(body2(rest + `,"Action":"delete"`)):                      "meta.action is also written in other letters",
		string(body2(rest + `,"u\u017fer_id":"5"`)):                     "meta.user_id is also written in other letters",
		string(body2(rest + `,"host":"a","host":"b"`)):                  "a key stands twice in meta",
		`{"x":1,"x":2,"data":{},"meta":{"version":"2.0",` + rest + `}}`: "a key stands twice",
		`{"data":{},"data":{},"meta":{"version":"2.0",` + rest + `}}`:   "data stands twice",
		`{"Data":{},"data":{},"meta":{"version":"2.0",` + rest + `}}`:   "data is also written in other letters",
		string(body2(rest + `,"Host":"a","anything_new":1`)):            "",
	} {
		if got := name(t, []byte(body)).Flaw; got != want {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
	}
}

func TestArraysWithoutMembersStandForNothing(t *testing.T) {
	ev := name(t, []byte(`{"data":{"id":1},"previous":[],"meta":{"version":"2.0","action":"change","entity":"deal"}}`))
	if ev.Flaw != "" || ev.ObjectID != "1" {
		t.Errorf("flaw %q, id %q", ev.Flaw, ev.ObjectID)
	}
}

func TestTimesAndAttempts(t *testing.T) {
	tests := []struct {
		name, meta, want string
		attempt          int
	}{
		{"milliseconds", `"timestamp":"2026-05-27T06:54:41.426Z","attempt":4`, "2026-05-27T06:54:41.426Z", 4},
		{"another zone", `"timestamp":"2026-05-27T08:54:41+02:00"`, "2026-05-27T06:54:41Z", 0},
		{"a space instead of the T", `"timestamp":"2026-05-27 06:54:41"`, "2026-05-27T06:54:41Z", 0},
		{"unix seconds", `"timestamp":1669304802`, "2022-11-24T15:46:42Z", 0},
		{"unix seconds as text", `"timestamp":"1669304802"`, "2022-11-24T15:46:42Z", 0},
		{"a fraction of a second", `"timestamp":1669304802.5`, "2022-11-24T15:46:42.5Z", 0},
		{"a number beyond every time", `"timestamp":99999999999999999,"attempt":1e300`, "0001-01-01T00:00:00Z", 1_000_000},
		{"a number that is none", `"timestamp":1e400,"attempt":-5`, "0001-01-01T00:00:00Z", 0},
		{"a year before Pipedrive", `"timestamp":"0001-01-01T00:00:00Z","attempt":"2"`, "0001-01-01T00:00:00Z", 2},
		{"no time", `"timestamp":null,"attempt":null`, "0001-01-01T00:00:00Z", 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ev := name(t, body2(test.meta))
			if got := ev.OccurredAt.Format(time.RFC3339Nano); got != test.want || ev.Attempt != test.attempt {
				t.Errorf("%s attempt %d, want %s attempt %d", got, ev.Attempt, test.want, test.attempt)
			}
		})
	}
	ev := name(t, []byte(`{"v":1,"retry":9223372036854775807,"meta":{"timestamp_micro":9223372036854775807}}`))
	if !ev.OccurredAt.IsZero() || ev.Attempt != 1_000_001 {
		t.Errorf("version 1: %v attempt %d", ev.OccurredAt, ev.Attempt)
	}
}

func TestTheVersionIsKnownByMeta(t *testing.T) {
	for meta, want := range map[string]string{
		`{"version":"2.0"}`: "2.0", `{"version":2}`: "2.0", `{"version":"2.1"}`: "2.1", `{"entity":"deal"}`: "2.0", `{"version":null,"entity":"deal"}`: "2.0",
		`{"version":"1.0"}`: "1.0", `{"v":1}`: "1.0", `{}`: "1.0",
	} {
		if got := name(t, []byte(`{"meta":`+meta+`}`)).Version; got != want {
			t.Errorf("%s: %q, want %q", meta, got, want)
		}
	}
}

func TestAMalformedBodyIsToldWhereNotWhat(t *testing.T) {
	for body, want := range map[string]string{
		`{"meta":{"password":"hunter2"`: "the body is not valid JSON at byte 29 of 29",
		`{"a":hunter2}`:                 "the body is not valid JSON at byte 6 of 13",
		`{} hunter2`:                    "the body is not valid JSON at byte 4 of 10",
		`["hunter2"]`:                   "the body is not a JSON object",
	} {
		err := (pipedrive.Source{}).Name(&core.Event{Body: []byte(body)})
		if err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", body, err, want)
		}
	}
}

// The bound is a hundred times what it takes, so that a busy machine keeps it.
func TestHostileBodiesAreCheap(t *testing.T) {
	for name, body := range map[string]string{
		"brackets": strings.Repeat("[", 1<<20), "objects": strings.Repeat(`{"a":`, 1<<18),
		"a key many times": `{` + strings.Repeat(`"a":1,`, 170_000) + `"b":1}`,
		"quotes":           strings.Repeat(`"`, 1<<20), "backslashes": `{"` + strings.Repeat(`\\`, 1<<19) + `":1}`,
		"a long number": `{"meta":{"timestamp":` + strings.Repeat("9", 1<<20) + `}}`,
	} {
		start := time.Now()
		_ = (pipedrive.Source{}).Name(&core.Event{Body: []byte(body)})
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("%s took %s", name, took)
		}
	}
}

func TestThePartsAreTheBodyItself(t *testing.T) {
	for _, sample := range samples.Names() {
		body, _ := samples.Body(sample)
		ev := name(t, body)
		for _, part := range [][]byte{ev.Current, ev.Previous, ev.Meta} {
			if len(part) > 0 && ev.Version != "1.0" && !aliases(body, part) {
				t.Errorf("%s: a part is a copy", sample)
			}
			if ev.Version != "1.0" && cap(part) != len(part) {
				t.Errorf("%s: appending to a part would write into the body", sample)
			}
		}
	}
}

func aliases(body, part []byte) bool {
	for i := range body {
		if &body[i] == &part[0] {
			return true
		}
	}
	return false
}

func FuzzFlaw(f *testing.F) {
	for _, seed := range []string{v1, v2, v2User, `{"v":1,"event":"a.b","current":[{"id":1}],"meta":null}`, `{"META":{},"meta":{"id":"\u0000"}}`, oddID("{}"), oddID("[]")} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		ev := &core.Event{Body: body}
		if (pipedrive.Source{}).Name(ev) != nil {
			return
		}
		again := &core.Event{Body: bytes.Clone(body)}
		if err := (pipedrive.Source{}).Name(again); err != nil || !bytes.Equal(ev.Key, again.Key) || ev.Flaw != again.Flaw {
			t.Errorf("named differently the second time: %v", err)
		}
		for _, s := range []string{ev.Action, ev.Object, ev.ObjectID, ev.Version, ev.Flaw, ev.Facts.UserID, ev.Facts.CompanyID, ev.Facts.ChangeSource} {
			if !utf8.ValidString(s) || strings.ContainsRune(s, 0) || len(s) > 255 {
				t.Errorf("%q can't be stored", s)
			}
		}
		if _, err := json.Marshal(ev.OccurredAt); err != nil || ev.Attempt < 0 || len(ev.Key) != 24 {
			t.Errorf("time %v, attempt %d, key %x", ev.OccurredAt, ev.Attempt, ev.Key)
		}
		if ev.Flaw == "" && (ev.Action == core.Unknown && !bytes.Contains(body, []byte("unknown")) || ev.ObjectID == "") {
			t.Errorf("passes without a name: %s %q", ev.Type(), ev.ObjectID)
		}
	})
}
