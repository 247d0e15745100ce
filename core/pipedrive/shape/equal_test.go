package shape_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/pipehook/pipehook/core/pipedrive/shape"
)

// drawn is a value of a custom field as a webhook of version 2, the API of version 2 and version 1 write it.
type drawn struct {
	hook, api any
	v1        map[string]any // by what follows the key
}

func drawField(t *rapid.T, fieldType string) drawn {
	if rapid.Bool().Draw(t, "unset") {
		return drawn{nil, nil, map[string]any{"": nil}}
	}
	text := rapid.StringMatching(`[a-zA-Z0-9 äß€"\\<&]{1,12}`).Draw(t, "text")
	id := rapid.Int64Range(1, 1<<62).Draw(t, "id")
	other := rapid.Int64Range(1, 1<<62).Draw(t, "other")
	switch fieldType {
	case "enum":
		return drawn{typed(fieldType, "id", id), id, map[string]any{"": fmt.Sprint(id)}}
	case "user", "org", "people":
		return drawn{typed(fieldType, "id", id), id, map[string]any{"": map[string]any{"id": id, "name": text, "value": id}}}
	case "set":
		return drawn{typed(fieldType, "values", []any{map[string]any{"id": id}, map[string]any{"id": other}}), []any{id, other},
			map[string]any{"": fmt.Sprintf("%d,%d", id, other)}}
	case "double":
		n := json.Number(rapid.StringMatching(`-?[1-9][0-9]{0,20}(\.[0-9]{1,8})?`).Draw(t, "number"))
		return drawn{typed(fieldType, "value", n), n, map[string]any{"": n}}
	case "monetary":
		return drawn{typed(fieldType, "value", id, "currency", "EUR"), map[string]any{"value": id, "currency": "EUR"},
			map[string]any{"": id, "_currency": "EUR"}}
	case "time":
		return drawn{typed(fieldType, "value", "10:00:00", "timezone_id", id),
			map[string]any{"value": "10:00:00", "timezone_id": id, "timezone_name": "Europe/Tallinn"},
			map[string]any{"": "10:00:00", "_timezone_id": id}}
	case "timerange", "daterange":
		from, until := "2023-06-06", "2023-06-14"
		if fieldType == "timerange" {
			from, until = "00:00:00", "01:15:00"
		}
		return drawn{typed(fieldType, "from", from, "until", until), map[string]any{"value": from, "until": until}, map[string]any{"": from, "_until": until}}
	case "address":
		return drawn{typed(fieldType, "value", text, "country", text), map[string]any{"value": text, "country": text}, map[string]any{"": text, "_country": text}}
	case "date":
		return drawn{typed(fieldType, "value", "2023-06-06"), "2023-06-06", map[string]any{"": "2023-06-06"}}
	}
	return drawn{typed(fieldType, "value", text), text, map[string]any{"": text}}
}

func typed(fieldType string, parts ...any) map[string]any {
	all := map[string]any{"type": fieldType}
	for i := 0; i < len(parts); i += 2 {
		all[parts[i].(string)] = parts[i+1]
	}
	return all
}

// drawDeal is one deal in three shapes.
func drawDeal(t *rapid.T) (hook, api, v1 map[string]any) {
	id := rapid.Int64Range(1, 1<<62).Draw(t, "id")
	owner := rapid.Int64Range(1, 1<<62).Draw(t, "owner")
	level := rapid.SampledFrom([]string{"1", "3", "5", "7"}).Draw(t, "visible to")
	title := rapid.String().Draw(t, "title")
	deleted := rapid.Bool().Draw(t, "deleted")
	common := map[string]any{"id": id, "title": title, "status": "open", "value": json.Number("100.50")}
	hook, api, v1 = map[string]any{}, map[string]any{}, map[string]any{}
	for key, v := range common {
		hook[key], api[key], v1[key] = v, v, v
	}
	hook["owner_id"], api["owner_id"], v1["user_id"] = owner, owner, map[string]any{"id": owner, "value": owner, "name": title}
	hook["visible_to"], api["visible_to"], v1["visible_to"] = level, json.Number(level), level
	hook["label_ids"], api["label_ids"], v1["label"] = []any{24, 25}, []any{24, 25}, "24,25"
	hook["update_time"], api["update_time"], v1["update_time"] = "2022-11-24T15:11:55Z", "2022-11-24T15:11:55Z", "2022-11-24 15:11:55"
	hook["is_deleted"], api["is_deleted"], v1["deleted"] = deleted, deleted, deleted
	hookFields, apiFields := map[string]any{}, map[string]any{}
	for i, fieldType := range fieldTypes {
		d := drawField(t, fieldType)
		hookFields[keyOf(i)], apiFields[keyOf(i)] = d.hook, d.api
		for part, v := range d.v1 {
			v1[keyOf(i)+part] = v
		}
	}
	hook["custom_fields"], api["custom_fields"] = hookFields, apiFields
	return hook, api, v1
}

func TestARecordIsTheSameInWhicheverShapeItCame(t *testing.T) {
	f := definitions()
	rapid.Check(t, func(t *rapid.T) {
		hook, api, v1 := drawDeal(t)
		want, err := shape.FromWebhook(webhook("deal", text(hook)), f)
		if err != nil {
			t.Fatal(err)
		}
		for name, one := range map[string]map[string]any{"the API": api, "version 1": v1} {
			got, err := shape.FromAPI("deal", json.RawMessage(text(one)), f)
			if err != nil || !reflect.DeepEqual(got.Values, want.Values) || !got.Updated.Equal(want.Updated) || got.Deleted != want.Deleted {
				t.Fatalf("%s: got %#v, want %#v, %v", name, got.Values, want.Values, err)
			}
			if keys := shape.Differ(want, got); keys != nil {
				t.Fatalf("%s differs in %v", name, keys)
			}
			again, err := shape.FromWebhook(webhook("deal", string(got.Data())), nil)
			if err != nil || !reflect.DeepEqual(again.Values, want.Values) {
				t.Fatalf("%s: its data is read as %#v, want %#v, %v", name, again.Values, want.Values, err)
			}
		}
	})
}

func TestDataIsTypedAsAWebhookIs(t *testing.T) {
	f := definitions()
	rapid.Check(t, func(t *rapid.T) {
		hook, api, _ := drawDeal(t)
		r, err := shape.FromAPI("deal", json.RawMessage(text(api)), f)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := string(r.Data()), text(hook); !reflect.DeepEqual(parsed(got), parsed(want)) {
			t.Fatalf("got %s, want %s", got, want)
		}
	})
}

func text(v any) string {
	out, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(out)
}

func parsed(text string) (v any) {
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		panic(err)
	}
	return v
}
