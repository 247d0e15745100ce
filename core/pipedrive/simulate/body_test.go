package simulate

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core/pipedrive/shape"
	"github.com/pipehook/pipehook/core/samples"
)

func sample(t *testing.T, name string) map[string]any {
	t.Helper()
	body, ok := samples.Body(name)
	if !ok {
		t.Fatalf("there is no sample %s", name)
	}
	return parsed(t, body)
}

func parsed(t *testing.T, body []byte) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(body, &m); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return m
}

func within(m map[string]any, key string) map[string]any {
	if list, is := m[key].([]any); is && len(list) > 0 {
		m = map[string]any{key: list[0]}
	}
	in, _ := m[key].(map[string]any)
	return in
}

// differing are the keys that only one has, with - for those of want and + for those of got.
func differing(got, want map[string]any, allowed string) (keys []string) {
	for key := range want {
		if _, has := got[key]; !has {
			keys = append(keys, "-"+key)
		}
	}
	for key := range got {
		if _, has := want[key]; !has {
			keys = append(keys, "+"+key)
		}
	}
	keys = slices.DeleteFunc(keys, func(key string) bool { return slices.Contains(strings.Fields(allowed), key) })
	slices.Sort(keys)
	return keys
}

func made(object, action string) Change {
	rec := Record{"id": int64(1), "name": "N", "update_time": "2026-11-26T10:00:00Z"}
	ch := Change{Object: object, Action: action, ID: "1", At: time.Date(2026, 11, 26, 10, 0, 0, 3e6, time.UTC), UserID: 7}
	if action != "create" {
		ch.Before = rec
	}
	if action != "delete" {
		ch.After = rec
	}
	return ch
}

// since are what deliveries carry that the guide's examples of 2022 lack, as captures of 2025 and 2026 show.
const since = "+permitted_user_ids +is_archived +archive_time +label_ids"

func TestBodiesHaveTheKeysOfCapturedOnes(t *testing.T) {
	a := &Account{CompanyID: 42, Host: "acme.pipedrive.com"}
	for _, tt := range []struct{ sample, object, action, part, allowed string }{
		{"pipedrive_docs-v2-create-deal", "deal", "create", "data", since},
		{"pipedrive_docs-v2-change-person", "person", "change", "data", since},
		{"pipedrive_docs-v2-change-organization", "organization", "change", "data", since},
		{"pipedrive_docs-v2-change-activity", "activity", "change", "data", since},
		{"pipedrive_docs-v2-delete-activity", "activity", "delete", "previous", since + " +update_user_id"}, // that example alone lacks it
		{"pipedream-v2-change-lead", "lead", "change", "data", ""},
		{"pipedrive_docs-v2-change-note", "note", "change", "data", since},
		{"pipedrive_docs-v2-change-product", "product", "change", "data", since},
		{"pipedrive_docs-v2-change-pipeline", "pipeline", "change", "data", since},
		{"pipedrive_docs-v2-delete-stage", "stage", "delete", "previous", since},
		{"pipedrive_docs-v2-change-user-deactivated", "user", "change", "data", ""},
		{"hookdeck-v1-added-deal", "deal", "create", "current", ""},
		{"hookdeck-v1-added-person", "person", "create", "current", ""},
		{"hookdeck-v1-added-organization", "organization", "create", "current", ""},
		{"hookdeck-v1-added-activity", "activity", "create", "current", ""},
		{"hookdeck-v1-updated-product", "product", "change", "current", ""},
		// Of these there are only captures of 2017: what came since, and names that meta had then.
		{"django_pipedrive-v1-added-note", "note", "create", "current", "+lead_id +project_id " + since2017},
		{"django_pipedrive-v1-added-stage", "stage", "create", "current", since2017},
		{"django_pipedrive-v1-updated-pipeline", "pipeline", "change", "current", "+deal_probability " + since2017},
	} {
		var body []byte
		if strings.Contains(tt.sample, "-v1-") {
			body = BodyV1(made(tt.object, tt.action), Subscription{ID: 9}, a, Send{})
		} else {
			body = BodyV2(made(tt.object, tt.action), Subscription{ID: 9, Type: "general"}, a, Send{Event: "e"})
		}
		got, want := parsed(t, body), sample(t, tt.sample)
		if d := differing(got, want, tt.allowed); len(d) > 0 {
			t.Errorf("%s: top level: %v", tt.sample, d)
		}
		for _, part := range []string{tt.part, "meta"} {
			if d := differing(within(got, part), within(want, part), tt.allowed); len(d) > 0 {
				t.Errorf("%s: %s: %v", tt.sample, part, d)
			}
		}
	}
}

const since2017 = "+change_source +pipedrive_service_name +timestamp_micro +prepublish_timestamp +webhook_id +matches_filters " +
	"-timestamp_milli -elastic_enabled"

func TestEveryTypeOfCustomFieldIsTypedAsTheGuideSays(t *testing.T) {
	want := within(within(sample(t, "made-up-v2-change-deal-all-customfield-types"), "data"), "custom_fields")
	bare := map[string]any{}
	var fields []shape.Field
	for i, kind := range strings.Fields("varchar text varchar_auto double monetary people org user phone time timerange date daterange address enum set varchar") {
		key := strings.Repeat("0", 38) + hex2(i+1)
		fields = append(fields, shape.Field{Key: key, Type: kind, Custom: true})
		typedOne, _ := want[key].(map[string]any)
		switch kind {
		case "people", "org", "user", "enum":
			bare[key] = typedOne["id"]
		case "monetary", "time", "address":
			bare[key] = typedOne
		case "timerange", "daterange":
			bare[key] = map[string]any{"value": typedOne["from"], "until": typedOne["until"], "timezone_id": typedOne["timezone_id"]}
		case "set":
			bare[key] = []any{int64(13), int64(14)}
		default:
			bare[key] = typedOne["value"]
		}
	}
	ch := made("deal", "change")
	ch.After = Record{"id": int64(1), "custom_fields": bare}
	a := &Account{Fields: func(string) []shape.Field { return fields }}
	got := within(within(parsed(t, BodyV2(ch, Subscription{}, a, Send{})), "data"), "custom_fields")
	if g, w := string(appendJSON(nil, got)), string(appendJSON(nil, want)); g != w {
		t.Errorf("got  %s\nwant %s", g, w)
	}
	current := within(parsed(t, BodyV1(ch, Subscription{}, a, Send{})), "current")
	for key, want := range map[string]any{"05_currency": "EUR", "0d_until": "2023-06-14", "0e_locality": "Tallinn", "0f": "17", "10": "13,14"} {
		if got := current[strings.Repeat("0", 38)+key]; got != want {
			t.Errorf("version 1: %s: got %v, want %v", key, got, want)
		}
	}
}

func hex2(n int) string {
	const digits = "0123456789abcdef"
	return string([]byte{digits[n/16], digits[n%16]})
}

func TestAMergeIsToldInBothVersions(t *testing.T) {
	loser, survivor := made("person", "delete"), made("person", "change")
	loser.ID, loser.MergedTo, survivor.MergedFrom = "2", "1", "2"
	loser.Before = Record{"id": int64(2), "name": "Gone"}
	a := &Account{Host: "acme.pipedrive.com"}
	if m := within(parsed(t, BodyV2(loser, Subscription{}, a, Send{})), "meta"); m["merged_to_id"] != "1" {
		t.Errorf("the loser's meta: %v", m)
	}
	if m := within(parsed(t, BodyV2(survivor, Subscription{}, a, Send{})), "meta"); m["merged_from_id"] != "2" {
		t.Errorf("the survivor's meta: %v", m)
	}
	old := parsed(t, BodyV1(survivor, Subscription{}, a, Send{Loser: loser.Before}))
	if old["event"] != "merged.person" || within(old, "previous")["name"] != "Gone" || within(old, "current")["merge_what_id"] != 2.0 {
		t.Errorf("version 1: %v", old)
	}
}

func TestAnEventOfAUserHasItsIDAndVersion1AnArray(t *testing.T) {
	ch := made("user", "change")
	meta := within(parsed(t, BodyV2(ch, Subscription{}, &Account{}, Send{Event: "e"})), "meta")
	if meta["id"] != "1" {
		t.Errorf("got %v", meta["id"])
	}
	if _, list := parsed(t, BodyV1(ch, Subscription{}, &Account{}, Send{}))["current"].([]any); !list {
		t.Error("version 1 has no array")
	}
}
