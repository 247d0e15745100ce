package config_test

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core/config"
)

func load(text string, environ ...string) (*config.Config, error) {
	return config.Load(config.Options{Path: "pipeline.toml", Text: []byte(text), Environ: environ})
}

const good = `
[server]
listen = "127.0.0.1:9000"
max_body = "2MiB"
trusted_proxies = ["10.0.0.0/8", "::1"]

[[pipeline]]
name = "crm"
path = "/hook"
source = "pipedrive"

  [[pipeline.stage]]
  use = "dedupe"
  window = "1d12h"

  [[pipeline.stage]]
  use = "persist"

[[listener]]
name = "audit"
match = ["change.deal", "*.*"]
script = "audit.js"
retry = { attempts = 3 }
`

func TestAGoodFileIsReadOverTheDefaults(t *testing.T) {
	conf, err := load(good)
	if err != nil {
		t.Fatal(err)
	}
	if conf.Server.Listen != "127.0.0.1:9000" || conf.Server.MaxBody != 2<<20 || conf.Server.AckWithin != 8*time.Second {
		t.Errorf("server %+v", conf.Server)
	}
	if got := conf.Server.TrustedProxies; !slices.Equal(got, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}) {
		t.Errorf("trusted proxies %v", got)
	}
	var stage struct {
		Window time.Duration `koanf:"window" validate:"gt=0"`
	}
	if err := conf.Pipelines[0].Stages[0].Decode(&stage); err != nil || stage.Window != 36*time.Hour {
		t.Errorf("window %v (%v)", stage.Window, err)
	}
	l := conf.Listeners[0]
	if l.Match[0].String() != "updated.deal" || l.Retry != (config.Retry{Attempts: 3, First: 2 * time.Second, Max: time.Hour}) || l.Concurrency != 4 {
		t.Errorf("listener %+v", l)
	}
}

func TestEachMistakeIsReportedWithItsPlace(t *testing.T) {
	pipeline := "\n[[pipeline]]\nname = \"crm\"\npath = \"/hook\"\nsource = \"pipedrive\"\n[[pipeline.stage]]\nuse = \"persist\"\n"
	tests := []struct {
		name, text string
		want       []string
	}{
		{name: "broken syntax", text: "[server]\nlisten = \n", want: []string{"pipeline.toml:2:10: "}},
		{name: "an unknown key and the nearest known one", text: "[server]\nlistne = \"x\"\n", want: []string{`pipeline.toml:2:1: server.listne: unknown key; did you mean "listen"?`}},
		{name: "an unknown key like no other lists those there are", text: "[plugins]\nfoo = 1\n", want: []string{"pipeline.toml:2:1: plugins.foo: unknown key; known here: dir, limits"}},
		{name: "a key of all scripts at one", text: "[[listener]]\nname = \"a\"\nscript = \"a.js\"\nallow_private = [\"10.0.0.1\"]\n", want: []string{`pipeline.toml:4:1: listener[0].allow_private: unknown key; allow_private holds for all scripts: it stands in [scripts]`}},
		{name: "an unknown table", text: "[serverr]\n", want: []string{`pipeline.toml:1:2: serverr: unknown key; did you mean "server"?`}},
		{name: "a value of the wrong type", text: "[server]\nlisten = 80\n", want: []string{"pipeline.toml:2:1: server.listen: must be text, is a number"}},
		{name: "a number is no duration", text: "[server]\nack_within = 5\n", want: []string{`pipeline.toml:2:1: server.ack_within: must be text with a unit; did you mean "5s"?`}},
		{name: "a duration that is none", text: "[server]\nack_within = \"soon\"\n", want: []string{`pipeline.toml:2:1: server.ack_within: "soon" is not a duration`}},
		{name: "a broken rule", text: "[log]\nlevel = \"loud\"\n", want: []string{"pipeline.toml:2:1: log.level: must be one of debug, info, warn, error"}},
		{name: "a size that is none", text: "[server]\nmax_body = \"big\"\n", want: []string{`pipeline.toml:2:1: server.max_body: "big" is not a size`}},
		{name: "a variable that is not set", text: "[admin]\ntoken = \"${NOT_SET}\"\n", want: []string{"pipeline.toml:2:1: admin.token: the environment variable NOT_SET is not set; set NOT_SET"}},
		{name: "an open reference", text: "[admin]\ntoken = \"${NOT SET}\"\n", want: []string{"pipeline.toml:2:1: admin.token: ${ without a NAME"}},
		{name: "a pipeline without stages", text: "[[pipeline]]\nname = \"a\"\npath = \"/a\"\nsource = \"x\"\n", want: []string{"pipeline.toml:1:3: pipeline[0]: has no stage"}},
		{name: "a stage without a kind", text: strings.Replace(pipeline, "use = \"persist\"", "", 1), want: []string{"pipeline.toml:6:12: pipeline[0].stage[0]: use is required"}},
		{name: "a single table instead of a list", text: "[pipeline]\nname = \"a\"\n", want: []string{"pipeline.toml:1:2: pipeline: must be a list of tables, is a table; write [[pipeline]]"}},
		{name: "two pipelines of one name and path", text: pipeline + pipeline, want: []string{`pipeline.toml:10:1: pipeline[1].name: "crm" is taken by pipeline[0].name`, `pipeline.toml:11:1: pipeline[1].path: "/hook" is taken`}},
		{name: "a path that collides with health", text: strings.Replace(pipeline, "/hook", "/hook/health", 1), want: []string{"pipeline.toml:4:1: pipeline[0].path: must begin with /"}},
		{name: "a pattern that is none", text: "[[listener]]\nname = \"a\"\nscript = \"a.js\"\nmatch = [\"*.*\", \"deal\"]\n", want: []string{`pipeline.toml:4:17: listener[0].match[1]: pattern "deal" is not action.object`}},
		{name: "max below first", text: "[[listener]]\nname = \"a\"\nscript = \"a.js\"\nretry = { first = \"1m\", max = \"1s\" }\n", want: []string{"pipeline.toml:4:25: listener[0].retry.max: must not be below first"}},
		{name: "a bad address", text: "[server]\ntrusted_proxies = [\"10.0.0.0/33\"]\n", want: []string{`pipeline.toml:2:20: server.trusted_proxies[0]: "10.0.0.0/33" is not an address`}},
		{name: "everything at once, in order", text: "[server]\nlisten = 80\nfoo = 1\n[log]\nlevel = \"loud\"\n[[listener]]\nnaem = \"a\"\n", want: []string{
			"pipeline.toml:2:1: server.listen", "pipeline.toml:3:1: server.foo", "pipeline.toml:5:1: log.level",
			"pipeline.toml:6:3: listener[0].name: is required", "pipeline.toml:6:3: listener[0].script: is required", `pipeline.toml:7:1: listener[0].naem: unknown key; did you mean "name"?`}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := load(test.text)
			mistakes, ok := errors.AsType[config.Mistakes](err)
			if !ok {
				t.Fatalf("error %v", err)
			}
			got := make([]string, len(mistakes))
			for i, m := range mistakes {
				got[i] = m.Error()
			}
			if !slices.EqualFunc(got, test.want, strings.HasPrefix) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(test.want, "\n"))
			}
		})
	}
}

func TestAStageReportsItsOwnMistakes(t *testing.T) {
	conf, err := load(strings.Replace(good, `window = "1d12h"`, "windwo = \"1h\"\n  basic = { usre = \"x\" }", 1))
	if err != nil {
		t.Fatal(err)
	}
	var into struct {
		Window time.Duration `koanf:"window" validate:"gt=0"`
		Basic  *struct {
			User string `koanf:"user" validate:"required"`
		} `koanf:"basic"`
	}
	want := strings.Join([]string{
		`pipeline.toml:12:14: pipeline[0].stage[0].window: must be above 0s`,
		`pipeline.toml:14:3: pipeline[0].stage[0].windwo: unknown key; did you mean "window"?`,
		`pipeline.toml:15:3: pipeline[0].stage[0].basic.user: is required`,
		`pipeline.toml:15:13: pipeline[0].stage[0].basic.usre: unknown key; did you mean "user"?`,
	}, "\n")
	if err = conf.Pipelines[0].Stages[0].Decode(&into); err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

func TestAFileThatIsNotThereIsNotAMistake(t *testing.T) {
	if _, err := config.Load(config.Options{Path: filepath.Join(t.TempDir(), "none.toml")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte("[server]\nlisten = \"${A:-b}\"\n[[pipeline]]\nstage = [{use = 1}, 2]\n"))
	f.Add([]byte("[server]\nmax_body = \"${A}\"\n[[pipeline]]\nname = \"${A}\"\n[[pipeline.stage]]\nuse = \"probe\"\nwindow = \"${A}\"\n"))
	f.Add([]byte("pipeline = 1\nlistener = [[]]\n[a.b.\"c.d\"]\n"))
	f.Add([]byte("free = { \"a\\u001fb\" = [[{}]] }\n[[pipeline]]\n[[pipeline.stage]]\nuse = \"probe\"\nrules = [{}]\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		environ := []string{"A=" + canary, "PIPEHOOK_SERVER__LISTEN=" + string(text), "PIPEHOOK_" + string(text)}
		got := allMistakes(config.Options{Path: "f.toml", Text: text, Environ: environ})
		if strings.Contains(got, canary) && !strings.Contains(string(text), canary) {
			t.Errorf("a secret shows: %s", got)
		}
	})
}
