package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/pipehook/pipehook/core/jshost/engine"
	"github.com/pipehook/pipehook/core/jshost/scripttest"
)

// testView prints what came of tests for a person to read.
type testView struct {
	w      io.Writer
	color  bool
	chosen bool // tests are skipped because others were asked for, and not worth a line
}

func newTestView(w io.Writer) *testView { return &testView{w: w, color: isTerminal(w)} }

func (v *testView) paint(code, text string) string {
	if !v.color {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// file prints one file when it has ended.
func (v *testView) file(f scripttest.File) {
	left := func(t scripttest.Test) bool { return v.chosen && t.State == scripttest.Skipped }
	if f.Failure == nil && len(f.Tests) > 0 && !slices.ContainsFunc(f.Tests, func(t scripttest.Test) bool { return !left(t) }) {
		return
	}
	fmt.Fprintln(v.w, v.paint(bold, f.Path))
	for _, t := range f.Tests {
		if left(t) {
			continue
		}
		took := ""
		mark := v.paint(green, "✓")
		switch t.State {
		case scripttest.Failed:
			mark = v.paint(red, "✗")
		case scripttest.Skipped:
			mark = v.paint(dim, "–")
		}
		if t.State != scripttest.Skipped {
			took = "  " + v.paint(dim, short(time.Duration(t.TookUS)*time.Microsecond))
		}
		fmt.Fprintf(v.w, "  %s %s%s\n", mark, plain(t.Name), took)
	}
	if f.Failure != nil {
		v.failure("", f.Failure, nil)
	}
	for _, t := range f.Tests {
		if t.Failure != nil {
			v.failure(t.Name, t.Failure, t.Lines)
		}
	}
	for _, old := range f.Snapshots.Old {
		fmt.Fprintf(v.w, "  %s no test asks for the snapshot %q: pipehook test --update takes it away\n", v.paint(yellow, "warning"), old)
	}
}

func (v *testView) failure(name string, f *scripttest.Failure, lines []engine.Line) {
	title := plain(f.Place())
	if name != "" {
		title = plain(name) + "\n    " + v.paint(dim, title)
	}
	fmt.Fprintf(v.w, "\n  %s %s\n\n    %s\n", v.paint(red, "✗"), title, plainLines(f.Message, "    "))
	if f.Via != "" {
		fmt.Fprintf(v.w, "    called from %s\n", plain(f.Via))
	}
	if f.Detail != "" {
		fmt.Fprintf(v.w, "\n    %s\n", v.diffColors(plainLines(f.Detail, "    ")))
	}
	if frame := f.Frame(); frame != "" {
		fmt.Fprintf(v.w, "\n    %s\n", plainLines(frame, "    "))
	}
	if len(lines) > 0 {
		fmt.Fprintf(v.w, "\n    logged:\n")
		for _, l := range lines {
			fmt.Fprintf(v.w, "      %s %s\n", strings.ToLower(l.Level.String()), cut(plain(l.Text), maxShown))
		}
	}
	fmt.Fprintln(v.w)
}

// plainLines keeps the lines of a text and nothing else that steers a terminal.
func plainLines(text, indent string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = plain(strings.ReplaceAll(lines[i], "\t", "  "))
	}
	return strings.ReplaceAll(strings.Join(lines, "\n"+indent), "\n"+indent+"\n", "\n\n")
}

// maxShown is how much of a line that a script logged is shown under a failure.
const maxShown = 300

func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

func (v *testView) diffColors(text string) string {
	if !v.color {
		return text
	}
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		switch rest := strings.TrimPrefix(line, "    "); {
		case strings.HasPrefix(rest, "- "):
			lines[i] = v.paint(red, line)
		case strings.HasPrefix(rest, "+ "):
			lines[i] = v.paint(green, line)
		}
	}
	return strings.Join(lines, "\n")
}

// summary is the last thing that is printed.
func (v *testView) summary(files []scripttest.File, took time.Duration) {
	passed, failed, skipped := scripttest.Totals(files)
	var words []string
	if failed > 0 {
		words = append(words, v.paint(red, fmt.Sprint(failed, " failed")))
	}
	words = append(words, v.paint(green, fmt.Sprint(passed, " passed")))
	if skipped > 0 {
		words = append(words, fmt.Sprint(skipped, " skipped"))
	}
	fmt.Fprintf(v.w, "\n%s in %s, %s", strings.Join(words, ", "), counted(len(files), "file"), short(took))
	written, updated := 0, 0
	for _, f := range files {
		written, updated = written+f.Snapshots.Written, updated+f.Snapshots.Updated
	}
	if written > 0 {
		fmt.Fprintf(v.w, "; %s written", counted(written, "snapshot"))
	}
	if updated > 0 {
		fmt.Fprintf(v.w, "; %s updated", counted(updated, "snapshot"))
	}
	fmt.Fprintln(v.w)
}
