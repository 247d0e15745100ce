package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pipehook/pipehook/core/coretest/testdb"
)

func TestWhatScriptsRememberIsChangedBesideTheProcess(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		p := newProject(t, url, fullChain, nil)
		p.write(t, "scripts/ok.js", "export default () => {}")
		p.serve(t)
		do := func(want int, args ...string) string {
			t.Helper()
			code, out, errs := command(t, append(append([]string{"kv"}, args...), "--config", p.config)...)
			if code != want {
				t.Errorf("%v: exit code %d\n%s%s", args, code, out, errs)
			}
			return out + errs
		}
		do(exitDone, "set", "--script", "ok", "n", "12345678901234567890.10", "--ttl", "1d")
		do(exitDone, "set", "--shared", "won/1", `{"title":"A","value":9007199254740993}`)
		if got := do(exitDone, "get", "--script", "ok", "n"); got != "12345678901234567890.10\n" {
			t.Errorf("got %s", got)
		}
		var entries []kvJSON
		out := do(exitDone, "list", "--json")
		if err := json.Unmarshal([]byte(out), &entries); err != nil || len(entries) != 2 || entries[0].Script != "" || entries[1].ExpiresAt == "" || !strings.Contains(out, "9007199254740993") {
			t.Errorf("%v: %s", err, out)
		}
		if got := do(exitDone, "list"); !strings.HasPrefix(got, "OWNER ") || !strings.Contains(got, "(shared)") || !strings.Contains(got, "never") {
			t.Errorf("got %s", got)
		}
		if got := do(exitDone, "list", "--shared", "--prefix", "won/", "--csv"); got != "key,title,value\nwon/1,A,9007199254740993\n" {
			t.Errorf("got %s", got)
		}
		if got := do(exitFailed, "delete", "--shared", "won/1", "won/2"); !strings.Contains(got, "1 entry deleted") || !strings.Contains(got, `there is no entry "won/2"`) || !strings.Contains(got, "hint: pipehook kv list --shared") {
			t.Errorf("got %s", got)
		}
		do(exitFailed, "get", "--shared", "won/1")
		do(exitUsage, "get", "won/1")
		do(exitUsage, "get", "--shared", "--script", "ok", "won/1")
		do(exitUsage, "list", "--script", "")
		if got := do(exitUsage, "list", "deal-audit"); !strings.Contains(got, "hint: pipehook kv list --script deal-audit") {
			t.Errorf("got %s", got)
		}
		do(exitUsage, "list", "--json", "--csv")
		do(exitUsage, "set", "--shared", strings.Repeat("k", 513), "1")
		if got := do(exitUsage, "set", "--shared", "k", "hello"); !strings.Contains(got, `hint: text stands in quotes`) {
			t.Errorf("got %s", got)
		}
	})
}

func TestAReportOfEntries(t *testing.T) {
	p := newProject(t, testdb.SQLite(t), fullChain, nil)
	if code, _, errs := command(t, "migrate", "--config", p.config); code != exitDone {
		t.Fatal(errs)
	}
	for _, e := range [][2]string{
		{"1", `{"title":"Big, \"deal\"","value":10.50,"key":"own"}`},
		{"2", `{"value":-5,"title":"=HYPERLINK(\"http://evil\")","phone":"+49 (30) 123","tags":["a",{"b":1}],"won":true,"lost":null}`},
		{"3", `{"title":"a\nb","@x":"-2+3","value":1,"value":2}`},
		{"4", `"-cmd|' /C calc'!A0"`}, {"5", `[1, 2]`}, {"6", `{}`},
	} {
		if code, _, errs := command(t, "kv", "set", "--script", "s", e[0], e[1], "--config", p.config); code != exitDone {
			t.Fatal(errs)
		}
	}
	code, out, errs := command(t, "kv", "list", "--csv", "--config", p.config)
	const want = `script,key,value,title,value.value,value.key,phone,tags,won,lost,'@x
s,1,,"Big, ""deal""",10.50,own,,,,,
s,2,,"'=HYPERLINK(""http://evil"")",-5,,+49 (30) 123,"[""a"",{""b"":1}]",true,,
s,3,,"a
b",2,,,,,,'-2+3
s,4,'-cmd|' /C calc'!A0,,,,,,,,
s,5,"[1, 2]",,,,,,,,
s,6,,,,,,,,,
`
	if code != exitDone || out != want {
		t.Errorf("exit code %d\n%s%s\nwant\n%s", code, out, errs, want)
	}
	file := filepath.Join(p.dir, "in.json")
	p.write(t, "in.json", `{"from": "a file"}`)
	text, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = text.Close() }()
	var shown, said strings.Builder
	if code := run(t.Context(), []string{"kv", "set", "--shared", "f", "-", "--config", p.config}, nil, text, &shown, &said); code != exitDone || shown.String() != "f is set\n" {
		t.Errorf("%d %s%s", code, shown.String(), said.String())
	}
}
