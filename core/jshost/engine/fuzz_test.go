package engine_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/jshost/engine"
)

// What a script returns is made of what a stranger has sent. Whatever it is, it comes back as JSON
// or as an error, and twice the same.
func FuzzAResultIsJSONOrAnError(f *testing.F) {
	for _, text := range []string{
		`{"a":[1,{"b":"x"}],"c":1.5,"d":null,"e":true}`, `[]`, `"\ud83d\ude00\ud83d"`, `{"a":9007199254740993,"b":-9007199254740993,"c":1e400}`, `{"toJSON":1,"then":2,"__proto__":{"x":1},"length":4e9}`,
		strings.Repeat("[", 300) + strings.Repeat("]", 300), "{\"\xff\":1}", `"\u0000\u2028"`, `-0`, `{"constructor":{"prototype":1}}`,
	} {
		f.Add(text)
	}
	_, p, err := compile(f, "it.js", `export default (event) => {
		const copy = (v) => typeof v !== "object" || v === null ? v : Array.isArray(v) ? v.map(copy) : Object.fromEntries(Object.keys(v).map((k) => [k, copy(v[k])]));
		return { view: event.current, copy: copy(event.current) };
	}`)
	if err != nil {
		f.Fatal(err)
	}
	runner := engine.NewPool(p, engine.Options{})
	f.Cleanup(runner.Close)
	f.Fuzz(func(t *testing.T, data string) {
		if len(data) > 8<<10 {
			return
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		ev := core.Event{ID: "x", Current: json.RawMessage(data)}
		var r engine.Result
		runner.Run(ctx, []engine.Call{{Kind: engine.Stage, Event: &ev}}, func(_ int, one engine.Result) { r = one })
		if r.Err != nil {
			if strings.Contains(r.Err.Error(), "host panicked") {
				t.Fatal(r.Err)
			}
			return
		}
		var back struct{ View, Copy json.RawMessage }
		if err := json.Unmarshal(r.Value, &back); err != nil {
			t.Fatalf("%v: %s", err, r.Value)
		}
		if json.Valid([]byte(data)) && string(back.View) != string(back.Copy) && !strings.Contains(data, "__proto__") && !strings.Contains(data, "toJSON") {
			t.Errorf("the view is %s, a copy %s", back.View, back.Copy)
		}
	})
}
