package shape_test

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/pipedrive/shape"
)

func custom(labels ...string) []shape.Field {
	var list []shape.Field
	for i, label := range labels {
		list = append(list, shape.Field{Key: keyOf(i), Label: label, Type: "varchar", Custom: true})
	}
	return list
}

func names(list []shape.Field) (all []string) {
	for _, field := range list {
		all = append(all, field.Name)
	}
	return all
}

func TestANameIsMadeOfALabel(t *testing.T) {
	list := append(custom("Contract end", "Größe (m²)", "contract-END", "class", "2nd contact", "Ærø Łódź", "Бюджет", "!?", "Título", "Title"),
		shape.Field{Key: "title", Label: "Title", Type: "varchar"})
	f := shape.NewFields("acme", map[string][]shape.Field{"deal": list})
	want := []string{"contract_end", "grosse_m2", "contract_end_2", "class_2", "_2nd_contact", "aero_lodz", "бюджет", "field", "titulo", "title_2", "title"}
	if got := names(f.Of("deal")); !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if _, ok := f.ByName("lead", "contract_end"); !ok {
		t.Error("a lead has the custom fields of deals")
	}
	if _, ok := f.ByName("lead", "title"); ok {
		t.Error("a lead has only the custom ones")
	}
}

func TestANewFieldTakesNoNameThatIsUsed(t *testing.T) {
	old := shape.NewFields("acme", map[string][]shape.Field{"deal": custom("Tier", "Size")})
	list := custom("Tier", "Volume", "Tier")
	list[0], list[2] = list[2], list[0]
	f := shape.NewFields("acme", map[string][]shape.Field{"deal": list}).Keep(old)
	if got, want := names(f.Of("deal")), []string{"tier_2", "volume", "tier"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestDefinitionsAreWrittenAndReadBack(t *testing.T) {
	f := definitions().PulledAt(time.Date(2026, 11, 1, 2, 3, 4, 5, time.UTC))
	g, err := shape.ParseFields(f.Text())
	if err != nil || string(g.Text()) != string(f.Text()) || !g.Pulled().Equal(f.Pulled()) || g.Company() != "acme" {
		t.Errorf("%v: %s", err, g.Text())
	}
	for text, want := range map[string]string{
		"": "not valid JSON", `{}`: "objects is required", `{"objects":{"deal":[{"name":"a"}]}}`: "deal[0]: key is required",
		`{"objects":{"deal":[{"key":"a"},{"key":"a"}]}}`: `deal[1]: key "a" stands twice`, `{"objects":5}`: "definitions of fields",
	} {
		if _, err := shape.ParseFields([]byte(text)); core.KindOf(err) != core.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

func TestNoDefinitionsKnowNothing(t *testing.T) {
	var f *shape.Fields
	_, byKey := f.ByKey("deal", "a")
	_, byName := f.ByName("deal", "a")
	if byKey || byName || f.Of("deal") != nil || f.Named("deal", json.RawMessage(`{"a":1}`)) != nil || f.Objects() != nil || !f.Pulled().IsZero() || len(f.Text()) == 0 {
		t.Error("it knows something")
	}
}

func TestTheViewByName(t *testing.T) {
	f := definitions()
	place := map[string]int{}
	for i, fieldType := range fieldTypes {
		place[fieldType] = i
	}
	for _, test := range []struct{ fieldType, value, want string }{
		{"varchar", `{"type":"varchar","value":"a"}`, `"a"`}, {"double", `{"type":"double","value":12345678901234567890.10}`, `12345678901234567890.10`},
		{"enum", `{"id":13,"type":"enum"}`, `"Gold"`}, {"enum", `{"id":99,"type":"enum"}`, `99`}, {"enum", `null`, `null`},
		{"set", `{"type":"set","values":[{"id":14},{"id":99}]}`, `["Silver",99]`}, {"user", `{"type":"user","id":5}`, `5`},
		{"monetary", `{"type":"monetary","value":5,"currency":"EUR"}`, `{"value":5,"currency":"EUR"}`},
		{"daterange", `{"type":"daterange","from":"a","until":"b"}`, `{"from":"a","until":"b"}`}, {"address", `{"type":"address","value":"a"}`, `{"value":"a"}`},
	} {
		got := f.Named("deal", json.RawMessage(`{"`+keyOf(place[test.fieldType])+`":`+test.value+`}`))
		if want := `{"the_` + test.fieldType + `":` + test.want + `}`; string(got) != want {
			t.Errorf("%s: got %s, want %s", test.value, got, want)
		}
	}
	if view, unknown := f.View("deal", json.RawMessage(`{"zz":1,"yy":null}`)); view != nil || !slices.Equal(unknown, []string{"zz", "yy"}) {
		t.Errorf("%s, unknown %s", view, unknown)
	}
}
