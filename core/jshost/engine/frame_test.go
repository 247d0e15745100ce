package engine_test

import (
	"strings"
	"testing"

	"github.com/pipehook/pipehook/core/jshost/engine"
)

func TestACodeFrameMarksThePlace(t *testing.T) {
	for _, test := range []struct {
		name, code   string
		line, column int
		want         string
	}{
		{"a place", "  event.nothing.here;", 12, 17, "12 | event.nothing.here;\n   |               ^"},
		{"the first column", "throw 1", 1, 1, "1 | throw 1\n  | ^"},
		{"behind the end", "ab", 1, 9, "1 | ab\n  |   ^"},
		{"a tab and an escape", "\t\ta\x1b[31mb", 3, 4, "3 | a [31mb\n  |  ^"},
		{"wide characters are two units", "'😀' + x", 1, 8, "1 | '😀' + x\n  |       ^"},
		{"nothing", "", 0, 0, "0 |\n  | ^"},
		{"a long line", strings.Repeat("a", 100) + "X" + strings.Repeat("b", 100), 1, 101, "1 | …" + strings.Repeat("a", 60) + "X" + strings.Repeat("b", 39) + "…\n  |  " + strings.Repeat(" ", 60) + "^"},
	} {
		if got := engine.CodeFrame(test.code, test.line, test.column); strings.ReplaceAll(got, " \n", "\n") != test.want {
			t.Errorf("%s: got\n%s\nwant\n%s", test.name, got, test.want)
		}
	}
}
