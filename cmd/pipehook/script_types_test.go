package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pipehook/pipehook/core/jshost/typings"
)

// inFolder writes files into a folder and goes there; names and texts take turns.
func inFolder(t *testing.T, files ...string) {
	t.Helper()
	t.Chdir(t.TempDir())
	for i := 0; i < len(files); i += 2 {
		if err := os.MkdirAll(filepath.Dir(files[i]), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(files[i], []byte(files[i+1]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// says runs the program and checks its exit code and what it prints.
func says(t *testing.T, code int, args []string, want ...string) string {
	t.Helper()
	got, out, errs := command(t, args...)
	if got != code {
		t.Errorf("%v: exit code %d, want %d\n%s%s", args, got, code, out, errs)
	}
	for _, text := range want {
		if !strings.Contains(out+errs, text) {
			t.Errorf("%v: no %q in\n%s%s", args, text, out, errs)
		}
	}
	return out
}

func TestTypesAreWrittenAndBroughtUpToDate(t *testing.T) {
	inFolder(t)
	says(t, exitDone, []string{"types", "--tsconfig"}, "wrote scripts/pipehook.d.ts", "wrote scripts/tsconfig.json", "tsc -p scripts")
	says(t, exitDone, []string{"types", "--tsconfig"}, "up to date: scripts/pipehook.d.ts", "left alone: scripts/tsconfig.json")
	text := readFile(t, "scripts/pipehook.d.ts")
	if got, ok := typings.WrittenBy([]byte(text)); !ok || got != currentVersion() || !strings.Contains(text, `declare module "pipehook/test"`) {
		t.Errorf("written by %q", got)
	}
	old := strings.Replace(text, currentVersion(), "v0.0.1", 1)
	if err := os.WriteFile("scripts/pipehook.d.ts", []byte(old), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := says(t, exitDone, []string{"types", "--json"}); !strings.Contains(out, `"changed": true`) || !strings.Contains(out, `"file": "scripts/pipehook.d.ts"`) {
		t.Errorf("%s", out)
	}
	if readFile(t, "scripts/pipehook.d.ts") != text {
		t.Error("it is still the old one")
	}
	if out := says(t, exitDone, []string{"types", "--out", "-"}); !bytes.Equal([]byte(out), typings.Text(currentVersion(), nil)) {
		t.Error("standard output has something else")
	}
	says(t, exitDone, []string{"types", "--out", "elsewhere/own.d.ts"}, "wrote elsewhere/own.d.ts", "tsc --strict --noEmit --target es2023 --lib es2023 elsewhere/own.d.ts")
}

func TestTypesThatSomebodyElseWroteAreLeftAlone(t *testing.T) {
	inFolder(t, "scripts/pipehook.d.ts", "declare const mine: 1;\n")
	says(t, exitUsage, []string{"types"}, "scripts/pipehook.d.ts was not written by pipehook", "pipehook: hint: ")
	if got := readFile(t, "scripts/pipehook.d.ts"); got != "declare const mine: 1;\n" {
		t.Errorf("%s", got)
	}
}

func TestTypesGoWhereTheConfigurationHasItsScripts(t *testing.T) {
	inFolder(t, "pipeline.toml", "[scripts]\ndir = \"handlers\"\n[[pipeline]]\nname = \"a\"\npath = \"/a\"\nsource = \"pipedrive\"\n")
	says(t, exitDone, []string{"types"}, "wrote handlers/pipehook.d.ts")
	says(t, exitUsage, []string{"types", "-c", "nosuch.toml"}, "there is no nosuch.toml here")
}

func TestTypesHaveTheFieldsOfTheAccount(t *testing.T) {
	fields := `{"objects":{"deal":[{"key":"k1","name":"tier","label":"Tier","type":"enum","custom":true,"options":[{"id":1,"label":"Gold"}]}]}}`
	inFolder(t, "pipedrive.fields.json", fields)
	says(t, exitDone, []string{"types"}, "wrote scripts/pipehook.d.ts")
	if text := readFile(t, "scripts/pipehook.d.ts"); !strings.Contains(text, `readonly tier?: "Gold" | number | null;`) || !strings.Contains(text, "export type DealEvent<") {
		t.Errorf("they are not in\n%s", text)
	}
	says(t, exitDone, []string{"script", "new", "gold", "--match", "updated.deal"})
	says(t, exitDone, []string{"types"}, "up to date: scripts/pipehook.d.ts")
	inFolder(t, "pipeline.toml", "[[pipeline]]\nname = \"a\"\npath = \"/a\"\nsource = \"pipedrive\"\n[pipedrive]\nfields = \"own.json\"\n", "own.json", "{")
	says(t, exitFailed, []string{"types"}, "not valid JSON", "pipehook: hint: ")
}
