//go:build unix

package worker

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// socketPair makes two ends of a connection. No process inherits them unasked.
func socketPair() (ours, its *os.File, err error) {
	syscall.ForkLock.RLock()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fds[0])
		unix.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	_ = unix.SetNonblock(fds[0], true) // so that closing it ends a read
	return os.NewFile(uintptr(fds[0]), "script"), os.NewFile(uintptr(fds[1]), "pipehook"), nil
}

// attributes make the child the leader of a process group: what a terminal sends to ours is not for it.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// parent is the socket to who has started us.
func parent() (*os.File, error) {
	if err := unix.SetNonblock(0, true); err != nil {
		return nil, os.NewSyscallError("the socket", err)
	}
	return os.NewFile(0, "pipehook"), nil
}

// ignoreSignals has the process end with its parent and not before: who stops a service tells all of
// its processes.
func ignoreSignals() { signal.Ignore(unix.SIGTERM, unix.SIGINT, unix.SIGHUP) }

// lower sets a limit for good, unless it is that low.
func lower(resource int, to uint64) error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(resource, &limit); err != nil {
		return err
	}
	if uint64(limit.Max) > to {
		set(&limit.Max, to)
	}
	limit.Cur = limit.Max
	return unix.Setrlimit(resource, &limit)
}

// set is for a field that has a sign on some systems.
func set[T int64 | uint64](field *T, to uint64) { *field = T(to) }
