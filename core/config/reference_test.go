package config_test

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/pipehook/pipehook/core/config"
)

// row is a key of the page with its default, where that is a literal.
var row = regexp.MustCompile("(?m)^\\| `([a-z0-9_.]+)` \\| (?:`([^`]*)`|(required)|[^|]*) \\|")

func TestThePageHasEveryKeyAndItsDefault(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "configuration.md"))
	if err != nil {
		t.Fatal(err)
	}
	described := map[string]string{}
	for _, m := range row.FindAllStringSubmatch(string(page), -1) {
		described[m[1]] = m[2] + m[3]
	}
	conf, err := load("")
	if err != nil {
		t.Fatal(err)
	}
	for _, doc := range config.Reference() {
		want := doc.Default
		if doc.Key == "store.url" { // may hold a password, so the reference does not show it
			want = `"` + string(conf.Store.URL) + `"`
		}
		got, ok := described[doc.Key]
		if !ok {
			t.Errorf("docs/configuration.md does not describe %s", doc.Key)
		} else if got != want && got != "" {
			t.Errorf("docs/configuration.md gives %s for %s, the code %s", got, doc.Key, want)
		}
		delete(described, doc.Key)
	}
	for key := range described {
		t.Errorf("docs/configuration.md describes %s, which there is not", key)
	}
}

func TestAReferenceSaysWhatAKeyTakes(t *testing.T) {
	docs := map[string]config.KeyDoc{}
	for _, doc := range append(config.Reference(), config.Describe(&probe{Small: 3})...) {
		docs[doc.Key] = doc
	}
	for _, want := range []config.KeyDoc{
		{Key: "server.max_body", Type: `a size such as "1MiB"`, Default: `"1MiB"`, Rules: "gt=0,lte=67108864"},
		{Key: "store.url", Type: "text", Default: "[redacted]", Rules: "required"},
		{Key: "store.retention", Type: `a duration such as "5s"`, Default: `"30d"`, Rules: "gte=0"},
		{Key: "pipeline.name", Type: "text", Default: "required", Rules: "required,name"},
		{Key: "listener.retry.attempts", Type: "a whole number", Default: "8", Rules: "gte=1,lte=1000"},
		{Key: "listener.match", Type: "a list", Default: "[]", Rules: "omitempty,min=1"},
		{Key: "basic.username", Type: "text", Default: "required", Rules: "required"},
		{Key: "small", Type: "a whole number", Default: "3"},
		{Key: "schema", Type: "a table", Default: "{}"},
	} {
		if got := docs[want.Key]; got != want {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
	}
}
