package scripttest

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const (
	snapshotFolder = "__snapshots__"
	snapshotHead   = "# What tests expect, written by pipehook test. Keep it with them; pipehook test --update writes it anew.\n"
	snapshotTitle  = "== "
)

// snapshots are those of one file of tests. They belong to the goroutine that runs the file.
type snapshots struct {
	path   string
	update bool // write what differs
	frozen bool // write nothing that is new
	stored map[string]string
	counts map[string]int // of a test's name
	used   map[string]bool

	written, updated int
}

func openSnapshots(test string, update, frozen bool) (*snapshots, error) {
	s := &snapshots{
		path:   filepath.Join(filepath.Dir(test), snapshotFolder, filepath.Base(test)+".snap"),
		update: update, frozen: frozen, counts: map[string]int{}, used: map[string]bool{},
	}
	text, err := os.ReadFile(s.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	s.stored = parseSnapshots(string(text))
	return s, nil
}

// parseSnapshots reads a file: titles begin with ==, and no line of a value does.
func parseSnapshots(text string) map[string]string {
	stored := map[string]string{}
	title, lines := "", []string(nil)
	keep := func() {
		if title != "" {
			stored[title] = strings.TrimRight(strings.Join(lines, "\n"), "\n")
		}
		lines = nil
	}
	for line := range strings.SplitSeq(strings.ReplaceAll(text, "\r\n", "\n"), "\n") { // some check files out so
		if name, ok := strings.CutPrefix(line, snapshotTitle); ok {
			keep()
			title = name
		} else {
			lines = append(lines, line)
		}
	}
	keep()
	return stored
}

// match compares a value with the next snapshot of a test. It returns what is wrong, if anything.
func (s *snapshots) match(test, hint, value string) *detail {
	if hint != "" {
		test += ": " + hint
	}
	test = strings.Join(strings.Fields(test), " ")
	s.counts[test]++
	title := test + " " + strconv.Itoa(s.counts[test])
	s.used[title] = true
	old, ok := s.stored[title]
	switch {
	case ok && old == value:
	case ok && !s.update:
		return &detail{Expected: old, Received: value, Note: "the snapshot is in " + s.path + "; when it is the new value that is right:  pipehook test --update"}
	case !ok && s.frozen && !s.update:
		return &detail{Note: "there is no snapshot of it, and with CI=1 none is written: run pipehook test and keep " + s.path + "\n\n" + value}
	case ok:
		s.updated++
		s.stored[title] = value
	default:
		s.written++
		s.stored[title] = value
	}
	return nil
}

// close writes the file when something has changed. whole says that every test of the file ran: then
// snapshots that nobody asked for are old.
func (s *snapshots) close(whole bool) (old []string, err error) {
	removed := 0
	if whole {
		for _, title := range slices.Sorted(maps.Keys(s.stored)) {
			if s.used[title] {
				continue
			}
			if s.update {
				delete(s.stored, title)
				removed++
			} else {
				old = append(old, title)
			}
		}
	}
	if s.written+s.updated+removed == 0 {
		return old, nil
	}
	if len(s.stored) == 0 {
		return old, os.Remove(s.path)
	}
	var b bytes.Buffer
	b.WriteString(snapshotHead)
	for _, title := range slices.Sorted(maps.Keys(s.stored)) {
		fmt.Fprintf(&b, "\n%s%s\n%s\n", snapshotTitle, title, s.stored[title])
	}
	if err := os.MkdirAll(filepath.Dir(s.path), 0o755); err != nil {
		return old, err
	}
	return old, os.WriteFile(s.path, b.Bytes(), 0o644)
}
