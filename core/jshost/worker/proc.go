package worker

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// The names that a child is started by, which ps shows.
const (
	servesAs   = "pipehook: script"
	compilesAs = "pipehook: compile"
)

// exitMemory is the exit code of a child that has used up its memory.
const exitMemory = 64

const (
	maxWords = 8 << 10 // bytes that are kept of what a child says on its standard error
	maxWord  = 300     // of what is told of it
)

// proc is a process of ours and the socket to it.
type proc struct {
	cmd    *exec.Cmd
	socket *os.File
	words  words
	ended  chan struct{} // closed when it has ended
	err    error         // its status, with ended

	mu     sync.Mutex
	killed bool
}

// spawn starts this very program as a child. Nothing of ours is handed to it but its socket.
func spawn(as, name, dir string) (*proc, error) {
	ours, its, err := socketPair()
	if err != nil {
		return nil, err
	}
	defer func() { _ = its.Close() }() // the child has its own
	self, err := program()
	if err != nil {
		_ = ours.Close()
		return nil, err
	}
	p := &proc{socket: ours, ended: make(chan struct{})}
	p.cmd = &exec.Cmd{
		Path: self, Args: []string{as, name}, Env: environment(), Dir: dir,
		Stdin: its, Stderr: &p.words, SysProcAttr: attributes(), WaitDelay: endsAbout,
	}
	if err := p.cmd.Start(); err != nil {
		_ = ours.Close()
		return nil, err
	}
	go p.live() // owned by p, ends with the process
	return p, nil
}

func (p *proc) live() {
	p.err = p.cmd.Wait()
	close(p.ended)
}

func (p *proc) pid() int { return p.cmd.Process.Pid }

// kill ends the process at once. It may have ended.
func (p *proc) kill() {
	p.mu.Lock()
	p.killed = true
	p.mu.Unlock()
	_ = p.cmd.Process.Kill()
}

// hangUp has the process end by itself.
func (p *proc) hangUp() { _ = p.socket.Close() }

// wait waits for the end, for ever if d is 0, and reports whether it has come.
func (p *proc) wait(d time.Duration) bool {
	if d == 0 {
		<-p.ended
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-p.ended:
		return true
	case <-timer.C:
		return false
	}
}

// hungUp reports whether a read or a write failed because one of the two ends is closed.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, os.ErrClosed) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// fate is what a process died of, as far as one can tell.
type fate int

const (
	diedOtherwise fate = iota
	diedOfMemory       // it was over its limit
	diedOfDepth        // of calls
	wasKilled          // and not by us
)

func (p *proc) fate() fate {
	p.mu.Lock()
	killed := p.killed
	p.mu.Unlock()
	said := p.words.String()
	switch {
	case p.cmd.ProcessState.ExitCode() == exitMemory || outOfMemory(said):
		return diedOfMemory
	case strings.Contains(said, "stack overflow"):
		return diedOfDepth
	case p.err != nil && strings.Contains(p.err.Error(), "signal: killed") && !killed:
		return wasKilled
	}
	return diedOtherwise
}

// reason is why a process has ended, for people. memory is what it was allowed.
func (p *proc) reason(memory int64) string {
	switch p.fate() {
	case diedOfMemory:
		return fmt.Sprintf("memory limit of %s exceeded", size(memory))
	case diedOfDepth:
		return "the script ended its process: the calls are nested too deep (stack overflow)"
	case wasKilled:
		return "the system has killed the script's process, most likely because memory ran out"
	}
	return "the script ended its process: " + p.status()
}

// status is what a process that has ended says itself.
func (p *proc) status() string {
	status := "exit status 0"
	if p.err != nil {
		status = p.err.Error()
	}
	if last := lastWord(p.words.String()); last != "" {
		status = last + " (" + status + ")"
	}
	return status
}

// outOfMemory recognizes what Go, and its race detector, say when the system gives no more. Where Go
// does not look whether it was given some, it meets address 0 in its own code, which is no panic.
func outOfMemory(said string) bool {
	if strings.HasPrefix(said, "SIGSEGV: segmentation violation") {
		return true
	}
	for _, words := range []string{
		"out of memory", "cannot allocate memory", "failed to allocate", "address space collisions", "unexpected signal during runtime execution",
		"pthread_create failed", "failed to create new OS thread", // whose stack is memory too
	} {
		if strings.Contains(said, words) {
			return true
		}
	}
	return false
}

// lastWord is the line that says why, else the first.
func lastWord(said string) string {
	first := ""
	for line := range strings.Lines(said) {
		line = strings.TrimSpace(line)
		if len(line) > maxWord {
			line = strings.ToValidUTF8(line[:maxWord], "") + "…"
		}
		if strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") {
			return line
		}
		if first == "" {
			first = line
		}
	}
	return first
}

func size(n int64) string {
	switch {
	case n >= 1<<30 && n%(1<<30) == 0:
		return fmt.Sprintf("%dGiB", n>>30)
	case n >= 1<<20 && n%(1<<20) == 0:
		return fmt.Sprintf("%dMiB", n>>20)
	}
	return fmt.Sprintf("%d bytes", n)
}

// words keeps the beginning of what a process says: Go says first why it ends.
type words struct {
	mu   sync.Mutex
	kept []byte
}

// Write implements io.Writer. It never fails.
func (w *words) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.kept = append(w.kept, p[:min(len(p), maxWords-len(w.kept))]...)
	return len(p), nil
}

func (w *words) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.ToValidUTF8(string(w.kept), "\ufffd")
}
