package mirror_test

import (
	"os"
	"strings"
	"testing"

	"github.com/pipehook/pipehook/core/mirror"
	"github.com/pipehook/pipehook/core/pipedrive/shape"
)

func TestThePageNamesEveryTableAndColumn(t *testing.T) {
	text, err := os.ReadFile("../../docs/pipedrive.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## Local tables\n")
	section, _, _ = strings.Cut(section, "\n## ")
	rows := map[string]string{}
	for line := range strings.Lines(section) {
		if name, rest, ok := strings.Cut(line, " | "); ok {
			rows[strings.Trim(name, "| `")] = rest
		}
	}
	for _, o := range shape.Objects() {
		table, _ := mirror.TableOf(o.Name)
		for _, column := range mirror.Columns(o.Name) {
			if !strings.Contains(rows[table], "`"+column+"`") && !strings.Contains(section, "| `"+column+"`") && !strings.Contains(section, "`, `"+column+"` |") {
				t.Errorf("%s.%s is not described", table, column)
			}
		}
		if rows[table] == "" {
			t.Errorf("%s is not described", table)
		}
	}
}
