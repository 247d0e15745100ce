package bundle_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pipehook/pipehook/core/jshost/bundle"
)

// files writes pairs of name and text; the first is the entry.
func files(t *testing.T, pairs ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(pairs); i += 2 {
		path := filepath.Join(dir, pairs[i])
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(pairs[i+1]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, pairs[0])
}

func TestABundleOfModulesIsStrict(t *testing.T) {
	for name, test := range map[string]struct {
		pairs  []string
		strict bool
	}{
		"a module":                     {[]string{"a.ts", "export default () => 1"}, true},
		"modules and JSON":             {[]string{"a.js", "import { b } from './b'; import c from './c.json'; export default () => b + c", "b.ts", "export const b = 1", "c.json", "1"}, true},
		"CommonJS":                     {[]string{"a.cjs", "module.exports = () => 1"}, false},
		"a module that needs CommonJS": {[]string{"a.js", "import b from 'b'; export default () => b", "node_modules/b/index.js", "module.exports = 1", "node_modules/b/package.json", `{"main":"index.js"}`}, false},
	} {
		code, err := bundle.Make(files(t, test.pairs...))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(string(code.Text), `"use strict"`); got != test.strict {
			t.Errorf("%s: strict %v", name, got)
		}
	}
}

func TestTheHashIsThatOfTheCode(t *testing.T) {
	path := files(t, "a.ts", "import { b } from './b'; export default () => b", "b.ts", "export const b = 1")
	hashes := map[string]bool{}
	for _, text := range []string{"export const b = 1", "export const b = 1", "export const b = 2"} {
		if err := os.WriteFile(filepath.Join(filepath.Dir(path), "b.ts"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		code, err := bundle.Make(path)
		if err != nil || len(code.Hash) != 12 || len(code.Inputs) != 2 || code.Path != path {
			t.Fatalf("%v: %q of %v", err, code.Hash, code.Inputs)
		}
		hashes[code.Hash] = true
	}
	if len(hashes) != 2 {
		t.Errorf("hashes %v, want two", hashes)
	}
}
