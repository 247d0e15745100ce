package main

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pipehook/pipehook/core/jshost/typings"
	"github.com/pipehook/pipehook/core/jshost/web"
)

// declared are the members of an interface of the declarations, which tests compare with the engine.
func declared(t *testing.T, name string) []string {
	t.Helper()
	block := regexp.MustCompile(`(?s)export interface ` + name + `\b[^{]*\{(.*?)\n  \}`).FindSubmatch(typings.Text("", nil))
	if block == nil {
		t.Fatalf("there is no interface %s", name)
	}
	var members []string
	for _, m := range regexp.MustCompile(`(?m)^    (?:readonly )?(\w+)[?<(:]`).FindAllSubmatch(block[1], -1) {
		members = append(members, string(m[1]))
	}
	return members
}

func TestTheReferenceHasWhatScriptsSeeAndNothingElse(t *testing.T) {
	text := page(t, "docs/scripts-reference.md")
	for prefix, interfaces := range map[string][]string{"event": {"Event"}, "ctx": {"Context", "StageContext"}, "ctx.kv": {"KV"}, "ctx.log": {"Log"}} {
		var there []string
		for _, name := range interfaces {
			there = append(there, declared(t, name)...)
		}
		for _, member := range there {
			if !regexp.MustCompile("`" + regexp.QuoteMeta(prefix+"."+member) + `\b`).MatchString(text) {
				t.Errorf("the reference does not have %s.%s", prefix, member)
			}
		}
		for _, m := range regexp.MustCompile("`"+regexp.QuoteMeta(prefix)+`\.(\w+)`).FindAllStringSubmatch(text, -1) {
			if !slices.Contains(there, m[1]) && !(prefix == "ctx.kv" && m[1] == "shared") {
				t.Errorf("the reference has %s.%s, which there is not", prefix, m[1])
			}
		}
	}
	for _, name := range append(web.Globals(), "setTimeout", "clearTimeout", "setInterval", "clearInterval", "queueMicrotask", "console") {
		if !strings.Contains(text, "`"+name) {
			t.Errorf("the reference does not have the global %s", name)
		}
	}
}
