package validate_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/samples"
	"github.com/pipehook/pipehook/core/source/pipedrive"
	"github.com/pipehook/pipehook/stages/validate"
)

// build makes the stage with what set does to the default Config. Schemas are the text of files.
func build(t testing.TB, set func(*validate.Config), schemas map[string]string) (core.Stage, error) {
	t.Helper()
	dir := t.TempDir()
	factory := validate.Factory(validate.Deps{Resolve: func(path string) string { return filepath.Join(dir, path) }})
	return factory.New(func(into any) error {
		conf := into.(*validate.Config)
		if set != nil {
			set(conf)
		}
		for pattern, text := range schemas {
			file := strings.NewReplacer("*", "any", ".", "-").Replace(pattern) + " #1.json"
			if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if conf.Schema == nil {
				conf.Schema = map[string]string{}
			}
			conf.Schema[pattern] = file
		}
		return nil
	}, core.Place{Pipeline: "crm", Source: pipedrive.Source{}, Kinds: []string{"validate"}})
}

func mustBuild(t testing.TB, set func(*validate.Config), schemas map[string]string) core.Stage {
	t.Helper()
	stage, err := build(t, set, schemas)
	if err != nil {
		t.Fatal(err)
	}
	return stage
}

func process(t testing.TB, stage core.Stage, body string) error {
	t.Helper()
	ev := &core.Event{Body: []byte(body)}
	if err := (pipedrive.Source{}).Name(ev); err != nil {
		t.Fatal(err)
	}
	verdict, err := stage.Process(t.Context(), ev)
	if verdict != core.Continue {
		t.Errorf("verdict %s", verdict)
	}
	return err
}

func deal(data string) string {
	return `{"data":` + data + `,"previous":{},"meta":{"version":"2.0","action":"change","entity":"deal","entity_id":"1"}}`
}

func TestEverySamplePasses(t *testing.T) {
	stage := mustBuild(t, nil, nil)
	for _, sample := range samples.Names() {
		body, _ := samples.Body(sample)
		if err := process(t, stage, string(body)); err != nil {
			t.Errorf("%s: %v", sample, err)
		}
	}
}

func TestABodyIsRefusedWithItsReason(t *testing.T) {
	nested := func(depth int) string { // two levels are around it
		return deal(`{"x":` + strings.Repeat("[", depth-2) + strings.Repeat("]", depth-2) + `}`)
	}
	tests := []struct {
		name, body string
		set        func(*validate.Config)
		kind       core.Kind
		want       string // empty for a body that passes
	}{
		{"as deep as allowed", nested(64), nil, 0, ""},
		{"deeper than allowed", nested(65), nil, core.Malformed, "the body is nested deeper than 64"},
		{"deeper than a limit of its own", nested(6), func(c *validate.Config) { c.MaxDepth = 5 }, core.Malformed, "the body is nested deeper than 5"},
		{"as large as allowed", deal(`{}`), func(c *validate.Config) { c.MaxBytes = len(deal(`{}`)) }, 0, ""},
		{"larger than allowed", deal(`{}`), func(c *validate.Config) { c.MaxBytes = len(deal(`{}`)) - 1 }, core.TooLarge, "the body is larger than 99 bytes"},
		{"not the sender's shape", `{"meta":{"version":"2.0"}}`, nil, core.Invalid, "meta.action is required"},
		{"depth is told before shape", `{"meta":` + strings.Repeat("[", 70) + strings.Repeat("]", 70) + `}`, nil, core.Malformed, "the body is nested deeper than 64"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			expect(t, process(t, mustBuild(t, test.set, nil), test.body), test.kind, test.want)
		})
	}
}

func expect(t *testing.T, err error, kind core.Kind, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("refused: %v", err)
	case want != "" && (err == nil || err.Error() != want || core.KindOf(err) != kind):
		t.Errorf("got %v (%s), want %s (%s)", err, core.KindOf(err), want, kind)
	}
}

func TestASchemaNamesThePlaceAndNeverTheValue(t *testing.T) {
	const prefix = "the body breaks the schema for updated.deal: "
	tests := []struct{ name, rule, data, want string }{
		{"fits", `{"type":"integer"}`, `1`, ""},
		{"another type", `{"type":["integer","null"]}`, `"hunter2"`, prefix + "/data/x must be null or integer"},
		{"a missing member", `{"required":["a","b"]}`, `{"a":1}`, prefix + "/data/x lacks b"},
		{"not in a list", `{"enum":["open","won"]}`, `"hunter2"`, prefix + `/data/x must be one of "open", "won"`},
		{"another constant", `{"const":5}`, `77`, prefix + "/data/x must be 5"},
		{"a format", `{"format":"date-time"}`, `"hunter2"`, prefix + "/data/x must be of the format date-time"},
		{"a pattern", `{"pattern":"^a"}`, `"hunter2"`, prefix + "/data/x must match ^a"},
		{"too small", `{"minimum":1.5}`, `1`, prefix + "/data/x must be at least 1.5"},
		{"too large", `{"exclusiveMaximum":9}`, `77`, prefix + "/data/x must be below 9"},
		{"too short", `{"minLength":50}`, `"hunter2"`, prefix + "/data/x must have at least 50 characters"},
		{"too many", `{"maxItems":1}`, `[1,2]`, prefix + "/data/x must have at most 1 items"},
		{"not foreseen", `{"additionalProperties":false}`, `{"hunter2":1}`, prefix + "/data/x has a property that the schema does not allow"},
		{"never allowed", `false`, `1`, prefix + "/data/x is not allowed"},
		{"either of two", `{"anyOf":[{"type":"string"},{"minimum":3}]}`, `1`, prefix + "/data/x must be string, or /data/x must be at least 3"},
		{"one of two, but both", `{"oneOf":[{"type":"integer"},{"minimum":1}]}`, `1`, prefix + "/data/x fits more than one alternative"},
		{"a rule without words", `{"uniqueItems":true}`, `["hunter2","hunter2"]`, prefix + "/data/x breaks the rule uniqueItems"},
		{"within an array", `{"items":{"type":"integer"}}`, `[1,{"y":1}]`, prefix + "/data/x/1 must be integer"},
		{"digits beyond a float", `{"maximum":9007199254740992}`, `9007199254740993`, prefix + "/data/x must be at most 9007199254740992"},
		{"an exponent that would panic", `{"minimum":1}`, `1e1000001`, "/data/x is a number too long to be checked"},
		{"an exponent that would take long", `{"multipleOf":3}`, `1e-99999`, "/data/x is a number too long to be checked"},
		{"an exponent of many zeros", `{"minimum":1}`, `1e+000001`, ""},
		{"a key with a line break", `{"additionalProperties":{"type":"string"}}`, `{"a\nb":1}`, prefix + `"/data/x/a\nb" must be string`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			stage := mustBuild(t, nil, map[string]string{"change.deal": `{"properties":{"data":{"properties":{"x":` + test.rule + `}}}}`})
			err := process(t, stage, deal(`{"x":`+test.data+`}`))
			expect(t, err, core.Invalid, test.want)
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the body shows: %v", err)
			}
		})
	}
}

func TestASchemaIsForItsPatternOnly(t *testing.T) {
	stage := mustBuild(t, nil, map[string]string{"added.*": `false`, "*.person": `false`, "merged.deal": `false`})
	if err := process(t, stage, deal(`{}`)); err != nil {
		t.Errorf("an update of a deal: %v", err)
	}
	for _, body := range []string{
		strings.Replace(deal(`{}`), "change", "create", 1), strings.Replace(deal(`{}`), `"deal"`, `"person"`, 1),
		strings.Replace(deal(`{}`), `"entity"`, `"merged_from_id":"2","entity"`, 1),
	} {
		if err := process(t, stage, body); core.KindOf(err) != core.Invalid {
			t.Errorf("%s: %v", body, err)
		}
	}
}

func TestALongKeyIsCut(t *testing.T) {
	stage := mustBuild(t, nil, map[string]string{"*.*": `{"properties":{"data":{"additionalProperties":false,"patternProperties":{"^k":{"type":"string"}}}}}`})
	err := process(t, stage, deal(`{"k`+strings.Repeat("x", 100_000)+`":1}`))
	if err == nil || len(err.Error()) > 400 {
		t.Errorf("an error of %d bytes", len(err.Error()))
	}
}

func TestALongNumberIsRefusedAtOnce(t *testing.T) {
	stage := mustBuild(t, nil, map[string]string{"*.*": `{"properties":{"data":{"minimum":1}}}`})
	start := time.Now()
	err := process(t, stage, deal(`{"a":[`+strings.Repeat("9", 900_000)+`]}`))
	if took := time.Since(start); core.KindOf(err) != core.Invalid || took > time.Second {
		t.Errorf("%v after %s", err, took)
	}
}

func TestAWrongSchemaStopsTheStart(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"not JSON", "{\n  \"type\": \n}", "updated-deal #1.json:3: invalid character"},
		{"cut short", "{\n\"type\":", "updated-deal #1.json:2: unexpected EOF"},
		{"an unknown type", `{"properties":{"a":{"type":"strin"}}}`, `updated-deal #1.json: /properties/a/type must be one of "array"`},
		{"a broken expression", `{"properties":{"a":{"pattern":"("}}}`, "updated-deal #1.json: /properties/a/pattern must be of the format regex"},
		{"a reference to nothing", `{"$ref":"#/$defs/nope"}`, "updated-deal #1.json: json-pointer in \"#/$defs/nope\" not found"},
		{"a reference to another file", `{"$ref":"other.json"}`, "updated-deal #1.json: other.json is outside the file"},
		{"a reference to the file system", `{"$ref":"file:///etc/passwd"}`, "updated-deal #1.json: file:///etc/passwd is outside the file"},
		{"a reference to the network", `{"$ref":"https://example.com/s.json"}`, "updated-deal #1.json: https://example.com/s.json is outside the file"},
		{"a dialect from the network", `{"$schema":"https://example.com/s.json"}`, "updated-deal #1.json: https://example.com/s.json is outside the file"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := build(t, nil, map[string]string{"updated.deal": test.text})
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "schema for updated.deal: ") {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
	_, err := build(t, nil, map[string]string{"deal": `{}`, "added.deal": `[`, "updated.deal": `{`})
	if err == nil || !strings.Contains(err.Error(), `"deal"`) || !strings.Contains(err.Error(), "for added.deal") || !strings.Contains(err.Error(), "for updated.deal") || strings.Contains(err.Error(), "\n") {
		t.Errorf("not every mistake is told on one line: %v", err)
	}
	if _, err := build(t, func(c *validate.Config) { c.Schema = map[string]string{"added.deal": "none.json"} }, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestAMistakeInTheTableIsReturned(t *testing.T) {
	wrong := errors.New("unknown key")
	if _, err := validate.Factory(validate.Deps{}).New(func(any) error { return wrong }, core.Place{}); !errors.Is(err, wrong) {
		t.Errorf("got %v", err)
	}
}

func FuzzSchema(f *testing.F) {
	stage := mustBuild(f, nil, map[string]string{"*.*": `{"properties":{"data":{"anyOf":[{"type":"object","minProperties":1},{"type":"null"}],
		"properties":{"value":{"multipleOf":0.01,"minimum":0},"tags":{"uniqueItems":true,"contains":{"const":1}},"at":{"format":"date-time"}},
		"propertyNames":{"maxLength":40}}}}`})
	for _, data := range []string{`{"value":1e5,"tags":[1,1]}`, `null`, `{}`, `{"at":"x","value":-1}`, `[{"value":1e999}]`} {
		f.Add([]byte(deal(data)))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		ev := &core.Event{Body: body}
		if (pipedrive.Source{}).Name(ev) != nil {
			return
		}
		if _, err := stage.Process(t.Context(), ev); err != nil && (core.KindOf(err) == core.Internal || len(err.Error()) > 2000) {
			t.Errorf("%s: %v", core.KindOf(err), err)
		}
	})
}

func BenchmarkValidate(b *testing.B) {
	body, _ := samples.Body("made-up-v2-change-deal-stage")
	ev := &core.Event{Body: body}
	if err := (pipedrive.Source{}).Name(ev); err != nil {
		b.Fatal(err)
	}
	for name, schemas := range map[string]map[string]string{
		"shape": nil, "schema": {"updated.deal": `{"properties":{"data":{"required":["id"],"properties":{"id":{"type":"integer"}}}}}`},
	} {
		stage := mustBuild(b, nil, schemas)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := stage.Process(b.Context(), ev); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
