package main

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
)

func TestAPluginIsStartedToSeeWhatItOffers(t *testing.T) {
	labProject(t, moody("good", "good", "")+moody("bad", "bad", "")+moody("broken", "broken", "")+moody("ended", "ended", "")+
		moody("other", "good", `sha256 = "`+strings.Repeat("0", 64)+`"`)+moody("slip", "good", `sha = "x"`)+
		"[[listener]]\nname = \"gone\"\nplugin = \"gone\"\n"+moody("keyless", "keyless", `secrets = { api = "c4n4ry" }`)+"[[listener]]\nname = \"misplaced\"\nplugin = \"strange\"\n")
	if err := os.Link("plugins/bin/labstage", "plugins/bin/strange"); err != nil {
		t.Fatal(err)
	}
	sum, tmp := sumOf(t, "plugins/bin/lab"), ownTemporary(t)
	for name, test := range map[string]struct {
		code int
		args []string
		want []string
	}{
		"it is good":                {exitDone, []string{"good"}, []string{"✓ listener good  lab 1.2.3, a listener, contract 1.2, started in ", "plugins/bin/lab  its configuration is taken", `  info  starting  mood=good`, `sha256 = "` + sum + `"`}},
		"its configuration is not":  {exitUsage, []string{"bad"}, []string{"✗ listener bad", `sha256 = "` + sum + `"`, "pipeline.toml:", "listener[1].config.mood: must not be bad"}},
		"its secrets are not":       {exitUsage, []string{"keyless"}, []string{"✗ listener keyless", `listener[7].secrets.key: is missing or empty: give it with secrets = { key = "${…}" }`, "listener[7].secrets.api: is too short"}},
		"it fails":                  {exitFailed, []string{"broken"}, []string{"✗ listener broken", "listener[2].plugin: does not start: the database is away\n"}},
		"it ends":                   {exitFailed, []string{"ended"}, []string{"✗ listener ended", "exit status 3"}},
		"it is another":             {exitUsage, []string{"other"}, []string{"✗ listener other", "listener[4].sha256: ", "has the SHA-256 " + sum + ", which is not the pinned 0000", `sha256 = "` + sum + `"  # of the file that is there: write it only once you know`}},
		"its table is wrong":        {exitUsage, []string{"slip"}, []string{"✗ listener slip", "listener[5].sha: unknown key"}},
		"it is not there":           {exitUsage, []string{"gone"}, []string{"✗ listener gone", "listener[6].plugin: there is no ", "pipehook: hint: build the plugin"}},
		"it is a stage":             {exitUsage, []string{"misplaced"}, []string{"✗ listener misplaced", "listener[8].plugin: lab is a stage, and is named as a listener", "hint: name it in a [[pipeline.stage]]"}},
		"only one of two is good":   {exitUsage, []string{"good", "bad"}, []string{"✓ listener good", "✗ listener bad"}},
		"one fails, one is refused": {exitFailed, []string{"bad", "broken"}, []string{"✗ listener bad", "✗ listener broken", "must not be bad", "is away"}},
		"a stage that nobody uses":  {exitDone, []string{"labstage"}, []string{"✓ labstage  lab 1.2.3, a stage, contract 1.2", "no place of the configuration names it"}},
		"a source by its path":      {exitDone, []string{"./plugins/bin/labsources"}, []string{"✓ labsources  lab 1.2.3, a source"}},
		"a slip":                    {exitUsage, []string{"borken"}, []string{"there is no plugin borken", `pipehook: hint: did you mean "broken"?`}},
		"with a configuration":      {exitUsage, []string{"labstage", "--with", `{"mood":"bad"}`}, []string{"✗ labstage", "mood: must not be bad", "pipehook: hint: give it the configuration"}},
		"one that is no JSON":       {exitUsage, []string{"labstage", "--with", "mood"}, []string{"--with is not JSON"}},
		"one beside the file's":     {exitUsage, []string{"good", "--with", "{}"}, []string{"--with and --tls are for binaries that pipeline.toml does not name, and it has the config and tls of listener good at listener[0]"}},
		"without TLS":               {exitDone, []string{"labstage", "--tls", "off"}, []string{"✓ labstage"}},
		"a TLS that is none":        {exitUsage, []string{"labstage", "--tls", "on"}, []string{`--tls: there is no "on"`}},
		"a binary by its name":      {exitFailed, []string{"lab"}, []string{"✓ listener good", "✗ listener broken", "✗ listener other"}},
		"all":                       {exitFailed, nil, []string{"✓ listener good", "✗ listener gone"}},
	} {
		t.Run(name, func(t *testing.T) {
			says(t, test.code, append([]string{"plugin", "check"}, test.args...), test.want...)
		})
	}
	var checked []checkedPlugin
	if err := json.Unmarshal([]byte(says(t, exitUsage, []string{"plugin", "check", "good", "bad", "--json"}, "1 of 2 plugins failed")), &checked); err != nil {
		t.Fatal(err)
	}
	good, bad := checked[0], checked[1]
	if !good.OK || good.SHA256 != sum || good.Version != "1.2.3" || good.Contract != "1.2" || !slices.Equal(good.Does, []string{"listener"}) || good.StartUS == 0 || len(good.Logs) != 1 || good.Key != "listener[0]" {
		t.Errorf("%+v", good)
	}
	if bad.OK || len(bad.Mistakes) != 1 || bad.Mistakes[0].Key != "listener[1].config.mood" || bad.Mistakes[0].Line == 0 {
		t.Errorf("%+v", bad)
	}
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestNoPluginIsNothingWrong(t *testing.T) {
	inFolder(t)
	says(t, exitDone, []string{"plugin", "check"}, "no plugins: pipeline.toml names none")
	says(t, exitDone, []string{"plugin", "list"}, "no plugins")
	says(t, exitUsage, []string{"plugin", "check", "audit"}, "there is no plugin audit", "pipehook: hint: pipehook plugin new audit")
}

// A stage and a source have places of their own, and so have their mistakes.
func TestPluginsOfChainsAreStartedAsWhatTheyAre(t *testing.T) {
	p := labProject(t, "")
	const stage, before = "  [[pipeline.stage]]\n  use = \"plugin\"\n  plugin = \"labstage\"\n  config = { mood = \"good\" }\n", "  [[pipeline.stage]]\n  use = \"dedupe\"\n"
	edit(t, p.config, before, stage+before)
	p.write(t, "pipeline.toml", readFile(t, p.config)+"[[pipeline]]\nname = \"own\"\npath = \"/own\"\nsource = \"plugin\"\nplugin = \"labsources\"\n[pipeline.source_options]\nconfig = { mood = \"good\" }\n"+
		"[[pipeline.stage]]\nuse = \"persist\"\n")
	says(t, exitDone, []string{"plugin", "check"}, "✓ stage labstage  lab 1.2.3, a stage", "✓ source labsources  lab 1.2.3, a source")
	says(t, exitDone, []string{"plugin", "test", "stage:labstage"}, `returned {"labels":{"mood":"good"}}`)
	says(t, exitDone, []string{"plugin", "list"}, "labstage    stage labstage", "labsources  source labsources", "lab         nobody")
	stop := p.serve(t)
	eventually(t, "both run", func() bool {
		plugins, _ := listed(t)
		return plugins[0].Running != nil && plugins[0].Running.State == "running" && plugins[1].Running != nil && plugins[1].Running.Kind == "source"
	})
	stop()

	source := strings.Index(readFile(t, p.config), "source_options")
	text := readFile(t, p.config)
	p.write(t, "pipeline.toml", text[:source]+strings.Replace(text[source:], `"good"`, `"bad"`, 1))
	edit(t, p.config, "  plugin = \"labstage\"\n", "  plugin = \"labstage\"\n  timeuot = \"1s\"\n")
	says(t, exitUsage, []string{"plugin", "check"}, "✗ stage of pipeline crm", "pipeline[0].stage[2].timeuot: unknown key", "✗ source labsources", "pipeline[1].source_options.config.mood: must not be bad")
}

func TestAFileThatAnybodyMayReplaceIsListedWithThat(t *testing.T) {
	labProject(t, "")
	if err := os.Chmod("plugins/bin/lab", 0o777); err != nil {
		t.Fatal(err)
	}
	says(t, exitDone, []string{"plugin", "list"}, "anybody may write to ")
	says(t, exitUsage, []string{"plugin", "check", "lab"}, "anybody may write to ", "pipehook: hint: chmod o-w ")
}
