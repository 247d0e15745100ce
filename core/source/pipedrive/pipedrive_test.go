package pipedrive_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/samples"
	"github.com/pipehook/pipehook/core/source/pipedrive"
)

func name(t testing.TB, body []byte) *core.Event {
	t.Helper()
	ev := &core.Event{Body: body}
	if err := (pipedrive.Source{}).Name(ev); err != nil {
		t.Fatal(err)
	}
	return ev
}

// want is what a sample must become. current and previous: + an object, - nothing.
var want = map[string]struct {
	action, object, id, version string
	current, previous           byte
	user, company, occurred     string
}{
	"django_pipedrive-v1-added-deal":                  {"added", "deal", "9", "1.0", '+', '-', "2428657", "1689563", "2017-04-20T13:40:25Z"},
	"django_pipedrive-v1-added-note":                  {"added", "note", "995", "1.0", '+', '-', "2428657", "1689563", "2017-04-20T11:28:01Z"},
	"django_pipedrive-v1-added-stage":                 {"added", "stage", "6", "1.0", '+', '-', "2428657", "1689563", "2017-04-20T18:14:01Z"},
	"django_pipedrive-v1-deleted-organization":        {"deleted", "organization", "997", "1.0", '-', '+', "2428657", "1689563", "2017-04-20T01:55:08Z"},
	"django_pipedrive-v1-merged-organization":         {"merged", "organization", "996", "1.0", '+', '+', "2428657", "1689563", "2017-04-20T02:14:23Z"},
	"django_pipedrive-v1-updated-person-customfields": {"updated", "person", "15", "1.0", '+', '+', "2428657", "1689563", "2017-04-23T22:43:01Z"},
	"django_pipedrive-v1-updated-pipeline":            {"updated", "pipeline", "1", "1.0", '+', '+', "2428657", "1689563", "2017-04-20T16:12:24.018Z"},
	"hookdeck-v1-added-activity":                      {"added", "activity", "2", "1.0", '+', '-', "14542087", "11149162", "2023-04-07T04:23:42Z"},
	"hookdeck-v1-added-deal":                          {"added", "deal", "1", "1.0", '+', '-', "14542087", "11149162", "2023-04-07T04:10:00Z"},
	"hookdeck-v1-added-organization":                  {"added", "organization", "2", "1.0", '+', '-', "14542087", "11149162", "2023-04-07T04:08:30Z"},
	"hookdeck-v1-added-person":                        {"added", "person", "3", "1.0", '+', '-', "14542087", "11149162", "2023-04-07T04:08:31Z"},
	"hookdeck-v1-added-product":                       {"added", "product", "1", "1.0", '+', '-', "14542087", "11149162", "2023-04-07T04:19:24Z"},
	"hookdeck-v1-deleted-activity":                    {"deleted", "activity", "2", "1.0", '-', '+', "14542087", "11149162", "2023-04-07T04:23:52Z"},
	"hookdeck-v1-deleted-person":                      {"deleted", "person", "2", "1.0", '-', '+', "14542087", "11149162", "2023-04-07T04:22:19Z"},
	"hookdeck-v1-updated-activity":                    {"updated", "activity", "1", "1.0", '+', '+', "14542087", "11149162", "2023-04-07T04:23:39Z"},
	"hookdeck-v1-updated-deal":                        {"updated", "deal", "1", "1.0", '+', '+', "14542087", "11149162", "2023-04-07T04:10:00Z"},
	"hookdeck-v1-updated-organization":                {"updated", "organization", "2", "1.0", '+', '+', "14542087", "11149162", "2023-04-07T04:23:52Z"},
	"hookdeck-v1-updated-person":                      {"updated", "person", "3", "1.0", '+', '+', "14542087", "11149162", "2023-04-07T04:23:52Z"},
	"hookdeck-v1-updated-product":                     {"updated", "product", "1", "1.0", '+', '+', "14542087", "11149162", "2023-04-07T04:19:25Z"},
	"made-up-v2-change-deal-all-customfield-types":    {"updated", "deal", "8", "2.0", '+', '+', "12415231", "8087566", "2026-06-01T10:00:00.3Z"},
	"made-up-v2-change-deal-stage":                    {"updated", "deal", "8", "2.0", '+', '+', "12415231", "8087566", "2026-06-01T10:00:00.4Z"},
	"made-up-v2-change-person-merged":                 {"merged", "person", "8", "2.0", '+', '+', "12415231", "8087566", "2026-06-01T10:00:00.2Z"},
	"made-up-v2-change-product-legacy-times":          {"updated", "product", "1", "2.0", '+', '+', "123456", "12345", "2022-11-24T15:32:46Z"},
	"made-up-v2-create-deal_product":                  {"added", "deal_product", "3", "2.0", '+', '-', "12415231", "8087566", "2026-06-01T10:00:00.5Z"},
	"made-up-v2-delete-person-merged":                 {"deleted", "person", "9", "2.0", '-', '+', "12415231", "8087566", "2026-06-01T10:00:00.1Z"},
	"pipedream-v2-change-lead":                        {"updated", "lead", "123456789-1234-1234-1234-123456789012", "2.0", '+', '+', "12345678", "12345678", "2025-06-19T16:07:36.754Z"},
	"pipedrive_docs-v2-change-activity":               {"updated", "activity", "2", "2.0", '+', '+', "12415231", "8087566", "2022-11-24T15:28:13.375Z"},
	"pipedrive_docs-v2-change-deal-customfield":       {"updated", "deal", "8", "2.0", '+', '+', "12415231", "8087566", "2022-11-24T15:11:55.724Z"},
	"pipedrive_docs-v2-change-note":                   {"updated", "note", "1", "2.0", '+', '+', "12415231", "8087566", "2022-11-25T15:45:11.73Z"},
	"pipedrive_docs-v2-change-organization":           {"updated", "organization", "1", "2.0", '+', '+', "12415231", "8087566", "2022-11-24T15:21:23.152Z"},
	"pipedrive_docs-v2-change-person":                 {"updated", "person", "8", "2.0", '+', '+', "12415231", "8087566", "2022-11-24T15:18:35.616Z"},
	"pipedrive_docs-v2-change-pipeline":               {"updated", "pipeline", "9", "2.0", '+', '+', "123456", "12345", "2024-09-02T10:28:29.173Z"},
	"pipedrive_docs-v2-change-product":                {"updated", "product", "1", "2.0", '+', '+', "123456", "12345", "2022-11-24T15:32:46.36Z"},
	"pipedrive_docs-v2-change-user-deactivated":       {"updated", "user", "15702024", "2.0", '+', '+', "12415231", "8087566", "2022-11-24T15:46:42Z"},
	"pipedrive_docs-v2-create-activity":               {"added", "activity", "2", "2.0", '+', '-', "12415231", "8087566", "2022-11-24T15:25:44.461Z"},
	"pipedrive_docs-v2-create-deal":                   {"added", "deal", "8", "2.0", '+', '-', "12415231", "8087566", "2022-11-24T13:18:56.089Z"},
	"pipedrive_docs-v2-create-lead":                   {"added", "lead", "b1810230-6c0d-11ed-9826-a53d0eb706a5", "2.0", '+', '-', "12415231", "8087566", "2022-11-24T15:35:58.772Z"},
	"pipedrive_docs-v2-create-organization":           {"added", "organization", "1", "2.0", '+', '-', "12415231", "8087566", "2022-11-24T13:18:55.315Z"},
	"pipedrive_docs-v2-create-person":                 {"added", "person", "8", "2.0", '+', '-', "12415231", "8087566", "2022-11-24T13:18:55.665Z"},
	"pipedrive_docs-v2-delete-activity":               {"deleted", "activity", "2", "2.0", '-', '+', "12415231", "8087566", "2022-11-24T15:29:10.654Z"},
	"pipedrive_docs-v2-delete-lead":                   {"deleted", "lead", "b1810230-6c0d-11ed-9826-a53d0eb706a5", "2.0", '-', '+', "12415231", "8087566", "2022-11-24T15:37:54.538Z"},
	"pipedrive_docs-v2-delete-organization":           {"deleted", "organization", "1", "2.0", '-', '+', "12415231", "8087566", "2022-11-24T15:22:17.705Z"},
	"pipedrive_docs-v2-delete-person":                 {"deleted", "person", "8", "2.0", '-', '+', "12415231", "8087566", "2022-11-24T15:19:45.149Z"},
	"pipedrive_docs-v2-delete-stage":                  {"deleted", "stage", "48", "2.0", '-', '+', "123456", "12345", "2024-09-02T10:37:51.404Z"},
}

func TestEverySampleIsNamed(t *testing.T) {
	keys := map[string]string{}
	for _, sample := range samples.Names() {
		t.Run(sample, func(t *testing.T) {
			want, ok := want[sample]
			if !ok {
				t.Fatal("the table does not know it")
			}
			body, _ := samples.Body(sample)
			ev := name(t, body)
			if ev.Action != want.action || ev.Object != want.object || ev.ObjectID != want.id || ev.Version != want.version {
				t.Errorf("%s %s version %s, want %+v", ev.Type(), ev.ObjectID, ev.Version, want)
			}
			if ev.Facts.UserID != want.user || ev.Facts.CompanyID != want.company {
				t.Errorf("facts %+v, want %+v", ev.Facts, want)
			}
			if got := ev.OccurredAt.Truncate(time.Millisecond).Format(time.RFC3339Nano); !strings.HasPrefix(got, strings.TrimSuffix(want.occurred, "Z")) {
				t.Errorf("occurred %s, want %s", got, want.occurred)
			}
			checkParts(t, body, ev, want.current, want.previous)
			if ev.Flaw != "" {
				t.Errorf("it has a flaw: %s", ev.Flaw)
			}
			if other := keys[string(ev.Key)]; other != "" {
				t.Errorf("its key is that of %s", other)
			}
			keys[string(ev.Key)] = sample
		})
	}
}

func checkParts(t *testing.T, body []byte, ev *core.Event, current, previous byte) {
	t.Helper()
	var all map[string]json.RawMessage
	if err := json.Unmarshal(body, &all); err != nil {
		t.Fatal(err)
	}
	now := all["current"]
	if v2, ok := all["data"]; ok {
		now = v2
	}
	for _, part := range []struct {
		name      string
		got, sent []byte
		want      byte
	}{{"current", ev.Current, now, current}, {"previous", ev.Previous, all["previous"], previous}, {"meta", ev.Meta, all["meta"], '+'}} {
		if part.want == '-' {
			part.sent = nil
		}
		if part.name != "meta" && ev.Version == "1.0" { // in the form of version 2
			if (part.got == nil) != (part.want == '-') {
				t.Errorf("%s is %s", part.name, part.got)
			}
			continue
		}
		if !bytes.Equal(part.got, part.sent) {
			t.Errorf("%s is %s, want %s", part.name, part.got, part.sent)
		}
	}
}

func TestARepetitionHasTheKeyOfTheFirst(t *testing.T) {
	for _, sample := range samples.Names() {
		body, _ := samples.Body(sample)
		again := bytes.Replace(bytes.Replace(body, []byte(`"attempt":1`), []byte(`"attempt":4`), 1), []byte(`"retry":0`), []byte(`"retry":3`), 1)
		if bytes.Equal(body, again) && !bytes.Contains(body, []byte(`"attempt":2`)) {
			t.Fatalf("%s says nothing of its attempt", sample)
		}
		first, second := name(t, body), name(t, again)
		if !bytes.Equal(first.Key, second.Key) {
			t.Errorf("%s: the repetition has another key", sample)
		}
		if !bytes.Contains(body, []byte(`"attempt":2`)) && (!second.IsRetry() || second.RetryCount() != 3 || first.IsRetry()) {
			t.Errorf("%s: retry count %d", sample, second.RetryCount())
		}
	}
}

func TestTrapsOfTheWire(t *testing.T) {
	tests := []struct {
		name, body string
		check      func(ev *core.Event) bool
	}{
		{"ids beyond what a float holds keep every digit", `{"meta":{"version":"2.0","action":"change","entity":"deal"},"data":{"id":9007199254740993}}`,
			func(ev *core.Event) bool { return ev.ObjectID == "9007199254740993" }},
		{"version 1 sends users in arrays", `{"v":1,"event":"updated.user","meta":{"action":"updated","object":"user","timestamp":1},"current":[{"id":7}],"previous":[{"id":7,"name":"a"}]}`,
			func(ev *core.Event) bool { return ev.ObjectID == "7" && string(ev.Current) == `{"id":"7"}` }},
		{"version 1 without meta's names goes by its event", `{"v":1,"event":"added.activityType","meta":{},"current":{"id":1}}`,
			func(ev *core.Event) bool { return ev.Type() == "added.activityType" }},
		{"unknown actions and objects are kept", `{"meta":{"version":"2.0","action":"archive","entity":"spaceship","entity_id":"1"},"data":{}}`,
			func(ev *core.Event) bool { return ev.Type() == "archive.spaceship" }},
		{"what has no name is unknown", `{}`, func(ev *core.Event) bool { return ev.Type() == "unknown.unknown" && ev.Key != nil }},
		{"previous may be an empty object", `{"meta":{"version":"2.0","action":"change","entity":"deal","entity_id":"1"},"data":{"a":1},"previous":{}}`,
			func(ev *core.Event) bool { return string(ev.Previous) == "{}" && len(ev.Changes()) == 0 }},
		{"a missing key is not a change", `{"meta":{"version":"2.0","action":"change","entity":"deal","entity_id":"1"},"data":{"a":1,"b":2},"previous":{"b":null}}`,
			func(ev *core.Event) bool { return !ev.Changed("a") && ev.Changed("b") && len(ev.Changes()) == 1 }},
		{"a nested custom field can change", `{"meta":{"version":"2.0","action":"change","entity":"deal"},"data":{"id":1,"custom_fields":{"x":{"id":2}}},"previous":{"custom_fields":{"x":null}}}`,
			func(ev *core.Event) bool { return ev.Changed("custom_fields.x") && !ev.Changed("custom_fields.y") }},
		{"a merge sent as a change is both", `{"meta":{"version":"2.0","action":"change","entity":"deal","entity_id":"1","merged_from_id":"2"},"data":{}}`,
			func(ev *core.Event) bool {
				merged, _ := core.ParsePattern("merged.deal")
				updated, _ := core.ParsePattern("change.deal")
				return ev.IsMerge() && !ev.IsUpdate() && merged.Match(ev) && updated.Match(ev)
			}},
		{"the order of the parts does not matter", `{"meta":{"entity":"deal","action":"create","version":"2.0","is_bulk_edit":true,"change_source":"api"},"previous":null,"data":{"id":"5"}}`,
			func(ev *core.Event) bool {
				return ev.ObjectID == "5" && ev.Facts.Bulk && ev.IsFromAPI() && !ev.IsFromApp() && ev.IsCreate() && ev.Previous == nil
			}},
		{"white space around the parts", "{ \"meta\" : {\"version\":\"2.0\",\"entity\":\"deal\"} ,\n \"data\" : { \"id\" : 1 } }",
			func(ev *core.Event) bool { return string(ev.Current) == `{ "id" : 1 }` }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if ev := name(t, []byte(test.body)); !test.check(ev) {
				t.Errorf("%+v", ev)
			}
		})
	}
}

func TestABodyThatIsNoObjectIsMalformed(t *testing.T) {
	for name, body := range map[string]string{
		"empty": "", "truncated": `{"meta":{"action"`, "text": "hello", "array": "[]", "number": "1", "null": "null", "two values": "{}{}",
		"trailing text": "{} x", "nested deeper than any limit": strings.Repeat("[", 1<<20), "a byte order mark": "\xef\xbb\xbf{}", "a comment": "{/**/}",
	} {
		if err := (pipedrive.Source{}).Name(&core.Event{Body: []byte(body)}); core.KindOf(err) != core.Malformed {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAFlawNamesTheField(t *testing.T) {
	for body, want := range map[string]string{
		`{}`:                                    "meta is required",
		`{"meta":1}`:                            "meta must be an object",
		`{"meta":{"version":"2.0"}}`:            "meta.action is required",
		`{"meta":{"version":"2.0","action":1}}`: "meta.action must be text",
		`{"meta":{"version":"2.0","action":"a"}}`:                                       "meta.entity is required",
		`{"meta":{"version":"2.0","action":"a","entity":"b"}}`:                          "data or previous is required",
		`{"meta":{"version":"2.0","action":"a","entity":"b"},"data":5}`:                 "data must be an object or null",
		`{"meta":{"version":"2.0","action":"a","entity":"b"},"data":{},"previous":"x"}`: "previous must be an object or null",
		`{"meta":{"version":"2.0","action":"a","entity":"b"},"data":{}}`:                "the object's id is required, in meta or in the data",
		`{"meta":{"version":"2.0","action":"a","action":"b","entity":"b"},"data":{}}`:   "meta.action stands twice",
		`{"meta":{"version":"2.0"},"meta":{"version":"2.0"}}`:                           "meta stands twice",
		`{"v":1,"meta":{}}`:                                    "meta.action is required",
		`{"v":1,"meta":{"action":"added"}}`:                    "meta.object is required",
		`{"v":1,"event":"added.deal","meta":{}}`:               "current or previous is required",
		`{"v":1,"event":"added.deal","meta":{},"current":[5]}`: "current must be an object or null",
	} {
		if got := name(t, []byte(body)).Flaw; got != want {
			t.Errorf("%s: %q, want %s", body, got, want)
		}
	}
}

func FuzzName(f *testing.F) {
	for _, sample := range samples.Names() {
		body, _ := samples.Body(sample)
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		ev := &core.Event{Body: bytes.Clone(body)}
		err := (pipedrive.Source{}).Name(ev)
		if (err == nil) != (json.Valid(body) && bytes.HasPrefix(bytes.TrimSpace(body), []byte("{"))) {
			// gjson and encoding/json may differ in what they take of broken UTF-8 only.
			if err == nil {
				t.Errorf("%q was named although it is no JSON object", body)
			}
		}
		if err != nil {
			return
		}
		if ev.Action == "" || ev.Object == "" || ev.Key == nil || !bytes.Equal(ev.Body, body) {
			t.Errorf("%+v", ev)
		}
	})
}

func BenchmarkName(b *testing.B) {
	_, body, _ := samples.For("updated.deal")
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		ev := core.Event{Body: body}
		if err := (pipedrive.Source{}).Name(&ev); err != nil {
			b.Fatal(err)
		}
	}
}
