package shape_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/pipehook/pipehook/core/pipedrive/shape"
	"github.com/pipehook/pipehook/core/samples"
	"github.com/tidwall/gjson"
)

// parts are the records in the samples.
func parts(f *testing.F) (all [][]byte) {
	f.Helper()
	for _, name := range samples.Names() {
		body, _ := samples.Body(name)
		for _, part := range []string{"data", "current", "previous"} {
			if r := gjson.GetBytes(body, part); r.IsObject() {
				all = append(all, []byte(r.Raw))
			}
		}
	}
	return all
}

func FuzzARecordIsReadOrRefused(f *testing.F) {
	for _, seed := range parts(f) {
		f.Add("deal", seed)
		f.Add("organization", seed)
		f.Add("activity", seed)
	}
	f.Add("deal", []byte("{\"id\":\"\x90\"}"))
	defs := definitions()
	f.Fuzz(func(t *testing.T, object string, raw []byte) {
		for _, known := range []*shape.Fields{nil, defs} {
			r, err := shape.FromWebhook(webhook(object, string(raw)), known)
			if err != nil {
				continue
			}
			if id, ok := r.Values["id"].(json.Number); ok {
				if sent := gjson.ParseBytes(raw); !holds(sent, string(id)) {
					t.Errorf("id %s was not sent", id)
				}
			}
			data := r.Data()
			if !json.Valid(data) {
				t.Fatalf("%s is not JSON", data)
			}
			again, err := shape.FromWebhook(webhook(object, string(data)), known)
			if err != nil {
				t.Fatalf("%s: %v", data, err)
			}
			if shape.Differ(r, r) != nil || !reflect.DeepEqual(again.Values["id"], r.Values["id"]) {
				t.Errorf("%v became %v", r.Values, again.Values)
			}
			_ = known.Named(object, json.RawMessage(gjson.GetBytes(data, "custom_fields").Raw))
		}
		_, _ = shape.FromAPI(object, raw, defs)
	})
}

// holds reports whether a number stands anywhere in the value, as it is written.
func holds(v gjson.Result, number string) (found bool) {
	if v.Type != gjson.JSON {
		return v.Raw == number || v.Str == number
	}
	v.ForEach(func(_, elem gjson.Result) bool {
		found = found || holds(elem, number)
		return !found
	})
	return found
}

func FuzzDefinitionsAreReadOrRefused(f *testing.F) {
	f.Add(definitions().Text())
	f.Add([]byte(`{"objects":{"deal":[{"key":"a","label":"ß 1"},{"key":"b","label":"class"}]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		fields, err := shape.ParseFields(text)
		if err != nil {
			return
		}
		again, err := shape.ParseFields(fields.Text())
		if err != nil || string(again.Text()) != string(fields.Text()) {
			t.Fatalf("%s became another, %v", fields.Text(), err)
		}
		for _, object := range fields.Objects() {
			names := map[string]bool{}
			for _, field := range fields.Of(object) {
				if names[field.Name] && object != "lead" {
					t.Errorf("%s has %s twice", object, field.Name)
				}
				names[field.Name] = true
			}
		}
	})
}

func BenchmarkFromWebhook(b *testing.B) {
	_, body, _ := samples.For("change.deal")
	deal := webhook("deal", gjson.GetBytes(body, "data").Raw)
	b.SetBytes(int64(len(deal.Current)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := shape.FromWebhook(deal, nil); err != nil {
			b.Fatal(err)
		}
	}
}
