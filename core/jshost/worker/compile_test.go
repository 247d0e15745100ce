//go:build unix

package worker_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pipehook/pipehook/core/jshost/engine"
	"github.com/pipehook/pipehook/core/jshost/worker"
)

func TestFilesAreCompiledAndThoseThatCanNotBeSayWhy(t *testing.T) {
	dir := t.TempDir()
	files := []struct{ name, text, want string }{
		{"good.ts", "import { title } from './lib';\nexport const match = ['updated.deal', 'added.*'];\nexport default (event: any) => title(event)", ""},
		{"syntax.js", "export default () => {\n  let a = ;\n}", "syntax.js:2:11: "},
		{"missing.js", "import './nothing'", "missing.js:1:8: Could not resolve"},
		{"throws.js", "export default 1;\nthrow new Error('not today')", "throws.js:2:7: Error: not today"},
		{"loops.js", "for (;;);", "top level ran for more than"},
		{"parens.js", strings.Repeat("(", 6_000_000), "it is nested too deep"},
		{"brackets.js", "export default " + strings.Repeat("[", 1_000_000), "it is nested too deep"},
		{"blocks.ts", strings.Repeat("{", 1_000_000), "it is nested too deep"},
		{"not.js", "export default " + strings.Repeat("!", 1_000_000) + "1", "nested too deep"},
		{"memory.js", "const a = []; for (;;) a.push(new Array(1e6).fill(1))", "memory.js"},
		{"bigint.js", "export default 1n << (1n << 40n)", "it takes more than 512MiB to compile"},
		{"absent.js", "", "absent.js: can't be read: there is no such file"},
		{"last.js", "export default () => {}", ""},
	}
	paths := make([]string, len(files))
	for i, f := range files {
		paths[i] = filepath.Join(dir, f.name)
		if f.text == "" {
			continue
		}
		if err := os.WriteFile(paths[i], []byte(f.text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "lib.ts"), []byte("export const title = (e: any): string => e.current.title"), 0o600); err != nil {
		t.Fatal(err)
	}
	compiled, err := worker.Compile(t.Context(), paths)
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range files {
		c := compiled[i]
		if f.want == "" {
			if c.Err != nil || !c.Handles || c.Code.Hash == "" || c.Code.Path != paths[i] {
				t.Errorf("%s: %v, %+v", f.name, c.Err, c.Code.Hash)
			}
			continue
		}
		_, isCompileError := errors.AsType[*engine.CompileError](c.Err)
		if !isCompileError || !strings.Contains(c.Err.Error(), f.want) {
			t.Errorf("%s: error %.300v, want %q", f.name, c.Err, f.want)
		} else {
			t.Logf("%.200v", c.Err)
		}
	}
	good := compiled[0]
	if len(good.Match) != 2 || good.Match[0].String() != "updated.deal" || len(good.Code.Inputs) != 2 {
		t.Errorf("match %v, inputs %q", good.Match, good.Code.Inputs)
	}
	if _, err := engine.Compile(good.Code); err != nil {
		t.Errorf("the code: %v", err)
	}
}

func TestAPathIsNamedAsItWasGiven(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if err := os.MkdirAll("scripts", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("scripts/it.js", []byte("export default ("), 0o600); err != nil {
		t.Fatal(err)
	}
	compiled, err := worker.Compile(t.Context(), []string{"scripts/it.js"})
	if err != nil || !strings.HasPrefix(compiled[0].Err.Error(), "scripts/it.js:1:17: ") {
		t.Errorf("%v, %v", compiled, err)
	}
}

func TestCompilingMayBeGivenUp(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := worker.Compile(ctx, []string{"it.js"}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
