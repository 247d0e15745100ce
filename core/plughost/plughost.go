//go:build unix

// Package plughost runs compiled plugins: each is a process of its own, started from a private copy
// of its binary, watched, ended with all that it started when it hangs, and started again. It gives
// them as listeners and knows neither the configuration nor who calls.
package plughost

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Options are what Open needs.
type Options struct {
	Dir    string // of this process alone, for as long as it lives; made when it is needed
	Log    *slog.Logger
	Limits Limits

	// Said gives what takes the lines of a plugin instead of Log; it may be nil, and so may what it gives.
	Said func(s *Spec) slog.Handler

	// Services is what answers a plugin that asks for something; nil: nobody does.
	Services func(s *Spec) Services
}

// Limits bound what a plugin may take. Zero values are replaced by those of the product.
type Limits struct {
	Start      time.Duration // from the start of the process to the end of its own
	Answer     time.Duration // how much later than its deadline a call may be answered
	End        time.Duration // from being told to end to being killed
	FirstPause time.Duration // between starts when the breaker has opened
	LastPause  time.Duration // to which it doubles
	Idle       time.Duration // without a call, after which a plugin is asked whether it lives
	Health     time.Duration // for the answer
}

func (l Limits) orUsual() Limits {
	for _, one := range []struct {
		value *time.Duration
		usual time.Duration
	}{
		{&l.Start, 10 * time.Second}, {&l.Answer, time.Second}, {&l.End, 3 * time.Second},
		{&l.FirstPause, time.Second}, {&l.LastPause, time.Minute}, {&l.Idle, 10 * time.Second}, {&l.Health, 2 * time.Second},
	} {
		if *one.value == 0 {
			*one.value = one.usual
		}
	}
	return l
}

// Host is the folder in which this process keeps what its plugins need, and all plugins it runs.
type Host struct {
	opts Options

	mu      sync.Mutex
	lock    *os.File // held by every plugin too, so that one that outlives us can be found; nil until taken
	count   int
	plugins map[*Plugin]struct{}
	closed  bool
}

// Open makes a host. Plugins that a killed process has left in its folder are ended.
func Open(opts Options) (_ *Host, err error) {
	opts.Limits = opts.Limits.orUsual()
	if opts.Dir, err = filepath.Abs(opts.Dir); err != nil { // plugins work elsewhere
		return nil, err
	}
	h := &Host{opts: opts, plugins: map[*Plugin]struct{}{}}
	if _, err := os.Lstat(opts.Dir); errors.Is(err, os.ErrNotExist) {
		return h, nil
	}
	if err := h.take(); err != nil { // each start tries again
		opts.Log.Error("plugins can't be started", "err", err)
	}
	return h, nil
}

// Spec says what to run.
type Spec struct {
	Kind    string // what it is started as: wire.Listener, wire.Stage or wire.Source
	Name    string // of that listener, stage or source
	Path    string // of the binary
	SHA256  string // which it must have; empty for any
	Config  []byte // JSON
	Secrets map[string]string
	Dir     string // in which it works

	// Memory is how many bytes its process may come to write to; 0 for any number. Go's collector is told of
	// nine tenths of it. What the runtime takes before it needs it, up to 128 MiB, comes on top. Elsewhere than on
	// Linux the system does not hold a process to this, or to OpenFiles.
	Memory    int64
	OpenFiles int  // that it may have; 0 for as many as this process may
	Plain     bool // it serves without TLS, as plugins in other languages do

	Attach *Attachment // the process that it is; nil for one that is started
}

// File is the name of the binary.
func (s *Spec) File() string { return filepath.Base(s.Path) }

// Start starts a plugin and keeps it running until it is stopped. It does not wait.
func (h *Host) Start(spec Spec) *Plugin { return h.start(spec, false) }

// Try starts a plugin as Start does. Why it does not run is not logged before it has run or Ready has
// returned: who waits for that knows it, and what it means for whom.
func (h *Host) Try(spec Spec) *Plugin { return h.start(spec, true) }

func (h *Host) start(spec Spec, tried bool) *Plugin {
	ctx, cancel := context.WithCancel(context.Background())
	p := &Plugin{
		host: h, spec: spec, cancel: cancel, log: h.opts.Log.With("plugin", spec.File(), spec.Kind, spec.Name),
		changed: make(chan struct{}), ended: make(chan struct{}), suspects: map[string]bool{}, word: Starting, since: time.Now(), tried: tried,
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		cancel()
	}
	h.plugins[p] = struct{}{}
	go p.run(ctx) // owned by p, ends with Stop
	return p
}

// Close ends the plugins that still run, without waiting for their calls, and removes the folder.
func (h *Host) Close() error {
	h.mu.Lock()
	h.closed = true
	var all []*Plugin
	for p := range h.plugins {
		all = append(all, p)
	}
	h.mu.Unlock()
	hurry, cancel := context.WithCancel(context.Background())
	cancel()
	var stopped sync.WaitGroup
	for _, p := range all {
		stopped.Go(func() { p.Stop(hurry) })
	}
	stopped.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.lock == nil {
		return nil
	}
	for _, pid := range holders(h.lock) { // what a plugin has started and has left its group
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	h.sweep()
	err := errors.Join(os.RemoveAll(h.opts.Dir), h.lock.Close())
	h.lock = nil
	return err
}

const (
	lockName = "alive"

	// orphansWithin is how long the plugins of a killed process may take to be gone.
	orphansWithin = 2 * time.Second
)

// take makes the folder this process's own. The lock is held as long as anybody has the file open,
// and every plugin inherits it: whoever still holds it was left by a process that was killed, and
// nothing may run beside it.
func (h *Host) take() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.lock != nil {
		return nil
	}
	if h.closed {
		return errors.New("the host is closed")
	}
	if err := os.MkdirAll(h.opts.Dir, 0o700); err != nil {
		return err
	}
	keepDescriptors()
	lock, err := os.OpenFile(filepath.Join(h.opts.Dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := h.outlive(lock); err != nil {
		return errors.Join(err, lock.Close())
	}
	h.lock = lock
	h.sweep()
	return nil
}

// keepDescriptors marks what we have inherited from whoever started us, and what plugins would inherit from
// us. All that is opened here is marked.
func keepDescriptors() {
	names, _ := os.ReadDir(descriptors) // what is not known can't be marked
	for _, name := range names {
		if fd, err := strconv.Atoi(name.Name()); err == nil && fd > 2 {
			syscall.CloseOnExec(fd)
		}
	}
}

// outlive takes the lock, and ends those who have it.
func (h *Host) outlive(lock *os.File) error {
	for until := time.Now().Add(orphansWithin); ; time.Sleep(5 * time.Millisecond) {
		err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return err
		}
		for _, pid := range holders(lock) {
			h.opts.Log.Warn("a plugin of a process that was killed is ended", "pid", pid)
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended by itself
		}
		if time.Now().After(until) {
			return fmt.Errorf("a plugin of a process that was killed still runs: it holds %s", lock.Name())
		}
	}
}

// sweep removes what a killed process has left, also where a link leads.
func (h *Host) sweep() {
	entries, _ := os.ReadDir(h.opts.Dir) // what stays does no harm
	for _, e := range entries {
		if e.Name() == lockName {
			continue
		}
		path := filepath.Join(h.opts.Dir, e.Name())
		if to, err := os.Readlink(path); err == nil {
			_ = os.RemoveAll(to)
		}
		_ = os.RemoveAll(path)
	}
}

// place is a name in the folder that was not used before.
func (h *Host) place(kind string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.count++
	return filepath.Join(h.opts.Dir, kind+strconv.Itoa(h.count))
}

// longestSocket is how long the path of a socket may be, less what go-plugin adds to its folder.
const longestSocket = 103 - len("/plugin-dir4294967295/plugin4294967295")

// socketDir makes a folder for a plugin's socket: in ours, or in one of the system's with a link in
// ours when the path would be too long for a socket.
func (h *Host) socketDir() (dir string, remove func(), err error) {
	link := h.place("s")
	if len(link) <= longestSocket {
		return link, func() { _ = os.RemoveAll(link) }, os.Mkdir(link, 0o700)
	}
	base := os.TempDir()
	if len(base)+len("/pipehook-4294967295") > longestSocket {
		base = "/tmp"
	}
	if dir, err = os.MkdirTemp(base, "pipehook-"); err != nil {
		return "", nil, err
	}
	remove = func() { _ = errors.Join(os.RemoveAll(dir), os.Remove(link)) }
	if err := os.Symlink(dir, link); err != nil {
		remove()
		return "", nil, err
	}
	return dir, remove, nil
}
