package scripttest_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pipehook/pipehook/core/jshost/scripttest"
)

const snapshotTest = imports + `test("a value is kept", () => {
  expect({ b: 1, a: ["x"], text: "one\ntwo" }).toMatchSnapshot();
  expect(VALUE).toMatchSnapshot("the total");
});`

func TestASnapshotIsWrittenOnceAndComparedAfterwards(t *testing.T) {
	path := write(t, "it.test.ts", strings.ReplaceAll(snapshotTest, "VALUE", "5"))
	snap := filepath.Join(filepath.Dir(path), "__snapshots__", "it.test.ts.snap")
	run := func(value string, o scripttest.Options) scripttest.File {
		t.Helper()
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(snapshotTest, "VALUE", value)), 0o600); err != nil {
			t.Fatal(err)
		}
		o.Events = events()
		return scripttest.RunFile(t.Context(), path, o)
	}
	read := func() string {
		t.Helper()
		text, err := os.ReadFile(snap)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	f := run("5", scripttest.Options{Frozen: true})
	if d := fails(t, f).Detail; !strings.Contains(d, "CI=1") || f.Snapshots.Written != 0 {
		t.Errorf("a new one where none is written: %s", d)
	}
	if _, err := os.Stat(snap); err == nil {
		t.Fatal("it was written all the same")
	}
	f = run("5", scripttest.Options{})
	passes(t, f)
	want := "# What tests expect, written by pipehook test. Keep it with them; pipehook test --update writes it anew.\n" +
		"\n== a value is kept 1\n{\n  b: 1,\n  a: [\n    \"x\",\n  ],\n  text: \"one\\ntwo\",\n}\n" +
		"\n== a value is kept: the total 1\n5\n"
	if got := read(); got != want || f.Snapshots.Written != 2 {
		t.Errorf("written %d:\n%s", f.Snapshots.Written, got)
	}
	passes(t, run("5", scripttest.Options{Frozen: true}))
	failure := fails(t, run("6", scripttest.Options{}))
	for _, want := range []string{"expected: 5\nreceived: 6", "it.test.ts.snap", "pipehook test --update"} {
		if !strings.Contains(failure.Detail, want) {
			t.Errorf("no %q in\n%s", want, failure.Detail)
		}
	}
	if failure.Line != 4 || read() != want {
		t.Errorf("%s\n%s", failure.Place(), read())
	}
	f = run("6", scripttest.Options{Update: true})
	passes(t, f)
	if got := read(); got != strings.Replace(want, "\n5\n", "\n6\n", 1) || f.Snapshots.Updated != 1 {
		t.Errorf("updated %d:\n%s", f.Snapshots.Updated, got)
	}
	if err := os.WriteFile(snap, []byte(strings.ReplaceAll(read(), "\n", "\r\n")), 0o600); err != nil { // as some check it out
		t.Fatal(err)
	}
	passes(t, run("6", scripttest.Options{Frozen: true}))
}

func TestASnapshotThatNobodyAsksForIsNamedAndTakenAwayOnRequest(t *testing.T) {
	path := write(t, "it.test.ts", imports+"test('now', () => expect(1).toMatchSnapshot());",
		"__snapshots__/it.test.ts.snap", "# head\n\n== before 1\n5\n\n== now 1\n1\n")
	run := func(o scripttest.Options) scripttest.File {
		o.Events = events()
		return scripttest.RunFile(t.Context(), path, o)
	}
	f := run(scripttest.Options{})
	passes(t, f)
	if got := strings.Join(f.Snapshots.Old, ","); got != "before 1" {
		t.Errorf("old: %q", got)
	}
	if f := run(scripttest.Options{Filter: "no such test", Update: true}); len(f.Snapshots.Old) != 0 {
		t.Errorf("a part of the tests says nothing of the rest: %v", f.Snapshots.Old)
	}
	f = run(scripttest.Options{Update: true})
	text, err := os.ReadFile(filepath.Join(filepath.Dir(path), "__snapshots__", "it.test.ts.snap"))
	if err != nil || strings.Contains(string(text), "before") || !strings.Contains(string(text), "== now 1\n1\n") || len(f.Snapshots.Old) != 0 {
		t.Errorf("%v\n%s", err, text)
	}
}

func TestADiffShowsWhatIsOtherwiseAndLittleElse(t *testing.T) {
	long := strings.Repeat("same\n", 10)
	for name, test := range map[string]struct{ a, b, want string }{
		"a line in the middle":      {"a\nb\nc", "a\nx\nc", "  a\n- b\n+ x\n  c"},
		"a line more":               {"a\nc", "a\nb\nc", "  a\n+ b\n  c"},
		"a line less at the end":    {"a\nb", "a", "  a\n- b"},
		"nothing in common":         {"a", "b", "- a\n+ b"},
		"the rest stays out":        {long + "a\n" + long, long + "b\n" + long, "  …\n  same\n  same\n  same\n- a\n+ b\n  same\n  same\n  same\n  …"},
		"what moved keeps its line": {"a\nb\nc\nd", "b\nc\nd\na", "- a\n  b\n  c\n  d\n+ a"},
	} {
		if got := scripttest.Diff(test.a, test.b); got != test.want {
			t.Errorf("%s:\n%s", name, got)
		}
	}
	huge := strings.Repeat("x\n", 3000)
	if got := scripttest.Diff("a\n"+huge+"b", "c\n"+huge+"d"); !strings.HasPrefix(got, "- a\n") || !strings.HasSuffix(got, "+ d") {
		t.Errorf("a huge one: %d bytes", len(got))
	}
}
