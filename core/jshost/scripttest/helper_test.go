package scripttest_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/fixture"
	"github.com/pipehook/pipehook/core/jshost/scripttest"
	"github.com/pipehook/pipehook/core/samples"
	"github.com/pipehook/pipehook/core/source/pipedrive"
)

func TestMain(m *testing.M) {
	// The regular expressions have a clock of their own, which ends some time after the last of them.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/dlclark/regexp2/v2.runClock"))
}

func events() fixture.Events {
	return fixture.Events{
		Sample: func(eventType string) ([]byte, bool) {
			_, body, ok := samples.For(eventType)
			return body, ok
		},
		Types: samples.Types(), Name: func(ev *core.Event) error { return pipedrive.Source{}.Name(ev) },
		Source: "pipedrive", Pipeline: "crm",
	}
}

const imports = `import { afterEach, beforeEach, describe, expect, fixture, mock, request, run, test } from "pipehook/test";` + "\n"

// write puts files into a folder; names and texts take turns. It returns the first file.
func write(t *testing.T, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(files); i += 2 {
		path := filepath.Join(dir, filepath.FromSlash(files[i]))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(files[i+1]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, filepath.FromSlash(files[0]))
}

// runCode runs a file of tests that begins with the imports, on its first line.
func runCode(t *testing.T, code string, files ...string) scripttest.File {
	t.Helper()
	path := write(t, append([]string{"it.test.ts", imports + code}, files...)...)
	return scripttest.RunFile(context.WithoutCancel(t.Context()), path, scripttest.Options{Events: events()})
}

// passes fails for the first test that did not pass.
func passes(t *testing.T, f scripttest.File) {
	t.Helper()
	if f.Failure != nil {
		t.Fatalf("%s: %s", f.Failure.Place(), f.Failure.Message)
	}
	for _, one := range f.Tests {
		if one.State != scripttest.Passed {
			t.Errorf("%s: %s", one.Name, one.State)
			if one.Failure != nil {
				t.Errorf("%s: %s\n%s", one.Failure.Place(), one.Failure.Message, one.Failure.Detail)
			}
		}
	}
}

// fails is how the only test of a file failed.
func fails(t *testing.T, f scripttest.File) *scripttest.Failure {
	t.Helper()
	if f.Failure != nil {
		t.Fatalf("the file failed: %s: %s", f.Failure.Place(), f.Failure.Message)
	}
	if len(f.Tests) != 1 || f.Tests[0].Failure == nil {
		t.Fatalf("tests %+v", f.Tests)
	}
	return f.Tests[0].Failure
}

func names(f scripttest.File, state scripttest.State) string {
	var list []string
	for _, one := range f.Tests {
		if one.State == state {
			list = append(list, one.Name)
		}
	}
	return strings.Join(list, ", ")
}
