package engine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/samples"
)

// compares fails when the view of current is not what JSON.parse makes of the same text.
const compares = `
const same = (a, b, path) => {
	if (Object.is(a, b)) return;
	if (typeof a !== "object" || typeof b !== "object" || !a || !b || Array.isArray(a) !== Array.isArray(b)) throw new Error(path + ": " + String(a) + " is not " + String(b));
	const keys = Object.keys(a);
	if (keys.join("\n") !== Object.keys(b).join("\n")) throw new Error(path + ": " + keys + " are not " + Object.keys(b));
	for (const key of keys) same(a[key], b[key], path + "." + key);
};
export default (event) => {
	same(event.current, JSON.parse(event.raw), "current");
	if (JSON.stringify(event.current) !== JSON.stringify(JSON.parse(event.raw))) throw new Error("it is written in another way");
}`

// differs finds what is given otherwise on purpose: whole numbers that JavaScript would round, and
// what goja's own JSON.parse can't read: halves of surrogates and numbers out of range.
var differs = regexp.MustCompile(`[0-9]{16,}|\\u[dD]|[eE][+-]?[0-9]{3,}`)

func FuzzTheViewIsWhatJSONParseGives(f *testing.F) {
	for _, name := range samples.Names() {
		body, _ := samples.Body(name)
		f.Add(string(body))
	}
	var many strings.Builder
	for i := range 100 {
		fmt.Fprintf(&many, `"k%d":%d,`, i, i)
	}
	for _, text := range []string{
		`{"a":[1,{"b":"x"}],"c":1.5,"d":null,"e":true}`, ` [ ] `, `"\ud83d\u0041"`, `{"\ud83d":"\"\\\/\b\f\n\r\t"}`, `{"a":1,"a":2}`,
		`{"b":0,"1":1,"0":2,"01":3,"4294967295":4,"-1":5}`, `-0`, `1e400`, `[[[[[]]]]]`, `{"__proto__":{"x":1},"":0,"length":1,"toString":2}`, `{` + many.String() + `"k1":0}`,
		"{\"\xff\":{},\"\xfe\":[\"\xfd\"]}",
	} {
		f.Add(text)
	}
	_, p, err := compile(f, "it.js", compares)
	if err != nil {
		f.Fatal(err)
	}
	_, touches, err := compile(f, "it.js", `export default (event) => { try { JSON.stringify(event.current) } catch (e) { if (!(e instanceof TypeError)) throw e } }`)
	if err != nil {
		f.Fatal(err)
	}
	exact, any := newScript("it", p, 1, options{}), newScript("it", touches, 1, options{})
	f.Fuzz(func(t *testing.T, data string) {
		if len(data) > 8<<10 || strings.Count(data, "[")+strings.Count(data, "{") > 100 {
			return
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		ev := core.Event{ID: "x", Body: []byte(data), Current: json.RawMessage(data)}
		s := exact
		if !json.Valid([]byte(data)) || differs.MatchString(data) {
			s = any // not equal, but it must end and stay inside the text
		}
		if err := s.Handle(ctx, ev); err != nil && !(strings.TrimSpace(data) == "null") {
			t.Error(err)
		}
	})
}

func TestManyFieldsDoNotCostQuadraticTime(t *testing.T) {
	var b strings.Builder
	b.WriteByte('{')
	for i := range 50_000 {
		fmt.Fprintf(&b, `"field%d":%d,`, i, i)
	}
	b.WriteString(`"last":true}`)
	_, p, err := compile(t, "it.js", `export default (event) => { let n = 0; for (const k in event.current) if (k in event.current) n += 1; if (n !== 50001) throw n }`)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := newScript("it", p, 1, options{}).Handle(ctx, core.Event{ID: "x", Current: json.RawMessage(b.String())}); err != nil {
		t.Error(err)
	}
}
