package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/coretest/testdb"
	"github.com/pipehook/pipehook/plugins/sdk/wire"
)

// madePlugin is what plugin new --json prints.
type madePlugin struct {
	Name, Kind, Folder, SDK, TOML string
	Files, Next                   []string
}

func makePlugin(t *testing.T, args ...string) (made madePlugin) {
	t.Helper()
	out := says(t, exitDone, append([]string{"plugin", "new", "--json"}, args...))
	if err := json.Unmarshal([]byte(out), &made); err != nil {
		t.Fatal(err)
	}
	return made
}

// shell runs a line that people are told to type.
func shell(t *testing.T, line string) string {
	t.Helper()
	out, err := exec.Command("sh", "-c", line).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
	return string(out)
}

// What is printed for a new plugin is typed, and then it does what it is there for.
func TestANewPluginWorks(t *testing.T) {
	for _, kind := range pluginKinds {
		t.Run(kind, func(t *testing.T) {
			p := newProject(t, testdb.SQLite(t), fullChain, nil)
			t.Chdir(p.dir)
			made := makePlugin(t, "deal-audit", "--kind", kind)
			want := []string{"plugins/deal-audit/go.mod", "plugins/deal-audit/main.go", "plugins/deal-audit/main_test.go", "plugins/deal-audit/.gitignore"}
			if !slices.Equal(made.Files, want) || made.Kind != kind {
				t.Errorf("%+v", made)
			}
			if text := shell(t, "gofmt -l plugins && go -C plugins/deal-audit vet . && go -C plugins/deal-audit mod tidy -diff"); text != "" {
				t.Errorf("it is not as Go likes it: %s", text)
			}
			name(t, p, kind, made.TOML)
			for _, next := range made.Next {
				if words := strings.Fields(next); words[0] != "pipehook" {
					shell(t, next)
				} else if words[1] != "dev" {
					says(t, exitDone, words[1:], "✓ "+kind+" deal-audit  deal-audit 0.1.0, a "+kind)
				}
			}
			says(t, exitDone, []string{"check"})
			newPluginWorks[kind](t, p)
		})
	}
}

// name puts the table of a new plugin where people are told to.
func name(t *testing.T, p *project, kind, table string) {
	t.Helper()
	p.write(t, ".env", "DEAL_AUDIT_SECRET=a secret of good length\n")
	if kind == wire.Stage {
		const before = "  [[pipeline.stage]]\n  use = \"dedupe\"\n"
		edit(t, p.config, before, table+before)
		return
	}
	p.write(t, "pipeline.toml", readFile(t, p.config)+table)
}

// newPluginWorks has an event go through each kind of new plugin.
var newPluginWorks = map[string]func(t *testing.T, p *project){
	wire.Listener: func(t *testing.T, p *project) {
		says(t, exitDone, []string{"plugin", "test", "deal-audit"}, "info  good morning")
		p.serve(t)
		says(t, exitDone, []string{"trigger", "updated.deal"}, "accepted")
		eventually(t, "it has handled the event", func() bool {
			events := p.events(t)
			return len(events) == 1 && len(events[0].Deliveries) == 1 && events[0].Deliveries[0].State == core.Done
		})
	},
	wire.Stage: func(t *testing.T, p *project) {
		says(t, exitDone, []string{"plugin", "test", "deal-audit"}, `returned {"labels":{"kind":"deal/updated"}}`)
		p.serve(t)
		says(t, exitDone, []string{"trigger", "updated.deal"}, "accepted")
		if events := p.events(t); len(events) != 1 || core.ParseLabels(events[0].Labels)["kind"] != "deal/updated" {
			t.Errorf("stored: %+v", events)
		}
	},
	wire.Source: func(t *testing.T, p *project) {
		p.write(t, "body.json", `{"id":"e-1","type":"invoice.added","data":{"id":7}}`)
		says(t, exitDone, []string{"plugin", "test", "deal-audit", "--event", "body.json"}, `"objectId":"7"`)
		p.serve(t)
		for _, answer := range []string{"accepted", "duplicate"} {
			says(t, exitDone, []string{"trigger", "--pipeline", "deal-audit", "--file", "body.json"}, answer)
		}
		p.write(t, "nonsense.json", "nonsense")
		says(t, exitFailed, []string{"trigger", "--pipeline", "deal-audit", "--file", "nonsense.json"}, "422", "the body is not JSON as it should be")
		if events := p.events(t); len(events) != 1 || events[0].Action != "added" || events[0].Object != "invoice" || events[0].Source != "deal-audit" {
			t.Errorf("stored: %+v", events)
		}
	},
}

func TestANewPluginGoesWhereItIsToldAndWhereTheConfigurationSays(t *testing.T) {
	inFolder(t, "conf/pipeline.toml", "[plugins]\ndir = \"../built here\"\n")
	made := makePlugin(t, "audit", "--dir", "some where", "--config", "conf/pipeline.toml")
	if made.Folder != "some where" || made.Next[0] != "go -C 'some where' test ." {
		t.Errorf("%+v", made)
	}
	shell(t, made.Next[1])
	if _, err := os.Stat("built here/audit"); err != nil {
		t.Error(err)
	}
}

func TestTheSDKOfANewPluginIsTheCheckoutThatIsNamed(t *testing.T) {
	inFolder(t, "my sdk/go.mod", "module github.com/pipehook/pipehook\n\ngo 1.26.0\n")
	code, out, errs := command(t, "plugin", "new", "audit", "--sdk", "my sdk") // Go finds nothing there
	if code != exitFailed || !strings.Contains(errs, "pipehook: error: go mod tidy: ") || !strings.Contains(errs, "pipehook: hint: mend that, then  go -C plugins/audit mod tidy") {
		t.Errorf("exit code %d: %s", code, errs)
	}
	if !strings.Contains(out, "its go.mod takes the SDK from the checkout ") || !strings.Contains(out, "wrote plugins/audit/main.go") || !strings.Contains(out, "next:  go -C plugins/audit mod tidy\n       pipehook init\n") {
		t.Errorf("it says\n%s", out)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if text := readFile(t, "plugins/audit/go.mod"); !strings.Contains(text, "replace github.com/pipehook/pipehook => \""+filepath.Join(here, "my sdk")+"\"\n") {
		t.Errorf("go.mod says\n%s", text)
	}
}

func TestANewPluginSaysThatGoIsMissing(t *testing.T) {
	inFolder(t)
	t.Setenv("PATH", t.TempDir())
	says(t, exitFailed, []string{"plugin", "new", "audit"}, "wrote plugins/audit/main.go", "go is not installed", "pipehook: hint: install Go "+sdkGo+" or newer", "go -C plugins/audit mod tidy")
}

func TestTheSDKNeedsTheGoThatNewPluginsAskFor(t *testing.T) {
	if text := readFile(t, "../../go.mod"); !strings.Contains(text, "\ngo "+sdkGo+"\n") {
		t.Errorf("go.mod does not say %s", sdkGo)
	}
}

func TestANewPluginThatCantBeIsRefusedWithAHint(t *testing.T) {
	inFolder(t, "plugins/taken/main.go", "package main\n")
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"a name that is none":     {[]string{"Deal Audit"}, `"Deal Audit" can't name a plugin`},
		"a folder before it":      {[]string{"crm/audit"}, "can't name a plugin"},
		"a kind that is none":     {[]string{"x", "--kind", "handler"}, `there is no kind of plugin "handler"`},
		"a folder that is in use": {[]string{"taken"}, "plugins/taken is there already"},
		"a source that there is":  {[]string{"pipedrive", "--kind", "source"}, "there is a source pipedrive already"},
		"an SDK that is none":     {[]string{"x", "--sdk", "plugins"}, "--sdk: plugins is no checkout"},
		"no name":                 {nil, "accepts 1 arg(s)"},
	} {
		t.Run(name, func(t *testing.T) {
			says(t, exitUsage, append([]string{"plugin", "new"}, test.args...), test.want, "pipehook: hint: ")
		})
	}
	if text := readFile(t, "plugins/taken/main.go"); text != "package main\n" {
		t.Errorf("it was overwritten: %s", text)
	}
	says(t, exitUsage, []string{"plugin", "nwe"}, `unknown command "nwe" of pipehook plugin`, "pipehook: hint: pipehook plugin new")
}
