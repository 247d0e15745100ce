package typings_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pipehook/pipehook/core/jshost/scripttest"
)

// What "pipehook/test" has, told by a test of a script.
const library = `import * as library from "pipehook/test";
const { expect, mock, run, test, describe, fixture } = library;
test("names", async () => {
  const deal = fixture({ action: "added", object: "deal" });
  const result = await run((e, ctx) => ctx.log.info("x"), deal);
  const failed = await run((e, ctx) => ctx.retryAfter(1), deal);
  console.log(JSON.stringify({
    module: Object.keys(library).filter((n) => n !== "default"), matchers: Object.getOwnPropertyNames(expect(1)), expect: Object.keys(expect), mock: Object.keys(mock),
    test: Object.keys(test), describe: Object.keys(describe), result: Object.keys({ ...result, ...failed, value: 1, dropped: 1, rejected: 1 }), error: Object.keys(failed.error),
  }));
});`

var moduleName = regexp.MustCompile(`^export (?:const|function) (\w+)`)

func TestTheTestsModuleHasWhatIsDeclared(t *testing.T) {
	path := filepath.Join(t.TempDir(), "it.test.js")
	if err := os.WriteFile(path, []byte(library), 0o600); err != nil {
		t.Fatal(err)
	}
	f := scripttest.RunFile(t.Context(), path, scripttest.Options{})
	if len(f.Tests) != 1 || f.Tests[0].Failure != nil || len(f.Tests[0].Lines) != 2 {
		t.Fatalf("%+v", f)
	}
	var there map[string][]string
	if err := json.Unmarshal([]byte(f.Tests[0].Lines[1].Msg), &there); err != nil {
		t.Fatalf("%v: %s", err, f.Tests[0].Lines[1].Msg)
	}
	names := map[string]bool{}
	for _, line := range block(t, `declare module "pipehook/test" {`) {
		if m := moduleName.FindStringSubmatch(line); m != nil {
			names[m[1]] = true
		}
	}
	same(t, "the module", there["module"], slices.Sorted(maps.Keys(names)))
	for what, head := range map[string]string{
		"matchers": "  export interface Matchers<T> {", "expect": "  export const expect: {", "mock": "  export const mock: {",
		"test": "  export const test: {", "describe": "  export const describe: {", "result": "  export interface Result {",
	} {
		same(t, what, there[what], members(t, head))
	}
	same(t, "error", there["error"], members(t, "    readonly error?: {"))
	effects, err := json.Marshal(everyEffect)
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(effects, &fields); err != nil {
		t.Fatal(err)
	}
	same(t, "an effect", slices.Sorted(maps.Keys(fields)), members(t, "  export interface Effect {"))
}

// everyEffect has all fields that an effect can have.
var everyEffect = scripttest.Effect{
	Fetch: "x", Headers: map[string]string{"a": "b"}, Body: []byte("1"), Status: 1, Error: "x", KV: "x", Shared: true, Emit: "x", ObjectID: "x", Key: "x",
	Value: []byte("1"), TTL: 1, Conflict: true, Current: []byte("1"), Previous: []byte("1"), Meta: []byte("1"), Duplicate: true,
}

func TestTheDocumentNamesAllExpectations(t *testing.T) {
	text, err := os.ReadFile("../../../docs/scripts-testing.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, head := range []string{"  export interface Matchers<T> {", "  export const expect: {", "  export const mock: {", "  export interface Result {", "  export interface FixtureChange {"} {
		for _, name := range members(t, head) {
			if !strings.Contains(string(text), name) {
				t.Errorf("%s is not described", name)
			}
		}
	}
}
