package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"
)

// columns are what the table must have as its first line.
var columns = []string{"user_id", "team", "tier"}

// owner is a line of the table.
type owner struct{ team, tier string }

// table is a file of owners, which is read again when it has changed.
type table struct {
	path string

	mu     sync.Mutex
	seen   stamp // of the file when it was read last, also when that failed
	owners map[string]*owner
}

// stamp tells one state of a file from another.
type stamp struct {
	changed time.Time
	size    int64
}

func open(path string) (*table, error) {
	t := &table{path: path}
	return t, t.refresh()
}

// find is the owner with the id, or nil. With an error it comes from the table as it was.
func (t *table) find(id string) (*owner, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	err := t.refresh()
	return t.owners[id], err
}

// refresh reads the file if it is another than before. To look costs a few microseconds; a file that
// is wrong is told of once.
func (t *table) refresh() error {
	info, err := os.Stat(t.path)
	if err != nil {
		if t.seen == (stamp{}) && t.owners != nil {
			return nil // told already
		}
		t.seen = stamp{}
		return err
	}
	now := stamp{info.ModTime(), info.Size()}
	if now == t.seen {
		return nil
	}
	t.seen = now
	f, err := os.Open(t.path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it was only read
	owners, err := parse(f)
	if err != nil {
		return fmt.Errorf("%s: %w", t.path, err)
	}
	t.owners = owners
	return nil
}

func parse(from io.Reader) (map[string]*owner, error) {
	lines := csv.NewReader(from)
	lines.FieldsPerRecord = len(columns)
	head, err := lines.Read()
	if err != nil {
		return nil, err
	}
	if !slices.Equal(head, columns) {
		return nil, fmt.Errorf("the first line must be %q, is %q", columns, head)
	}
	owners := map[string]*owner{}
	for {
		fields, err := lines.Read()
		if errors.Is(err, io.EOF) {
			return owners, nil
		}
		if err != nil {
			return nil, err
		}
		owners[fields[0]] = &owner{team: fields[1], tier: fields[2]}
	}
}
