package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/pipedrive/shape"
)

// lookAgain is how often the file of the definitions is looked at, while it is asked for.
const lookAgain = time.Second

// definitionsFile is pipedrive.fields.json as it is now. It is read anew when it is another file, so whoever
// writes it need tell nobody. A file that can't be read leaves what was known before.
type definitionsFile struct {
	path  atomic.Pointer[string]
	known atomic.Pointer[shape.Fields]
	next  atomic.Int64 // when to look again, in nanoseconds

	lacking chan string // of a field that is not defined, for whoever pulls

	looking sync.Mutex
	seen    fs.FileInfo
	err     error
}

// definitions are those of the configuration that was loaded last: events are named again by readers of all
// kinds, which know no configuration.
var definitions = definitionsFile{lacking: make(chan string, 1)}

// use takes the file of a configuration.
func (d *definitionsFile) use(conf *config.Config) {
	path := beside(conf, conf.Pipedrive.Fields)
	if old := d.path.Swap(&path); old != nil && *old == path {
		d.next.Store(0)
		return
	}
	d.looking.Lock()
	defer d.looking.Unlock()
	d.seen, d.err = nil, nil
	d.known.Store(nil)
	d.next.Store(0)
}

// fields are the definitions; nil when there are none.
func (d *definitionsFile) fields() *shape.Fields {
	now := time.Now().UnixNano()
	if next := d.next.Load(); now >= next && d.next.CompareAndSwap(next, now+int64(lookAgain)) {
		_ = d.look() // check tells of it
	}
	return d.known.Load()
}

// unknown is told of a field that is not defined. It does not wait.
func (d *definitionsFile) unknown(object, key string) {
	select {
	case d.lacking <- object + "." + key:
	default:
	}
}

// look reads the file if it is another than before. There being none is no error.
func (d *definitionsFile) look() error {
	d.looking.Lock()
	defer d.looking.Unlock()
	path := d.path.Load()
	if path == nil {
		return nil
	}
	info, err := os.Stat(*path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.seen, d.err = nil, nil
		d.known.Store(nil)
		return nil
	case err != nil:
		return err
	case d.seen != nil && os.SameFile(d.seen, info) && d.seen.ModTime().Equal(info.ModTime()) && d.seen.Size() == info.Size():
		return d.err
	}
	d.seen = info
	var f *shape.Fields
	text, err := os.ReadFile(*path)
	if err == nil {
		f, err = shape.ParseFields(text)
	}
	if d.err = err; err == nil {
		d.known.Store(f)
	}
	return err
}

// writeDefinitions puts the definitions into a file, all at once: others may be reading it.
func writeDefinitions(path string, f *shape.Fields) error {
	temp, err := os.CreateTemp(filepath.Dir(path), ".fields-*")
	if err != nil {
		return err
	}
	_, err = temp.Write(f.Text())
	err = errors.Join(err, temp.Sync(), temp.Chmod(0o644), temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temp.Name()))
	}
	return nil
}
