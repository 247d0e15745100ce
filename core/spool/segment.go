package spool

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pipehook/pipehook/core"
)

// segmentSize is about how large a file grows. What was read back from a file is forgotten only with
// the whole file, and a process that dies before that stores it once more, which changes nothing
// but takes time.
const segmentSize = 4 << 20

const (
	suffix        = ".spool"
	suffixRefused = ".refused" // an event that the store will never take
	suffixDamaged = ".damaged" // the rest of a file that can't be read
)

// segment is one file. Its records are in the order in which they were accepted.
type segment struct {
	path string
	size int64 // of what is known to be on disk
	read int64 // of what the store has
}

// segments lists the files in dir, the oldest first, and the number of the next.
func segments(dir string) (found []*segment, next int, err error) {
	entries, err := os.ReadDir(dir) // sorted by name
	if err != nil {
		return nil, 0, err
	}
	next = 1
	for _, e := range entries {
		var n int
		if _, err := fmt.Sscanf(e.Name(), "%08d"+suffix, &n); err != nil || e.Name() != segmentName(n) {
			continue
		}
		info, err := e.Info()
		if err != nil {
			return nil, 0, err
		}
		found = append(found, &segment{path: filepath.Join(dir, e.Name()), size: info.Size()})
		next = n + 1
	}
	return found, next, nil
}

// Holds reports whether events wait in the folder.
func Holds(dir string) bool {
	found, _, err := segments(dir)
	return err == nil && len(found) > 0
}

func segmentName(n int) string { return fmt.Sprintf("%08d%s", n, suffix) }

// create makes a file that will be found again after a power cut.
func create(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(path))
	}
	return f, nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// writeSynced writes a small file that is on disk when it returns.
func writeSynced(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close(), syncDir(filepath.Dir(path)))
}

// entry is a record as it was read back.
type entry struct {
	ev  *core.Event
	end int64 // where in the file it ends
}

// readSome reads up to limit records from s.read on. The error errTorn or errDamaged comes with what
// could be read before it.
func (s *segment) readSome(limit int) (found []entry, err error) {
	f, err := os.Open(s.path)
	if err != nil {
		return nil, err
	}
	data := make([]byte, s.size-s.read)
	n, err := f.ReadAt(data, s.read)
	_ = f.Close() // only read from
	if errors.Is(err, io.EOF) {
		err = errTorn // somebody made the file shorter
	}
	if err != nil && n == 0 {
		return nil, err
	}
	data = data[:n]
	end := s.read
	for len(data) > 0 && len(found) < limit {
		ev, rest, err := nextRecord(data)
		if err != nil {
			return found, err
		}
		end += int64(len(data) - len(rest))
		data = rest
		found = append(found, entry{ev, end})
	}
	return found, nil
}

// putAside keeps the rest of a file that can't be read, for people to look at. Numbers of files
// return, so the name says when, too.
func (s *segment) putAside() (path string, err error) {
	path = strings.TrimSuffix(s.path, suffix) + time.Now().UTC().Format("-20060102T150405.000000000Z") + suffixDamaged
	data, err := os.ReadFile(s.path)
	if err != nil {
		return path, err
	}
	return path, writeSynced(path, data[min(s.read, int64(len(data))):])
}
