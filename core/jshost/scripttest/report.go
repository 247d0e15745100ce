package scripttest

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/pipehook/pipehook/core/jshost/engine"
)

// File is what came of one file of tests.
type File struct {
	Path      string   `json:"file"`
	Tests     []Test   `json:"tests"`
	Failure   *Failure `json:"failure,omitempty"` // of the file itself: it could not be loaded
	TookUS    int64    `json:"tookUs"`
	Snapshots Counts   `json:"snapshots"`
	// Inputs are the files that it was built from.
	Inputs []string `json:"-"`
}

// Counts says what became of a file's snapshots.
type Counts struct {
	Written int      `json:"written"`
	Updated int      `json:"updated"`
	Old     []string `json:"old,omitempty"` // that no test asks for any more
}

// State is what came of a test.
type State string

// The states of a test.
const (
	Passed  State = "passed"
	Failed  State = "failed"
	Skipped State = "skipped"
)

// Test is what came of one test.
type Test struct {
	Name    string        `json:"name"` // with its groups before it
	State   State         `json:"state"`
	TookUS  int64         `json:"tookUs"`
	Failure *Failure      `json:"failure,omitempty"`
	Lines   []engine.Line `json:"logs,omitempty"` // what was logged in it
}

// Failure is why a test, or a file, failed.
type Failure struct {
	Message string `json:"message"`
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Detail  string `json:"detail,omitempty"` // over several lines
	Via     string `json:"via,omitempty"`    // the place in the test, when File is one that it imports
}

// detail is what an expectation says beside its message.
type detail struct{ Expected, Received, Note string }

func (d *detail) text() string {
	if d == nil {
		return ""
	}
	parts := []string{}
	switch {
	case d.Expected == "" && d.Received == "":
	case strings.Contains(d.Expected+d.Received, "\n"):
		parts = append(parts, "- expected   + received\n\n"+Diff(d.Expected, d.Received))
	default:
		parts = append(parts, "expected: "+d.Expected+"\nreceived: "+d.Received)
	}
	if d.Note != "" {
		parts = append(parts, d.Note)
	}
	return strings.Join(parts, "\n\n")
}

// failure takes an engine's error apart.
func failureOf(err error) *Failure {
	f := &Failure{Message: err.Error()}
	if e, ok := asScript(err); ok {
		f.Message, f.File, f.Line, f.Column, f.Via = e.Msg, e.File, e.Line, e.Column, e.Via
	} else if e, ok := asCompile(err); ok {
		f.Message, f.File, f.Line, f.Column = e.Msg, e.File, e.Line, e.Column
	}
	return f
}

// Place is file:line:column, as far as known.
func (f *Failure) Place() string {
	if f.Line == 0 {
		return f.File
	}
	return fmt.Sprintf("%s:%d:%d", f.File, f.Line, f.Column)
}

const frameLines = 2

// Frame is the code around a failure, as it is in the file now; empty when it can't be read.
func (f *Failure) Frame() string {
	if f.Line == 0 {
		return ""
	}
	text, err := os.ReadFile(f.File)
	if err != nil {
		return ""
	}
	lines := strings.Split(string(text), "\n")
	if f.Line > len(lines) {
		return ""
	}
	var b strings.Builder
	last := min(f.Line+frameLines, len(lines))
	width := len(fmt.Sprint(last))
	for n := max(f.Line-frameLines, 1); n <= last; n++ {
		line := strings.TrimRight(lines[n-1], "\r")
		if n != f.Line {
			fmt.Fprintf(&b, "  %*d | %s\n", width, n, line)
			continue
		}
		fmt.Fprintf(&b, "> %*d | %s\n", width, n, line)
		if f.Column > 0 && f.Column <= len(line)+1 {
			fmt.Fprintf(&b, "  %*s | %s^\n", width, "", blank(line[:f.Column-1]))
		}
	}
	return strings.TrimRight(b.String(), "\n")
}

// blank is as wide as the text before a place.
func blank(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' {
			return r
		}
		return ' '
	}, text)
}

// Totals counts tests by their state, and files that could not be loaded as failed.
func Totals(files []File) (passed, failed, skipped int) {
	for _, f := range files {
		if f.Failure != nil {
			failed++
		}
		for _, t := range f.Tests {
			switch t.State {
			case Passed:
				passed++
			case Failed:
				failed++
			case Skipped:
				skipped++
			}
		}
	}
	return passed, failed, skipped
}

func micros(d time.Duration) int64 { return d.Microseconds() }
