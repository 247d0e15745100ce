package plughost

import (
	"bytes"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	goplugin "github.com/hashicorp/go-plugin"
	"golang.org/x/sys/unix"
)

// attributes make a process the leader of a group, and have the system kill it when we die.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// reap waits for the end of the process and kills those it has started. Until they are killed its
// number stays taken, and so can't be another group's.
func (p *process) reap() {
	for errors.Is(unix.Waitid(unix.P_PID, p.pid, nil, unix.WEXITED|unix.WNOWAIT, nil), unix.EINTR) {
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = syscall.Kill(-p.pid, syscall.SIGKILL) // nobody may be left
	p.status = p.cmd.Wait()
	p.gone = true
}

const descriptors = "/proc/self/fd"

// variable is in the environment of a plugin with a value that no other has.
const variable = goplugin.EnvUnixSocketDir

// strays are the processes that one which had its sockets in the folder has started, whatever group they
// are in, as long as they have kept their environment.
func strays(sockets string) (pids []int) {
	mark := []byte(variable + "=" + sockets + "/")
	all, _ := filepath.Glob("/proc/[0-9]*/environ") // the pattern is good
	for _, path := range all {
		environ, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(environ, mark) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil && pid != os.Getpid() {
			pids = append(pids, pid)
		}
	}
	return pids
}

// holders are the other processes that hold the file's lock. Who only reads it, as a backup does, is
// none of them.
func holders(f *os.File) (pids []int) {
	syscall.ForkLock.RLock() // a child that is being forked has it too, until it runs another program
	defer syscall.ForkLock.RUnlock()
	own, err := f.Stat()
	if err != nil {
		return nil
	}
	open, _ := filepath.Glob("/proc/[0-9]*/fd/*") // the pattern is good
	last := 0
	for _, path := range open {
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
		if err != nil || pid == os.Getpid() || pid == last {
			continue
		}
		if info, err := os.Stat(path); err == nil && os.SameFile(info, own) && locks(path) {
			pids = append(pids, pid)
			last = pid
		}
	}
	return pids
}

// locks reports whether an open file, by its path in /proc, has a lock of its own or an inherited one.
func locks(path string) bool {
	dir, fd := filepath.Split(path)
	info, err := os.ReadFile(filepath.Join(filepath.Dir(filepath.Clean(dir)), "fdinfo", fd))
	return err == nil && bytes.Contains(info, []byte("FLOCK"))
}

// peer is the process at the other end of a unix socket, 0 when it is not known.
func peer(conn net.Conn) (pid int) {
	socket, ok := conn.(*net.UnixConn)
	if !ok {
		return 0
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) { // a socket that is closed has no other end
		if who, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			pid = int(who.Pid)
		}
	})
	return pid
}
