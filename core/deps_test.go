package core_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/pipehook/pipehook"

// list is go list over packages, one line each.
func list(t *testing.T, args ...string) []string {
	t.Helper()
	out, err := exec.Command("go", append([]string{"list"}, args...)...).Output()
	if err != nil {
		t.Fatalf("go list %s: %v", strings.Join(args, " "), err)
	}
	return strings.Fields(string(out))
}

func TestCoreNeedsTheStandardLibraryOnly(t *testing.T) {
	for _, dep := range list(t, "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", module+"/core") {
		if dep != module+"/core" {
			t.Errorf("core needs %s", dep)
		}
	}
}

// A plugin is as large as what its author imports.
func TestThePluginSDKIsSmall(t *testing.T) {
	own := []string{"/core", "/core/effect", "/core/strict", "/plugins/sdk", "/plugins/sdk/wire", "/plugins/sdk/wire/pluginv1"}
	for _, dep := range list(t, "-deps", module+"/plugins/sdk") {
		if name, ours := strings.CutPrefix(dep, module); ours && !slices.Contains(own, name) {
			t.Errorf("plugins/sdk needs %s", dep)
		}
		for _, word := range []string{"/bun", "/goja", "/koanf", "/esbuild", "modernc.org/"} {
			if strings.Contains(dep, word) {
				t.Errorf("plugins/sdk needs %s", dep)
			}
		}
	}
}

func TestAnExampleOfAPluginImportsTheSDKAndNothingElseOfOurs(t *testing.T) {
	for _, line := range list(t, "-f", "{{.ImportPath}}={{join .Imports \",\"}}", module+"/plugins/examples/...") {
		pkg, imports, _ := strings.Cut(line, "=")
		for imported := range strings.SplitSeq(imports, ",") {
			if strings.HasPrefix(imported, module) && imported != module+"/plugins/sdk" {
				t.Errorf("%s imports %s", pkg, imported)
			}
		}
	}
}

// ends are what a part may use to speak to another process, or what it is put together from.
var ends = map[string][]string{
	module + "/core/plughost":      {module + "/plugins/sdk/wire"},
	module + "/core/jshost":        {module + "/core/jshost/bundle", module + "/core/jshost/engine", module + "/core/jshost/worker"},
	module + "/core/jshost/bundle": {module + "/core/jshost/engine"},
	module + "/core/jshost/engine": {module + "/core/jshost/web"},
	module + "/core/jshost/worker": {module + "/core/jshost/bundle", module + "/core/jshost/engine", module + "/core/jshost/worker/message"},
	// It runs programs as no part of the product does.
	module + "/core/jshost/scripttest": {module + "/core/fixture", module + "/core/jshost/bundle", module + "/core/jshost/engine"},
	// What a user's code says is judged in one place, whichever way it runs.
	module + "/stages/script":      {module + "/stages/internal/guest"},
	module + "/stages/plugin":      {module + "/stages/internal/guest"},
	module + "/core/source/script": {module + "/core/source/guest"},
	// What is kept in step is asked for.
	module + "/core/mirror": {module + "/core/pipedrive"},
}

// leaves are what any part may use beside core.
var leaves = []string{
	module + "/core", module + "/core/database", module + "/core/effect", module + "/core/failpoint", module + "/core/jsonscan", module + "/core/pipedrive/shape", module + "/core/strict",
}

func TestSiblingsDoNotKnowEachOther(t *testing.T) {
	for _, line := range list(t, "-f", "{{.ImportPath}}={{join .Imports \",\"}}", module+"/core/...", module+"/stages/...") {
		pkg, imports, _ := strings.Cut(line, "=")
		if pkg == module+"/stages" {
			continue // the one list of all stages
		}
		for imported := range strings.SplitSeq(imports, ",") {
			if strings.HasPrefix(imported, module) && !slices.Contains(leaves, imported) && !slices.Contains(ends[pkg], imported) {
				t.Errorf("%s imports %s", pkg, imported)
			}
		}
	}
}

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	for _, line := range list(t, "-f", "{{.ImportPath}}={{len .Doc}}", module+"/...") {
		if pkg, doc, _ := strings.Cut(line, "="); doc == "0" {
			t.Errorf("%s has no package comment", pkg)
		}
	}
}

// The SQLite driver is translated for one version of its C library and subtly wrong with others.
func TestTheSQLiteDriverHasTheLibraryItWasMadeFor(t *testing.T) {
	libc := list(t, "-m", "-f", "{{.Version}}", "modernc.org/libc")[0]
	dir := list(t, "-m", "-f", "{{.Dir}}", "modernc.org/sqlite")[0]
	out, err := exec.Command("grep", "modernc.org/libc ", dir+"/go.mod").Output()
	if err != nil {
		t.Fatal(err)
	}
	if fields := strings.Fields(string(out)); !slices.Contains(fields, libc) {
		t.Errorf("modernc.org/libc is %s, the driver asks for %s", libc, strings.TrimSpace(string(out)))
	}
}
