package typings_test

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/fixture"
	"github.com/pipehook/pipehook/core/jshost/bundle"
	"github.com/pipehook/pipehook/core/jshost/engine"
	"github.com/pipehook/pipehook/core/jshost/scripttest"
	"github.com/pipehook/pipehook/core/jshost/typings"
)

// host is there, so that nothing is missing for want of one.
func host() engine.Host { return &scripttest.Recorder{KVs: &fixture.Overlay{}} }

// inRuntime is what a function returns that runs as a script's own.
func inRuntime(t *testing.T, kind engine.Kind, code string, into any) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "it.js")
	if err := os.WriteFile(path, []byte(code), 0o600); err != nil {
		t.Fatal(err)
	}
	made, err := bundle.Make(path)
	if err != nil {
		t.Fatal(err)
	}
	program, err := engine.Compile(made)
	if err != nil {
		t.Fatal(err)
	}
	pool := engine.NewPool(program, engine.Options{Host: host()})
	defer pool.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	pool.Run(ctx, []engine.Call{{Kind: kind, Event: &core.Event{ID: "1", Body: []byte("{}")}}}, func(_ int, r engine.Result) {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		if err := json.Unmarshal(r.Value, into); err != nil {
			t.Fatalf("%v: %s", err, r.Value)
		}
	})
}

// namesOf lists what an object has, its class's methods included; not the language's own.
const namesOf = `
const own = (o) => (o === null || o === Object.prototype || o === Error.prototype || o === Object.getPrototypeOf(() => 1) ? [] : [...Object.getOwnPropertyNames(o), ...own(Object.getPrototypeOf(o))]);
const namesOf = (o) => [...new Set(own(o))].filter((n) => !["constructor", "length", "name", "prototype", "then", "stack", "message", "isError"].includes(n)).sort();
`

var (
	declared = string(typings.Text("test", nil))
	member   = regexp.MustCompile(`^(?:static )?(?:readonly )?([A-Za-z_$][\w$]*)\??[(:<]`)
	static   = regexp.MustCompile(`^static ([A-Za-z_$][\w$]*)[(<:]`)
)

// block is the text between the braces after the line that begins so.
func block(t *testing.T, head string) (lines []string) {
	t.Helper()
	at := strings.Index(declared, head)
	if at < 0 {
		t.Fatalf("nothing is declared as %q", head)
	}
	rest := declared[at:]
	indent := head[:len(head)-len(strings.TrimLeft(head, " "))] + "  "
	for line := range strings.SplitSeq(rest[strings.Index(rest, "{\n")+2:], "\n") {
		if inner, ok := strings.CutPrefix(line, indent); ok && !strings.HasPrefix(inner, " ") {
			lines = append(lines, inner)
		} else if strings.HasPrefix(line, indent[2:]+"}") {
			return lines
		}
	}
	t.Fatalf("%q does not end", head)
	return nil
}

func members(t *testing.T, heads ...string) []string {
	t.Helper()
	found := map[string]bool{}
	for _, head := range heads {
		for _, line := range block(t, head) {
			if m := member.FindStringSubmatch(line); m != nil && m[1] != "constructor" && !static.MatchString(line) {
				found[m[1]] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}

func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	for _, name := range want {
		if !slices.Contains(got, name) {
			t.Errorf("%s: %s is declared and not there", what, name)
		}
	}
	for _, name := range got {
		if !slices.Contains(want, name) {
			t.Errorf("%s: %s is there and not declared", what, name)
		}
	}
}

func TestWhatAFunctionIsGivenIsWhatIsDeclared(t *testing.T) {
	const code = namesOf + `export default (event, ctx) => ({
  event: Object.keys(event).concat(METHODS.filter((n) => typeof event[n] === "function")),
  ctx: namesOf(ctx), log: namesOf(ctx.log), kv: namesOf(ctx.kv), pipedrive: namesOf(ctx.pipedrive), shared: namesOf(ctx.kv.shared),
})`
	methods, err := json.Marshal(engine.EventMethods())
	if err != nil {
		t.Fatal(err)
	}
	var stage, source map[string][]string
	inRuntime(t, engine.Stage, strings.Replace(code, "METHODS", string(methods), 1), &stage)
	same(t, "event", stage["event"], members(t, "  export interface Event<"))
	same(t, "ctx of a stage", stage["ctx"], members(t, "  export interface Context {", "  export interface StageContext extends Context {"))
	same(t, "ctx.log", stage["log"], members(t, "  export interface Log {"))
	same(t, "ctx.kv", stage["kv"], append(members(t, "  export interface KV {"), "shared"))
	same(t, "ctx.kv.shared", stage["shared"], members(t, "  export interface KV {"))
	same(t, "ctx.pipedrive", stage["pipedrive"], members(t, "  export interface Pipedrive {"))
	inRuntime(t, engine.Source, namesOf+`export default (request, ctx) => ({ request: namesOf(request), ctx: namesOf(ctx) })`, &source)
	same(t, "request", source["request"], members(t, "  export interface SourceRequest {"))
	same(t, "ctx of a source", source["ctx"], members(t, "  export interface Context {"))
}

var global = regexp.MustCompile(`(?m)^declare (?:var|function|class) ([A-Za-z]+)`)

func TestTheGlobalsAreThoseThatAreDeclared(t *testing.T) {
	there := engine.Globals()
	there = slices.DeleteFunc(there, func(name string) bool { return slices.Contains(ofTheLanguage, name) })
	var named []string
	for _, m := range global.FindAllStringSubmatch(declared, -1) {
		named = append(named, m[1])
	}
	slices.Sort(named)
	same(t, "globals", there, slices.Compact(named))
}

// ofTheLanguage are declared by TypeScript's own lib.
var ofTheLanguage = strings.Fields(`globalThis undefined NaN Infinity
	Object Array String Number BigInt RegExp Date Boolean Proxy Reflect Symbol Math JSON Promise Map Set WeakMap WeakSet
	Error AggregateError TypeError ReferenceError SyntaxError RangeError EvalError URIError
	ArrayBuffer DataView Uint8Array Uint8ClampedArray Int8Array Uint16Array Int16Array Uint32Array Int32Array Float32Array Float64Array BigUint64Array BigInt64Array
	isNaN parseInt parseFloat isFinite decodeURI decodeURIComponent encodeURI encodeURIComponent escape unescape eval Function`)

// made says how to get an instance of each class.
var made = map[string]string{
	"Headers": "new Headers()", "Request": `new Request("https://a.example/")`, "Response": "new Response()", "AbortController": "new AbortController()",
	"AbortSignal": "AbortSignal.abort()", "URL": `new URL("https://a.example/")`, "URLSearchParams": "new URLSearchParams()",
	"TextEncoder": "new TextEncoder()", "TextDecoder": "new TextDecoder()", "DOMException": `new DOMException("x", "AbortError")`,
}

func TestTheClassesHaveWhatIsDeclared(t *testing.T) {
	for _, m := range regexp.MustCompile(`(?m)^declare class ([A-Za-z]+)`).FindAllStringSubmatch(declared, -1) {
		if made[m[1]] == "" {
			t.Errorf("this test does not know how to make a %s", m[1])
		}
	}
	for name, instance := range made {
		var there struct{ Instance, Static []string }
		inRuntime(t, engine.Stage, namesOf+`export default () => ({ instance: namesOf(`+instance+`), static: namesOf(`+name+`) })`, &there)
		head := regexp.MustCompile(`declare class ` + name + `\b[^{]*\{`).FindString(declared)
		if head == "" {
			t.Errorf("%s is not declared as a class", name)
			continue
		}
		same(t, name, there.Instance, members(t, head[:len(head)-1]))
		var statics []string
		for _, line := range block(t, head[:len(head)-1]) {
			if m := static.FindStringSubmatch(line); m != nil {
				statics = append(statics, m[1])
			}
		}
		same(t, "static "+name, there.Static, statics)
	}
}

func TestTheObjectsHaveWhatIsDeclared(t *testing.T) {
	var there map[string][]string
	inRuntime(t, engine.Stage, namesOf+`export default () => ({ console: namesOf(console), crypto: namesOf(crypto), subtle: namesOf(crypto.subtle) })`, &there)
	same(t, "console", there["console"], members(t, "declare var console: {"))
	same(t, "crypto", there["crypto"], members(t, "declare var crypto: {"))
	same(t, "crypto.subtle", there["subtle"], members(t, "  readonly subtle: {"))
}

func TestAFileSaysWhoWroteIt(t *testing.T) {
	for version, ok := range map[string]bool{"v1.2.3": true, "(devel)": true, "v0.0.0-20261126150000-abcdefabcdef+dirty": true} {
		if got, ours := typings.WrittenBy(typings.Text(version, nil)); got != version || ours != ok {
			t.Errorf("%s: %q, %v", version, got, ours)
		}
	}
	if _, ours := typings.WrittenBy([]byte("declare module \"pipehook\" {}\n")); ours {
		t.Error("anything is ours")
	}
}
