package config_test

import (
	"log/slog"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/config"
)

// stage is the first stage of a file that has these lines as its table.
func stage(t *testing.T, table string, environ ...string) config.Stage {
	t.Helper()
	conf, err := load("[[pipeline]]\nname = \"a\"\npath = \"/a\"\nsource = \"x\"\n[[pipeline.stage]]\nuse = \"probe\"\n"+table, environ...)
	if err != nil {
		t.Fatal(err)
	}
	return conf.Pipelines[0].Stages[0]
}

func TestAStageTakesValuesOfEverySort(t *testing.T) {
	var got probe
	err := stage(t, `
window = "1d12h"
allow = ["203.0.113.7", "::ffff:198.51.100.9/128", "2001:db8::1/32"]
level = "WARN"
small = 255
ratio = 1
rules = [{ field = "a" }, { field = "b" }]
schema = { "updated.deal" = "deal.json" }
free = { list = [1, { a = true }], at = 2026-01-02 }
kinds = ["change.deal"]
limit = "1KiB"
basic.username = "hook"
basic.password = "${CANARY}"
`, "CANARY="+canary).Decode(&got)
	if err != nil {
		t.Fatal(err)
	}
	if got.Window != 36*time.Hour || got.Level != slog.LevelWarn || got.Small != 255 || got.Ratio != 1 || got.Limit != 1024 {
		t.Errorf("scalars %+v", got)
	}
	want := []netip.Prefix{netip.MustParsePrefix("203.0.113.7/32"), netip.MustParsePrefix("198.51.100.9/32"), netip.MustParsePrefix("2001:db8::/32")}
	if !slices.Equal(got.Allow, want) {
		t.Errorf("allow %v", got.Allow)
	}
	if len(got.Rules) != 2 || got.Rules[1].Field != "b" || got.Schema["updated.deal"] != "deal.json" || got.Kinds[0].String() != "updated.deal" {
		t.Errorf("lists and tables %+v", got)
	}
	if list, ok := got.Free["list"].([]any); !ok || list[0] != int64(1) {
		t.Errorf("free %v", got.Free)
	}
	if got.Basic.Username != "hook" || string(got.Basic.Password) != canary {
		t.Errorf("basic %+v", got.Basic)
	}
}

func TestAStageKeepsTheDefaultsThatTheFileDoesNotName(t *testing.T) {
	shared := probeBasic{Username: "default", Tries: 3}
	schema := map[string]string{"*.*": "any.json"}
	got := probe{Window: time.Hour, Basic: &shared, Schema: schema, Allow: []netip.Prefix{netip.MustParsePrefix("::/0")}}
	err := stage(t, "basic = { username = \"hook\" }\nschema = { \"updated.deal\" = \"deal.json\" }\nallow = []\n").Decode(&got)
	if err != nil || got.Window != time.Hour || got.Basic.Username != "hook" || got.Basic.Tries != 3 || len(got.Schema) != 2 || len(got.Allow) != 0 {
		t.Errorf("%+v, basic %+v (%v)", got, got.Basic, err)
	}
	if shared.Username != "default" || len(schema) != 1 {
		t.Errorf("the defaults were changed: %+v %v", shared, schema)
	}
}

func TestAStageCanBeDecodedTwice(t *testing.T) {
	s := stage(t, "free = { list = [1] }\n")
	var first, second probe
	first.Window, second.Window = 1, 1
	if err := s.Decode(&first); err != nil {
		t.Fatal(err)
	}
	first.Free["list"].([]any)[0] = "changed"
	if err := s.Decode(&second); err != nil || reflect.DeepEqual(first, second) {
		t.Errorf("the second has %v (%v)", second.Free, err)
	}
}

func TestAStageWithoutKeysSaysSo(t *testing.T) {
	err := stage(t, "mode = 1\n").Decode(&struct{}{})
	if want := `pipeline.toml:7:1: pipeline[0].stage[0].mode: unknown key; known here: use`; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// What is wrong outside the stages does not keep the mistakes inside them from being found.
func TestWithMistakesComesWhatCouldBeRead(t *testing.T) {
	conf, err := load("[log]\nlevel = \"loud\"\n[[pipeline]]\nname = \"a\"\npath = \"/a\"\nsource = \"x\"\nstage = [{ use = \"probe\", window = \"${UNSET}\", small = -1 }]\n")
	if err == nil || conf == nil {
		t.Fatalf("%v, error %v", conf, err)
	}
	err = conf.Pipelines[0].Stages[0].Decode(&probe{})
	if err == nil || !strings.Contains(err.Error(), "small: is out of range") || strings.Count(err.Error(), "window: ") != 1 {
		t.Errorf("error %v", err)
	}
}

func TestAKeyIsFoundInTheFile(t *testing.T) {
	conf, err := load(good, "PIPEHOOK_SERVER__MAX_BODY=1KiB")
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string][2]int{
		"server.listen": {3, 1}, "server": {2, 2}, "pipeline[0].stage[1]": {16, 14}, "pipeline[0].stage[1].nothing": {16, 14},
		"listener[0].retry.attempts": {23, 11}, "listener[0].match[1]": {21, 25}, "server.trusted_proxies[1]": {5, 34},
		"server.max_body": {0, 0}, "log.level": {0, 0},
	} {
		if line, column := conf.At(key); line != want[0] || column != want[1] {
			t.Errorf("%s is at %d:%d, want %v", key, line, column, want)
		}
	}
	if m := conf.Mistake("pipeline[0].source", "there is no such source", ""); m.Error() != "pipeline.toml:10:1: pipeline[0].source: there is no such source" {
		t.Errorf("mistake %v", m)
	}
}

func TestSecretsOfAConfigurationDoNotPrint(t *testing.T) {
	s := probe{Basic: &probeBasic{Password: canary}}
	for _, doc := range config.Describe(s) {
		if strings.Contains(doc.Default, canary) || doc.Key == "basic.password" && doc.Default != core.Secret("").String() {
			t.Errorf("%+v", doc)
		}
	}
}
