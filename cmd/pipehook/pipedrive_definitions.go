package main

import (
	"errors"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/pipedrive/shape"
)

// lookAgain is how often the file of the definitions is looked at, while it is asked for.
const lookAgain = time.Second

// definitionsFile is pipedrive.fields.json as it is now. It is read anew when it is another file, so whoever
// writes it need tell nobody. A file that can't be read leaves what was known before.
type definitionsFile struct {
	known   atomic.Pointer[shape.Fields]
	next    atomic.Int64 // when to look again, in nanoseconds
	lacking lackingFields

	looking sync.Mutex
	from    definer
	seen    fs.FileInfo
	err     error
}

// definer is where definitions are kept, and the account whose they are.
type definer struct {
	path, address string
	token         core.Secret
	app           config.PipedriveOAuth
}

// definitions are those of the configuration that holds: events are named again by readers of all kinds, which
// know no configuration.
var definitions = definitionsFile{lacking: newLackingFields()}

// use takes the file of a configuration, if there is one. Nobody sees a moment without definitions.
func (d *definitionsFile) use(conf *config.Config) {
	if conf == nil {
		return
	}
	p := &conf.Pipedrive
	from := definer{beside(conf, p.Fields), p.Address(), p.APIToken, p.OAuth}
	d.looking.Lock()
	defer d.looking.Unlock()
	old := d.from
	d.from = from
	d.next.Store(0)
	if old != from {
		d.lacking.forget() // another account may define them, and another place may be written to
	}
	if old.path == from.path {
		return
	}
	d.seen, d.err = nil, nil
	if d.read() != nil {
		d.known.Store(nil) // what is known is of the other file
	}
}

// fields are the definitions; nil when there are none.
func (d *definitionsFile) fields() *shape.Fields {
	now := time.Now().UnixNano()
	if next := d.next.Load(); now >= next && d.next.CompareAndSwap(next, now+int64(lookAgain)) {
		_ = d.look() // check tells of it
	}
	return d.known.Load()
}

// look reads the file if it is another than before. There being none is no error.
func (d *definitionsFile) look() error {
	d.looking.Lock()
	defer d.looking.Unlock()
	return d.read()
}

// read is look for whoever holds the lock.
func (d *definitionsFile) read() error {
	if d.from.path == "" {
		return nil
	}
	info, err := os.Stat(d.from.path)
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
	text, err := os.ReadFile(d.from.path)
	if err == nil {
		f, err = shape.ParseFields(text)
	}
	if d.err = err; err == nil {
		d.known.Store(f)
	}
	return err
}

// writeDefinitions puts the definitions into a file that everybody may read.
func writeDefinitions(path string, f *shape.Fields) error {
	return replaceFile(path, f.Text(), func(temp *os.File) error { return temp.Chmod(0o644) })
}

// definable says whether definitions can be put there.
func definable(path string) error {
	temp, err := tempBeside(path)
	if err != nil {
		return err
	}
	return errors.Join(temp.Close(), os.Remove(temp.Name()))
}
