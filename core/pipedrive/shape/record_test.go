package shape_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/pipedrive/shape"
)

// definitions are of one field of every type; the last digits of a key are its place.
func definitions() *shape.Fields {
	var list []shape.Field
	for i, t := range fieldTypes {
		list = append(list, shape.Field{Key: keyOf(i), Label: "The " + t, Type: t, Custom: true})
		if t == "enum" || t == "set" {
			list[i].Options = []shape.Option{{ID: 13, Label: "Gold"}, {ID: 14, Label: "Silver"}}
		}
	}
	return shape.NewFields("acme", map[string][]shape.Field{"deal": list, "person": list, "organization": list, "activity": list, "product": list})
}

var fieldTypes = []string{"varchar", "text", "varchar_auto", "double", "monetary", "people", "org", "user", "phone", "time", "timerange", "date", "daterange", "address", "enum", "set"}

func keyOf(i int) string {
	const zeros = "0000000000000000000000000000000000000000"
	n := string("abcdef0123456789"[i])
	return zeros[:39] + n
}

func webhook(object, data string) *core.Event {
	return &core.Event{Action: core.Updated, Object: object, ObjectID: "1", Current: json.RawMessage(data)}
}

func TestNamesOfEachShapeBecomeOne(t *testing.T) {
	tests := []struct{ name, object, from, want string }{
		{"a deal of version 1", "deal", `{"id":1,"user_id":{"id":5,"name":"A","value":5},"label":"1,2","visible_to":"3","deleted":false,"add_time":"2020-01-02 03:04:05","person_id":{"name":"P","value":7}}`,
			`{"id":1,"owner_id":5,"label_ids":[1,2],"visible_to":3,"is_deleted":false,"add_time":"2020-01-02T03:04:05Z","person_id":7}`},
		{"a person of version 1", "person", `{"id":1,"email":[{"value":"","primary":true}],"phone":[{"label":"work","value":"1","primary":true}],"label":5,"active_flag":true}`,
			`{"id":1,"emails":[],"phones":[{"label":"work","value":"1","primary":true}],"label_ids":[5],"is_deleted":false}`},
		{"both names of a label", "person", `{"id":1,"label":5,"label_ids":[5,6]}`, `{"id":1,"label_ids":[5,6]}`},
		{"both names of a label, the other way round", "person", `{"id":1,"label_ids":[5,6],"label":5}`, `{"id":1,"label_ids":[5,6]}`},
		{"an address in parts", "organization", `{"id":1,"address":"A 1","address_route":"A","address_country":null}`, `{"id":1,"address":{"value":"A 1","route":"A","country":null}}`},
		{"an address that is an object", "organization", `{"id":1,"address":{"value":"A 1"}}`, `{"id":1,"address":{"value":"A 1"}}`},
		{"a location that was emptied", "activity", `{"id":1,"location":{"value":""}}`, `{"id":1,"location":null}`},
		{"flags that are numbers", "note", `{"id":1,"pinned_to_deal_flag":1,"active_flag":0,"pinned_to_person_flag":2}`, `{"id":1,"pinned_to_deal_flag":true,"is_deleted":true,"pinned_to_person_flag":2}`},
		{"no address", "organization", `{"id":1,"address":null,"address_route":null}`, `{"id":1,"address":null}`},
		{"a webhook's activity", "activity", `{"id":2,"busy_flag":null,"active_flag":true,"due_time":{"timezone_id":null,"value":""},"duration":{"timezone_id":3,"value":"00:30"}}`,
			`{"id":2,"busy":null,"is_deleted":false,"due_time":null,"duration":"00:30"}`},
		{"a lead", "lead", `{"id":"b1810230-6c0d-11ed-9826-a53d0eb706a5","organization_id":2,"add_time":"2022-11-24T15:35:58.670Z"}`,
			`{"id":"b1810230-6c0d-11ed-9826-a53d0eb706a5","org_id":2,"add_time":"2022-11-24T15:35:58.670Z"}`},
		{"a product", "product", `{"id":1,"category":"18","selectable":true}`, `{"id":1,"category":18,"is_linkable":true}`},
		{"a pipeline", "pipeline", `{"id":1,"active":true,"deal_probability":false}`, `{"id":1,"is_deleted":false,"is_deal_probability_enabled":false}`},
		{"a stage", "stage", `{"id":1,"rotten_days":1,"rotten_flag":true,"deal_probability":100}`, `{"id":1,"days_to_rotten":1,"is_deal_rot_enabled":true,"deal_probability":100}`},
		{"a user", "user", `{"id":"9007199254740993","active_flag":false,"created":"2022-06-29 07:53:01","modified":"2022-06-29 07:53:43"}`,
			`{"id":9007199254740993,"active_flag":false,"add_time":"2022-06-29T07:53:01Z","update_time":"2022-06-29T07:53:43Z"}`},
		{"an object that nobody knows", "spaceship", `{"id":1,"a_time":"2022-06-29 07:53:01","b":[1.50,{"c":null}]}`, `{"id":1,"a_time":"2022-06-29T07:53:01Z","b":[1.50,{"c":null}]}`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r, err := shape.FromAPI(test.object, json.RawMessage(test.from), nil)
			if err != nil {
				t.Fatal(err)
			}
			if want := values(t, test.want); !reflect.DeepEqual(r.Values, want) {
				t.Errorf("got %#v, want %#v", r.Values, want)
			}
			again, err := shape.FromWebhook(webhook(test.object, string(r.Data())), nil)
			if err != nil || !reflect.DeepEqual(again.Values, r.Values) {
				t.Errorf("its data %s is read as %#v, %v", r.Data(), again.Values, err)
			}
		})
	}
}

func TestARecordKnowsItsTimes(t *testing.T) {
	r, err := shape.FromWebhook(webhook("lead", `{"id":"x","add_time":"2022-11-24T15:35:58.675Z","update_time":"2022-11-24T15:36:58.999Z"}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := r.Updated, time.Date(2022, 11, 24, 15, 36, 58, 0, time.UTC); !got.Equal(want) || r.ID != "1" || r.Deleted {
		t.Errorf("got %v of %s, want %v", got, r.ID, want)
	}
	gone := &core.Event{Action: core.Deleted, Object: "deal", ObjectID: "1", Previous: json.RawMessage(`{"id":1,"update_time":null}`)}
	if r, err = shape.FromWebhook(gone, nil); err != nil || !r.Deleted || !r.Updated.IsZero() {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestWhatIsNoRecordIsInvalid(t *testing.T) {
	for _, raw := range []string{"", "null", "5", "[]", `{"a":`, `{"name":"x"}`, `{"id":null}`} {
		if _, err := shape.FromAPI("deal", json.RawMessage(raw), nil); core.KindOf(err) != core.Invalid {
			t.Errorf("%q: %v", raw, err)
		}
	}
}

func values(t testing.TB, text string) map[string]any {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	var all map[string]any
	if err := dec.Decode(&all); err != nil {
		t.Fatal(err)
	}
	return all
}
