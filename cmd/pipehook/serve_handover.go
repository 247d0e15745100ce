package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"
)

// A hand-over puts a successor, a new process of the program, in the place of this one without
// refusing a connection. The two share the listening sockets, so that whoever connects in between
// waits in the kernel's queue, and speak through two pipes, a word a line:
//
//	successor:   built      all is made that can be while the predecessor holds the store
//	predecessor: released   it has answered what it took and let go of the store
//	successor:   serving    it holds the store and accepts
//
// A store that several processes may share needs no turns: then the first word is serving. Until
// that word the predecessor keeps the sockets, and goes on when the successor ends or takes too
// long. A predecessor that dies has released.
const (
	wordBuilt    = "built"
	wordReleased = "released"
	wordServing  = "serving"

	buildWithin = time.Minute
	serveWithin = time.Minute // the schema may have to be brought up to date

	// storeWithin is how long a successor asks for a store that should be free.
	storeWithin = 10 * time.Second
)

// handoverEnv tells a process that it is a successor, and which sockets it has.
const handoverEnv = "PIPEHOOK_HANDOVER"

// predecessor is the process before this one, as its successor sees it.
type predecessor struct {
	to       *os.File
	released chan struct{} // closed by the goroutine that reads
}

// inherit is what the process was started with. The variables that say so are for this process
// alone, and are taken from those that its children will have.
func (c *cli) inherit() (*inheritance, error) {
	for _, name := range []string{handoverEnv, "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		if lookup(c.environ, name) != "" {
			if err := os.Unsetenv(name); err != nil {
				return nil, err
			}
		}
	}
	text := lookup(c.environ, handoverEnv)
	if text == "" {
		sockets, err := activated(c.environ)
		return &inheritance{sockets: sockets}, err
	}
	in := &inheritance{}
	if err := json.Unmarshal([]byte(text), &in.sockets); err != nil {
		return nil, fmt.Errorf("%s: %w", handoverEnv, err)
	}
	for fd := range 2 + len(in.sockets) {
		syscall.CloseOnExec(firstPassed + fd)
	}
	from := os.NewFile(firstPassed, "from the predecessor")
	in.from = &predecessor{to: os.NewFile(firstPassed+1, "to the predecessor"), released: make(chan struct{})}
	go func() { // ends with the word or with the predecessor
		_, _ = bufio.NewReader(from).ReadString('\n') // there is one word; the end means the same
		_ = from.Close()
		close(in.from.released)
	}()
	for i := range in.sockets {
		in.sockets[i].file = os.NewFile(uintptr(firstPassed+2+i), in.sockets[i].Asked)
	}
	return in, nil
}

// tell says a word. A predecessor that is gone need not hear it.
func (p *predecessor) tell(word string) { _, _ = io.WriteString(p.to, word+"\n") }

// turn waits until the store is free.
func (p *predecessor) turn(ctx context.Context) error {
	p.tell(wordBuilt)
	select {
	case <-p.released:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// successor is the process after this one, as its predecessor sees it.
type successor struct {
	cmd    *exec.Cmd
	to     *os.File
	words  chan string // what it says; closed when it can say no more
	kept   []passed    // the sockets, for the case that it fails
	serves bool        // it does already, since the store can be shared
}

// startSuccessor starts the program again, with the same arguments and the sockets.
func startSuccessor(c *cli, doors map[string]*door) (_ *successor, err error) {
	s := &successor{words: make(chan string)}
	var theirs []*os.File
	defer func() {
		for _, f := range theirs {
			_ = f.Close() // the successor has its own
		}
		if err != nil {
			s.forget()
		}
	}()
	orders, to, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	theirs, s.to = append(theirs, orders), to
	from, words, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	theirs = append(theirs, words)
	for _, name := range []string{hooksDoor, adminDoor} {
		at := doors[name].socket()
		if at == nil {
			continue
		}
		file, err := at.dup()
		if err != nil {
			return nil, errors.Join(err, from.Close())
		}
		s.kept = append(s.kept, passed{Door: name, Asked: at.asked, Managed: at.managed, file: file})
	}
	if err := s.start(c, theirs); err != nil {
		return nil, errors.Join(err, from.Close())
	}
	go s.listen(from)
	return s, nil
}

func (s *successor) start(c *cli, pipes []*os.File) error {
	path, err := executable()
	if err != nil {
		return err
	}
	note, err := json.Marshal(s.kept)
	if err != nil {
		return err
	}
	s.cmd = exec.Command(path, os.Args[1:]...)
	s.cmd.Env = append(slices.DeleteFunc(slices.Clone(c.environ), func(pair string) bool {
		return strings.HasPrefix(pair, "LISTEN_") || strings.HasPrefix(pair, handoverEnv+"=")
	}), handoverEnv+"="+string(note))
	s.cmd.Stdout, s.cmd.Stderr = os.Stdout, os.Stderr
	s.cmd.ExtraFiles = pipes
	for _, p := range s.kept {
		s.cmd.ExtraFiles = append(s.cmd.ExtraFiles, p.file)
	}
	return s.cmd.Start()
}

// executable is the file to start: by the name that this process was started with, since an upgrade
// may have put another file under it; else the file that this process came from.
func executable() (string, error) {
	if path, err := exec.LookPath(os.Args[0]); err == nil {
		return path, nil
	}
	return os.Executable()
}

// listen passes on what the successor says. It ends with it.
func (s *successor) listen(from *os.File) {
	defer close(s.words)
	defer func() { _ = from.Close() }()
	lines := bufio.NewScanner(from)
	for lines.Scan() {
		s.words <- lines.Text()
	}
}

// await is the next word of the successor.
func (s *successor) await(ctx context.Context, within time.Duration) (string, error) {
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case word, ok := <-s.words:
		if !ok {
			return "", fmt.Errorf("it ended: %w", s.end())
		}
		return word, nil
	case <-timer.C:
		return "", fmt.Errorf("it was not ready within %s", within)
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

var errEnded = errors.New("it said no more")

// end ends the successor, if it has not ended, and says how it did.
func (s *successor) end() error {
	_ = s.cmd.Process.Kill() // it may be gone
	go func() {              // what it still says is of no interest, but must not hold it up
		for range s.words {
		}
	}()
	if err := s.cmd.Wait(); err != nil {
		return err
	}
	return errEnded
}

// forget lets go of what is kept for the successor.
func (s *successor) forget() {
	if s.to != nil {
		_ = s.to.Close()
	}
	for _, p := range s.kept {
		_ = p.file.Close()
	}
	s.kept = nil
}

// keep lets go of the successor and returns the sockets.
func (s *successor) keep() []passed {
	sockets := s.kept
	s.kept = nil
	s.forget()
	return sockets
}

// takeOver tells the successor that the store is free and waits until it serves. When it does not,
// it has ended by then. When ctx ends, somebody wants to stop the service, so the successor too.
func (s *successor) takeOver(ctx context.Context) error {
	_, err := io.WriteString(s.to, wordReleased+"\n")
	if s.serves {
		return nil
	}
	if err == nil {
		_, err = s.await(ctx, serveWithin)
	}
	if err == nil {
		return nil
	}
	switch {
	case s.cmd.ProcessState != nil: // it has ended by itself
	case ctx.Err() != nil:
		_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may be gone
		return s.cmd.Wait()
	default:
		_ = s.end()
	}
	return err
}
