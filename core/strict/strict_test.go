package strict_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/strict"
)

type inner struct {
	Name string        `conf:"name" validate:"required"`
	Wait time.Duration `conf:"wait" validate:"gte=1m"`
}

type base struct {
	Shared []inner `conf:"shared" validate:"dive"`
}

type all struct {
	base
	Text    string           `conf:"text" validate:"omitempty,startswith=a,ne=ab"`
	Number  int8             `conf:"number"`
	Big     uint64           `conf:"big"`
	Ratio   float32          `conf:"ratio"`
	Pattern core.Pattern     `conf:"pattern"`
	Net     *netip.Prefix    `conf:"net"`
	Size    core.Size        `conf:"size"`
	Named   map[string]inner `conf:"named" validate:"max=1,dive"`
	Free    any              `conf:"free"`
	Hidden  string           `conf:"-"`
	Without string
}

// read fills a struct, and returns what is wrong, a line each.
func read(in map[string]any, into *all) string {
	var wrong []string
	d := &strict.Decoder{
		Tag: "conf", Rules: strict.NewRules("conf"), Bad: map[string]bool{},
		Written: func(key string) bool { _, ok := in[key]; return ok },
		Refused: func(_, _ string, t reflect.Type, _ error) string { return "must be " + strict.Wanted(t) },
	}
	d.Wrong = func(key, msg, hint string) {
		d.Bad[key] = true
		wrong = append(wrong, strings.TrimSuffix(fmt.Sprintf("%s: %s; %s", key, msg, hint), "; "))
	}
	d.Table("", in, reflect.ValueOf(into).Elem(), "elsewhere")
	d.Check("", into)
	return strings.Join(wrong, "\n")
}

func TestATreeFillsAStruct(t *testing.T) {
	into := all{Text: "above", Named: map[string]inner{}}
	wrong := read(map[string]any{
		"elsewhere": 1, "shared": []any{map[string]any{"name": "a", "wait": "1d"}}, "number": int64(-128), "big": json.Number("18446744073709551615"),
		"ratio": int64(1), "pattern": "updated.deal", "net": "203.0.113.7", "size": json.Number("7"), "named": map[string]any{"x": map[string]any{"name": "b", "wait": "2m"}},
		"free": map[string]any{"a": []any{json.Number("1.50")}},
	}, &into)
	if wrong != "" {
		t.Fatal(wrong)
	}
	if into.Text != "above" || into.Shared[0] != (inner{"a", 24 * time.Hour}) || into.Number != -128 || into.Big != 1<<64-1 || into.Ratio != 1 ||
		into.Pattern.String() != "updated.deal" || into.Net.String() != "203.0.113.7/32" || into.Size != 7 || into.Named["x"].Name != "b" || fmt.Sprint(into.Free) != "map[a:[1.50]]" {
		t.Errorf("%+v", into)
	}
}

func TestWhatDoesNotFitIsSaidInWords(t *testing.T) {
	for name, test := range map[string]struct {
		in   map[string]any
		want string
	}{
		"a slip":             {map[string]any{"tetx": "a"}, `tetx: unknown key; did you mean "text"?`},
		"what has no tag":    {map[string]any{"Without": "a"}, `Without: unknown key; known here: big, elsewhere, free, named, net, number, pattern, ratio, shared, size, text`},
		"too large":          {map[string]any{"number": int64(128), "big": json.Number("18446744073709551616")}, "big: is out of range\nnumber: is out of range"},
		"below nothing":      {map[string]any{"big": json.Number("-1")}, "big: is out of range"},
		"a fraction":         {map[string]any{"number": 1.5, "big": json.Number("1e3")}, "big: must be a whole number, is a fraction\nnumber: must be a whole number, is a fraction"},
		"no duration":        {map[string]any{"shared": []any{map[string]any{"name": "a", "wait": int64(5)}}}, `shared[0].wait: must be text with a unit; did you mean "5s"?`},
		"in an embedded one": {map[string]any{"shared": []any{map[string]any{"wait": "1s"}}}, "shared[0].name: is required\nshared[0].wait: must be at least 1m"},
		"in a map":           {map[string]any{"named": map[string]any{"a b": map[string]any{"wait": "1h"}}}, `named."a b".name: is required`},
		"too many":           {map[string]any{"named": map[string]any{"a": map[string]any{"name": "x", "wait": "1h"}, "b": map[string]any{"name": "x", "wait": "1h"}}}, "named: must have at most 1 entry"},
		"forms":              {map[string]any{"pattern": "deal", "net": "x", "size": "much"}, "net: must be an address or network such as \"203.0.113.0/24\"\npattern: must be a pattern such as \"updated.deal\"\nsize: must be a size such as \"1MiB\""},
		"a rule of text":     {map[string]any{"text": "b"}, "text: must begin with a"},
		"another":            {map[string]any{"text": "ab"}, "text: must not be ab"},
		"a date":             {map[string]any{"text": time.Time{}}, "text: must be text, is a date or time"},
	} {
		if got := read(test.in, &all{}); got != test.want {
			t.Errorf("%s: %s\nwant %s", name, got, test.want)
		}
	}
}

func TestANameIsSuggestedWhenItIsNear(t *testing.T) {
	for name, want := range map[string]string{
		"nmae": `did you mean "name"?`, "Name": `did you mean "name"?`, "retri": `did you mean "retry"?`, "xyz": "known here: name, on, retry", "no": `did you mean "on"?`,
	} {
		if got := strict.Suggest(name, []string{"retry", "name", "on", "name"}); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if got := strict.Suggest("a", nil); got != "this table has no keys" {
		t.Error(got)
	}
}
