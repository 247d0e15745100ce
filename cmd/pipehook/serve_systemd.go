package main

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// firstPassed is the first descriptor after standard input, output and error.
const firstPassed = 3

// lookup finds a variable; the last one of a name counts.
func lookup(environ []string, name string) string {
	value := ""
	for _, pair := range environ {
		if v, ok := strings.CutPrefix(pair, name+"="); ok {
			value = v
		}
	}
	return value
}

// activated are the sockets that a service manager passed, by the protocol of sd_listen_fds(3).
func activated(environ []string) ([]passed, error) {
	if lookup(environ, "LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return nil, nil // they were for another process
	}
	n, err := strconv.ParseUint(lookup(environ, "LISTEN_FDS"), 10, 10)
	if err != nil {
		return nil, fmt.Errorf("LISTEN_FDS: %w", err)
	}
	names := strings.Split(lookup(environ, "LISTEN_FDNAMES"), ":")
	list := make([]passed, n)
	for i := range list {
		fd := firstPassed + i
		syscall.CloseOnExec(fd)
		address := fmt.Sprintf("descriptor %d", fd)
		if at, err := syscall.Getsockname(fd); err == nil {
			address = sockaddrText(at)
		}
		list[i] = passed{Managed: true, file: os.NewFile(uintptr(fd), address)}
		if i < len(names) && (names[i] == hooksDoor || names[i] == adminDoor) {
			list[i].Door = names[i]
		}
	}
	return list, nil
}

func sockaddrText(at syscall.Sockaddr) string {
	switch at := at.(type) {
	case *syscall.SockaddrInet4:
		return (&net.TCPAddr{IP: at.Addr[:], Port: at.Port}).String()
	case *syscall.SockaddrInet6:
		return (&net.TCPAddr{IP: at.Addr[:], Port: at.Port}).String()
	case *syscall.SockaddrUnix:
		return at.Name
	}
	return "of an unknown kind"
}

// manager is the service manager that wants to know how the process is, by sd_notify(3); the zero
// value is none.
type manager struct{ socket string }

func managerOf(environ []string) manager { return manager{lookup(environ, "NOTIFY_SOCKET")} }

// The states that a manager can be told.
const (
	stateReady    = "READY=1"
	stateStopping = "STOPPING=1"
)

// stateReloading must carry the time, so that the manager can tell this reload from the last.
func stateReloading() string {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return "RELOADING=1"
	}
	return fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", now.Nano()/1000)
}

// tell sends a state. That the manager does not hear it must not stop the service, so nothing is
// returned.
func (m manager) tell(state string) {
	if m.socket == "" {
		return
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: m.socket, Net: "unixgram"})
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	_, _ = conn.Write([]byte(state))
}
