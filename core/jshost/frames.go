package jshost

import (
	"bufio"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/pipehook/pipehook/core/jshost/engine"
)

// longestFile bounds what is read to show a line of it.
const longestFile = 4 << 20

// source are the files that a version was made of, and when. They may be others by now.
type source struct {
	files []string
	made  time.Time
}

// frame is the line of code with a mark below the place; empty where the file can't be read, is not
// one of the version's, or has changed since.
func (s source) frame(file string, line, column int) string {
	if line < 1 || !slices.Contains(s.files, filepath.Clean(file)) {
		return ""
	}
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.ModTime().After(s.made) {
		return ""
	}
	lines := bufio.NewScanner(io.LimitReader(f, longestFile))
	lines.Buffer(nil, longestFile)
	for n := 1; lines.Scan(); n++ {
		if n == line {
			return engine.CodeFrame(lines.Text(), line, column)
		}
	}
	return ""
}

// explain adds the line of code to what a script threw.
func (s source) explain(err error) {
	if e, ok := errors.AsType[*engine.ScriptError](err); ok && e.Frame == "" {
		e.Frame = s.frame(e.File, e.Line, e.Column)
	}
}

// frameOf is the line of code of a failure, for those who read of the attempt later.
func frameOf(err error) string {
	if e, ok := errors.AsType[*engine.ScriptError](err); ok && e.Frame != "" {
		return e.Frame + "\n"
	}
	return ""
}

func sourceOf(files []string, made time.Time) source {
	s := source{made: made}
	for _, file := range files {
		s.files = append(s.files, filepath.Clean(file))
	}
	return s
}
