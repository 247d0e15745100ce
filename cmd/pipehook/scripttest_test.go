package main

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

const testImports = "import { expect, fixture, mock, run, test } from \"pipehook/test\";\n"

func TestTestsOfScriptsAreRunAndTold(t *testing.T) {
	inFolder(t,
		"scripts/a.js", "export default (event, ctx) => ctx.log.info('got ' + event.id)",
		"scripts/a.test.js", testImports+"import a from './a';\ntest('it logs', async () => { expect((await run(a, fixture('added.deal'))).ok).toBe(true); });",
		"scripts/stages/b.test.ts", testImports+"test('one', () => {});\ntest('two', () => {\n  console.log('so far');\n  expect([1, 2]).toEqual([1, 3]);\n});\ntest.skip('three');",
		"scripts/node_modules/x/c.test.js", "throw 1", "scripts/.d/d.test.js", "throw 1")
	out := says(t, exitFailed, []string{"test"},
		"scripts/a.test.js\n  ✓ it logs", "scripts/stages/b.test.ts\n  ✓ one", "  ✗ two", "  – three",
		"  ✗ two\n    scripts/stages/b.test.ts:5:26\n\n    expect(…).toEqual([ 1, 3 ])\n", "    -   3,\n    +   2,\n", "    > 5 |   expect([1, 2]).toEqual([1, 3]);\n        |                          ^",
		"logged:\n      info so far", "1 failed, 2 passed, 1 skipped in 2 files", "pipehook: error: 1 of 3 tests failed")
	if strings.Contains(out, "node_modules") {
		t.Errorf("tests of packages were run: %s", out)
	}
	says(t, exitDone, []string{"test", "--filter", "one"}, "1 passed, 3 skipped in 2 files")
	says(t, exitUsage, []string{"test", "nosuch"}, "there is no file nosuch", `pipehook: hint: pipehook test --filter "nosuch"`)
	says(t, exitUsage, []string{"test", "--filter", "nothing like it"}, `no test has "nothing like it" in its name`, "pipehook: hint: ")
	says(t, exitDone, []string{"test", "scripts/a.js"}, "1 passed in 1 file")
	says(t, exitDone, []string{"script", "test", "scripts/a.test.js"}, "1 passed in 1 file")
	says(t, exitFailed, []string{"test", "scripts/stages"}, "1 failed, 1 passed, 1 skipped in 1 file")
}

func TestWhatCameOfTestsIsReadByPrograms(t *testing.T) {
	inFolder(t, "scripts/a.test.ts", testImports+"test('good', () => {});\ntest('bad', () => {\n  null.x;\n});")
	out := says(t, exitFailed, []string{"test", "--json", "--junit", "junit.xml"})
	var answer struct {
		Files []struct {
			File  string
			Tests []struct {
				Name, State string
				TookUS      int64
				Failure     *struct {
					Message, File string
					Line, Column  int
				}
			}
		}
		Passed, Failed, Skipped int
	}
	if err := json.Unmarshal([]byte(out), &answer); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	tests := answer.Files[0].Tests
	if answer.Passed != 1 || answer.Failed != 1 || tests[0].State != "passed" || tests[1].State != "failed" || tests[1].Failure.Line != 4 || tests[1].Failure.File != "scripts/a.test.ts" {
		t.Errorf("%s", out)
	}
	var suites struct {
		Failures int `xml:"failures,attr"`
	}
	if err := xml.Unmarshal([]byte(readFile(t, "junit.xml")), &suites); err != nil || suites.Failures != 1 {
		t.Errorf("%v: %s", err, readFile(t, "junit.xml"))
	}
}

func TestWithCINoSnapshotIsWritten(t *testing.T) {
	inFolder(t, "scripts/a.test.ts", testImports+"test('kept', () => expect(1).toMatchSnapshot());")
	ci := func() (int, string) {
		var out, errs bytes.Buffer
		code := run(t.Context(), []string{"test"}, []string{"CI=true"}, strings.NewReader(""), &out, &errs)
		return code, out.String() + errs.String()
	}
	if code, out := ci(); code != exitFailed || !strings.Contains(out, "there is no snapshot of it") {
		t.Errorf("exit code %d: %s", code, out)
	}
	says(t, exitDone, []string{"test"}, "1 snapshot written")
	if code, out := ci(); code != exitDone {
		t.Errorf("exit code %d: %s", code, out)
	}
	if err := os.WriteFile("scripts/a.test.ts", []byte(testImports+"test('kept', () => expect(2).toMatchSnapshot());"), 0o600); err != nil {
		t.Fatal(err)
	}
	says(t, exitFailed, []string{"test"}, "expected: 1\n    received: 2", "pipehook test --update")
	says(t, exitDone, []string{"test", "--update"}, "1 snapshot updated")
}

func TestTestsThatCantBeFoundAreRefusedWithAHint(t *testing.T) {
	inFolder(t)
	says(t, exitUsage, []string{"test"}, "there is no folder of scripts at scripts", "pipehook: hint: pipehook script new NAME")
	inFolder(t, "scripts/a.js", "export default () => {}")
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"no test at all":        {nil, "there is no *.test.ts or *.test.js in scripts"},
		"a script without one":  {[]string{"scripts/a.js"}, "scripts/a.js is no test, and there is none beside it"},
		"a file that is gone":   {[]string{"scripts/b.test.js"}, "there is no file"},
		"--watch with --json":   {[]string{"--watch", "--json"}, "--watch has no end"},
		"--since alone":         {[]string{"--since", "1h"}, "--since means something with --replay only"},
		"--replay without file": {[]string{"--replay"}, "--replay needs the script"},
	} {
		t.Run(name, func(t *testing.T) { says(t, exitUsage, append([]string{"test"}, test.args...), test.want) })
	}
}

// lines is standard output that can be waited for.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{}
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case l.more <- struct{}{}:
	default:
	}
	return l.text.Write(p)
}

// await waits until the text has been printed so many times.
func (l *lines) await(t *testing.T, text string, times int) {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		l.mu.Lock()
		all := l.text.String()
		l.mu.Unlock()
		if strings.Count(all, text) >= times {
			return
		}
		select {
		case <-l.more:
		case <-deadline:
			t.Fatalf("%q was not printed %d times:\n%s", text, times, all)
		}
	}
}

func TestWatchedTestsRunAgainWhenTheirFilesChange(t *testing.T) {
	inFolder(t,
		"scripts/lib/n.ts", "export const n = 1;",
		"scripts/a.test.ts", testImports+"import { n } from './lib/n';\ntest('about n', () => expect(n).toBe(1));",
		"scripts/b.test.ts", testImports+"test('about nothing', () => expect(1).toMatchSnapshot());")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	out := &lines{more: make(chan struct{}, 1)}
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, []string{"test", "--watch"}, nil, strings.NewReader(""), out, out)
	}()
	out.await(t, "waiting for a change", 1)
	out.await(t, "2 passed in 2 files", 1)
	if err := os.WriteFile(filepath.Join("scripts", "lib", "n.ts"), []byte("export const n = 2;"), 0o600); err != nil {
		t.Fatal(err)
	}
	out.await(t, "1 failed, 0 passed in 1 file", 1)
	out.await(t, "waiting for a change", 2)
	if err := os.WriteFile(filepath.Join("scripts", "lib", "n.ts"), []byte("export const n = 1; // again"), 0o600); err != nil {
		t.Fatal(err)
	}
	out.await(t, "1 passed in 1 file", 1)
	stop()
	if got := <-code; got != exitDone {
		t.Errorf("exit code %d", got)
	}
}

// The examples are what people begin with, and what new scripts are made of.
func TestTheExamplesPassTheirTests(t *testing.T) {
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"test", "../../scripts"}, []string{"CI=1"}, strings.NewReader(""), &out, &errs); code != exitDone {
		t.Errorf("exit code %d\n%s%s", code, out.String(), errs.String())
	}
}
