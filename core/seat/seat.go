//go:build unix

// Package seat is a process's own folder on this machine: the number by which other processes know
// it, kept over restarts, and a note of what runs that outlives a kill. Several processes that
// share a parent folder take one seat each. It knows neither stores nor listeners.
package seat

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/pipehook/pipehook/core"
)

// most is how many processes one folder has seats for.
const most = 64

// Seat is a folder that this process alone uses until it closes it or ends.
type Seat struct {
	Dir    string
	Number int64       // of the process, the same for whoever sits here next
	Left   []Interrupt // attempts that were under way when the last one here ended

	lock  *os.File
	notes []byte // mapped: what is written is kept by the system, however this process ends
	mu    sync.Mutex
	free  []int
}

// Interrupt is an attempt that was never ended.
type Interrupt struct {
	core.DeliveryKey
	Number int
}

// Take sits down on the first free seat below dir, which it makes. What a seat holds belongs to one
// store, so it passes over those that were used with another; store is any text that tells them apart.
func Take(dir, store string) (*Seat, error) {
	for i := range most {
		s, err := sit(filepath.Join(dir, strconv.Itoa(i+1)), store)
		if err != nil {
			return nil, fmt.Errorf("seat %s: %w", s.Dir, errors.Join(err, s.Close()))
		}
		if s.lock != nil {
			return s, nil
		}
	}
	return nil, fmt.Errorf("all %d seats in %s are taken", most, dir)
}

// sit leaves the lock nil when another process holds it, or the seat belongs to another store.
func sit(dir, store string) (*Seat, error) {
	s := &Seat{Dir: dir}
	if err := makeDir(dir); err != nil {
		return s, err
	}
	if err := s.lockIt(); err != nil || s.lock == nil {
		return s, err
	}
	owner, err := storeOf(dir)
	if err != nil {
		return s, err
	}
	if owner == "" {
		err = os.WriteFile(filepath.Join(dir, storeFile), []byte(store+"\n"), 0o600)
	} else if owner != store {
		err, s.lock = s.lock.Close(), nil
		return s, err
	}
	if err != nil {
		return s, err
	}
	if s.Number, err = number(filepath.Join(dir, "number")); err != nil {
		return s, err
	}
	return s, s.openNotes()
}

// storeFile says to which store the rest of the folder belongs.
const storeFile = "store"

func storeOf(dir string) (string, error) {
	text, err := os.ReadFile(filepath.Join(dir, storeFile))
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	return strings.TrimSpace(string(text)), err
}

// makeDir makes a folder two deep, which is there after a power cut.
func makeDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for range 2 {
		dir = filepath.Dir(dir)
		d, err := os.Open(dir)
		if errors.Is(err, os.ErrPermission) {
			continue // then it was there before
		}
		if err != nil {
			return err
		}
		if err := errors.Join(d.Sync(), d.Close()); err != nil {
			return err
		}
	}
	return nil
}

// lockIt leaves the lock nil when another process holds it.
func (s *Seat) lockIt() error {
	lock, err := os.OpenFile(filepath.Join(s.Dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = lock.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil
		}
		return err
	}
	s.lock = lock
	return nil
}

// number reads the seat's number, or draws one. A file that makes no sense is replaced: the number
// only saves a wait.
func number(file string) (int64, error) {
	text, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, err
	}
	if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && n > 0 {
		return n, nil
	}
	n := 1 + rand.Int64N(1<<62)
	return n, os.WriteFile(file, []byte(strconv.FormatInt(n, 10)+"\n"), 0o600)
}

// A note is: event 8 bytes (0 for none), number 4, length of the name 1, name.
const (
	noteSize = 128
	noteMax  = 4096 // attempts at a time; those beyond are not noted
	nameAt   = 13
)

func (s *Seat) openNotes() error {
	f, err := os.OpenFile(filepath.Join(s.Dir, "running"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // the mapping stays
	if err := fill(f); err != nil {
		return err
	}
	s.notes, err = syscall.Mmap(int(f.Fd()), 0, noteSize*noteMax, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return err
	}
	for i := noteMax - 1; i >= 0; i-- {
		note := s.notes[i*noteSize : (i+1)*noteSize]
		if seq := int64(binary.LittleEndian.Uint64(note)); seq > 0 && int(note[12]) <= noteSize-nameAt {
			s.Left = append(s.Left, Interrupt{
				core.DeliveryKey{Seq: seq, Listener: string(note[nameAt : nameAt+int(note[12])])},
				int(binary.LittleEndian.Uint32(note[8:])),
			})
		}
		s.free = append(s.free, i)
	}
	return nil
}

// fill gives the whole file room on the disk, and keeps what is in it. On a full disk the first write
// through the mapping to a part that has none would end the process.
func fill(f *os.File) error {
	whole := make([]byte, noteSize*noteMax)
	if _, err := f.ReadAt(whole, 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	_, err := f.WriteAt(whole, 0)
	return err
}

// EachFree calls f with the folder of every seat below dir that was used before and that nobody sits
// on now, and the store that it belongs to, empty when it does not say. Nobody can sit down there
// until f returns. The errors are joined.
func EachFree(dir string, f func(folder, store string) error) error {
	var errs []error
	for i := range most {
		if err := ifFree(filepath.Join(dir, strconv.Itoa(i+1)), f); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func ifFree(folder string, f func(folder, store string) error) error {
	if _, err := os.Stat(folder); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	s := &Seat{Dir: folder}
	err := s.lockIt()
	if err == nil && s.lock != nil {
		var store string
		if store, err = storeOf(folder); err == nil {
			err = f(folder, store)
		}
		err = errors.Join(err, s.lock.Close())
	}
	if err != nil {
		return fmt.Errorf("seat %s: %w", folder, err)
	}
	return nil
}

// Forget clears what the last process here left, once that has been dealt with. It must come
// before the first Start.
func (s *Seat) Forget() { clear(s.notes) }

// Start notes that an attempt runs, until end is called.
func (s *Seat) Start(key core.DeliveryKey, attempt int) (end func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lock == nil || len(s.free) == 0 || len(key.Listener) > noteSize-nameAt {
		return func() {}
	}
	i := s.free[len(s.free)-1]
	s.free = s.free[:len(s.free)-1]
	note := s.notes[i*noteSize : (i+1)*noteSize]
	binary.LittleEndian.PutUint32(note[8:], uint32(attempt))
	note[12] = byte(len(key.Listener))
	copy(note[nameAt:], key.Listener)
	binary.LittleEndian.PutUint64(note, uint64(key.Seq)) // last: with it the note counts
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.lock == nil { // given up: another process may sit here and note its own
			return
		}
		binary.LittleEndian.PutUint64(note, 0)
		s.free = append(s.free, i)
	}
}

// Close gives the seat up. What still runs is not noted any more: it was left behind by a stop that
// somebody wanted, which is no crash. It is safe twice.
func (s *Seat) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lock == nil {
		return nil
	}
	clear(s.notes) // they stay mapped, for Start may still be called
	lock := s.lock
	s.lock = nil
	return lock.Close()
}
