//go:build unix

package plughost

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
)

const (
	// maxHello is the longest line with which a plugin may shake hands.
	maxHello = 8 << 10

	// restWithin is how long the end of a process's output is waited for, which something that it
	// started and that left its group may hold open.
	restWithin = 50 * time.Millisecond

	// pipeSize is what a pipe holds.
	pipeSize = 64 << 10
)

// process is one run of a binary, the leader of a process group of its own. It is a runner.Runner
// for go-plugin, which so neither starts nor kills anything itself.
type process struct {
	cmd            *exec.Cmd
	out, err       *os.File // the reading ends
	outEnd, errEnd *os.File
	said           *output // what it writes to its standard output after the handshake
	complained     *output // and to its standard error
	sockets        string  // where its socket must be
	plain          bool    // it must serve without TLS
	quota          quota
	hello          *io.PipeReader
	pass           *io.PipeWriter
	sever          func() // instead of a kill, when it is not ours

	ended  chan struct{} // closed when it has ended and all it said was read
	status error         // with ended

	mu     sync.Mutex
	pid    int
	doomed bool   // it was to be killed before it was there
	gone   bool   // and its number may be another's
	first  string // the line it said first
}

func newProcess(cmd *exec.Cmd, said, complained *output) (p *process, err error) {
	p = &process{cmd: cmd, said: said, complained: complained, ended: make(chan struct{})}
	p.hello, p.pass = io.Pipe()
	if p.out, p.outEnd, err = os.Pipe(); err != nil {
		return nil, err
	}
	if p.err, p.errEnd, err = os.Pipe(); err != nil {
		p.closeAll()
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = p.outEnd, p.errEnd
	return p, nil
}

func (p *process) closeAll() {
	for _, f := range []*os.File{p.out, p.outEnd, p.err, p.errEnd} {
		if f != nil {
			_ = f.Close()
		}
	}
}

// Start is part of runner.Runner.
func (p *process) Start(context.Context) error {
	started := make(chan error)
	go p.live(started) // owned by p, ends with the process
	return <-started
}

// live starts the process and waits for its end on one and the same thread: where the system kills a
// child with its parent, the parent is the thread that forked, and others may end at any time.
func (p *process) live(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.cmd.Start()
	if err != nil {
		p.closeAll()
		started <- err
		return
	}
	_, _ = p.outEnd.Close(), p.errEnd.Close() // the child has its own
	p.mu.Lock()
	p.pid = p.cmd.Process.Pid
	doomed := p.doomed
	p.mu.Unlock()
	if err = p.limit(false); err != nil {
		_ = p.hello.Close() // nobody will read
	}
	if doomed || err != nil {
		p.kill()
	}
	var reading sync.WaitGroup
	reading.Go(func() { p.readOut(p.out) })
	reading.Go(func() { _, _ = io.Copy(p.complained, p.err) })
	started <- err

	p.reap()
	rest := time.Now().Add(restWithin)
	_, _ = p.out.SetReadDeadline(rest), p.err.SetReadDeadline(rest)
	reading.Wait()
	p.readOut(bytes.NewReader(drain(p.out)))
	_, _ = p.complained.Write(drain(p.err))
	p.said.flush()
	p.complained.flush()
	_, _ = p.out.Close(), p.err.Close()
	_ = p.pass.Close()
	close(p.ended)
}

// drain is what is in a pipe already, however late it is read.
func drain(pipe *os.File) (rest []byte) {
	_ = pipe.SetReadDeadline(time.Time{})
	raw, err := pipe.SyscallConn()
	if err != nil {
		return nil
	}
	_ = raw.Read(func(fd uintptr) bool {
		rest = make([]byte, pipeSize)
		n, _ := syscall.Read(int(fd), rest)
		rest = rest[:max(n, 0)]
		return true // not to wait for more
	})
	return rest
}

// readOut gives the first line to go-plugin and the others to the log.
func (p *process) readOut(out io.Reader) {
	from := bufio.NewReaderSize(out, maxHello)
	if p.firstLine() == "" {
		p.passHello(from)
	}
	_, _ = io.Copy(p.said, from)
}

func (p *process) passHello(from *bufio.Reader) {
	line, err := from.ReadSlice('\n')
	if len(line) == 0 {
		return
	}
	p.mu.Lock()
	p.first = string(line)
	p.mu.Unlock()
	if errors.Is(err, bufio.ErrBufferFull) {
		line = append(line[:len(line):len(line)], '\n')
	}
	_, _ = p.pass.Write(line) // go-plugin reads until the end
}

// kill ends the process and those it has started, unless it has ended.
func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone {
		return
	}
	p.doomed = true
	if p.sever != nil {
		p.sever()
	}
	if p.pid != 0 {
		_ = syscall.Kill(-p.pid, syscall.SIGKILL) // it may end at this moment
	}
}

// Wait is part of runner.Runner.
func (p *process) Wait(context.Context) error {
	<-p.ended
	return p.status
}

// Kill is part of runner.Runner.
func (p *process) Kill(context.Context) error {
	p.kill()
	return nil
}

// Stdout is part of runner.Runner.
func (p *process) Stdout() io.ReadCloser { return p.hello }

// Stderr is part of runner.Runner. There is nothing to read: one line of a certain form would end
// us, because go-plugin takes its parts for what it expects.
func (p *process) Stderr() io.ReadCloser { return silence{p.ended} }

// Name is part of runner.Runner.
func (p *process) Name() string { return p.cmd.Path }

// ID is part of runner.Runner.
func (p *process) ID() string {
	if pid := p.number(); pid != 0 {
		return strconv.Itoa(pid)
	}
	return ""
}

// number is the process's, 0 while there is none.
func (p *process) number() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pid
}

// Diagnose is part of runner.Runner.
func (p *process) Diagnose(context.Context) string { return "" }

// PluginToHost is part of runner.Runner. It comes between the handshake and the connection.
func (p *process) PluginToHost(network, address string) (string, string, error) {
	if network != "unix" || filepath.Clean(address) != address || !strings.HasPrefix(address, p.sockets+"/") { // another's would not end with it
		return "", "", fmt.Errorf("it serves at %s %s, and must serve at a socket in the folder that PLUGIN_UNIX_SOCKET_DIR names", network, address)
	}
	protocol, certificate := serves(p.firstLine())
	switch {
	case protocol != goplugin.ProtocolGRPC: // which is refused next
	case !certificate && !p.plain:
		return "", "", errors.New(`it serves without TLS: write tls = "off" for it, or build it with the SDK`)
	case certificate && p.plain:
		return "", "", errors.New(`it serves with TLS, and tls = "off" is for plugins that do not: leave that out`)
	}
	if err := p.limit(true); err != nil { // what it has set itself at its start may have come later
		return "", "", err
	}
	return network, address, nil
}

// serves is what a handshake says of the connection. go-plugin does not survive a certificate that it did
// not ask for, and takes what is that long for one.
func serves(hello string) (protocol goplugin.Protocol, certificate bool) {
	parts := append(strings.Split(strings.TrimSpace(hello), "|"), make([]string, 6)...)
	return goplugin.Protocol(parts[4]), len(parts[5]) > 50
}

// limit bounds what the process may take, before and after it has shaken hands.
func (p *process) limit(shaken bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone {
		return nil
	}
	if err := p.quota.impose(p.pid, shaken); err != nil {
		return fmt.Errorf("its limits could not be set: %w", err)
	}
	return nil
}

// HostToPlugin is part of runner.Runner.
func (p *process) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}

// wasKilled reports whether the process, which has ended, did so because we have killed it.
func (p *process) wasKilled() bool { return p.killed() && p.isDoomed() }

// killedByOthers reports whether it ended because somebody else has.
func (p *process) killedByOthers() bool { return p.killed() && !p.isDoomed() }

func (p *process) killed() bool {
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// most is how much of it, which has ended, was in memory at most, on Linux.
func (p *process) most() int64 {
	if usage, ok := p.cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		return int64(usage.Maxrss) << 10
	}
	return 0
}

func (p *process) isDoomed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.doomed
}

func (p *process) firstLine() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.first
}

// silence is a stream that ends when the channel is closed.
type silence struct{ ended <-chan struct{} }

func (s silence) Read([]byte) (int, error) {
	<-s.ended
	return 0, io.EOF
}

func (s silence) Close() error { return nil }
