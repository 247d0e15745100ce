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

func TestAPackageIsTakenAsForABrowser(t *testing.T) {
	code, err := bundle.Make(files(t, "a.js", "import b from 'b'; export default () => b",
		"node_modules/b/node.js", "module.exports = require('http')", "node_modules/b/web.js", "module.exports = fetch.name",
		"node_modules/b/package.json", `{"main":"node.js","browser":{"./node.js":"./web.js"}}`))
	if err != nil || !strings.Contains(string(code.Text), "fetch.name") {
		t.Errorf("%v: %s", err, code.Text)
	}
	_, err = bundle.Make(files(t, "a.js", "import http from 'http'; export default () => http"))
	if err == nil || !strings.Contains(err.Error(), `a.js:1:18: there is no module "http": scripts don't run in Node.js and have none of its modules`) {
		t.Errorf("error %v", err)
	}
}

func TestAMissingPackageIsToldWithTheLineThatInstallsIt(t *testing.T) {
	for path, want := range map[string]string{
		"axios": "npm install axios, in its folder", "@a/b/c": "npm install @a/b, in its folder", "lodash/fp": "npm install lodash, in its folder", "./lib/x": "",
	} {
		_, err := bundle.Make(files(t, "a.js", "import x from '"+path+"'; export default () => x"))
		if err == nil || !strings.Contains(err.Error(), `a.js:1:15: Could not resolve "`+path+`"`) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "npm") != (want != "") {
			t.Errorf("%s: error %v", path, err)
		}
	}
}
