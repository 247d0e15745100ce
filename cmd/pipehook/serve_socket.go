package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"github.com/pipehook/pipehook/core/config"
)

// The doors, which are also the names of their sockets where a service manager passes them.
const (
	hooksDoor = "hooks"
	adminDoor = "admin"
)

// socket is a listener and where it comes from.
type socket struct {
	net.Listener
	asked   string // the address as the configuration has it
	managed bool   // a service manager chose the address and keeps the socket open
}

func listen(address string) (*socket, error) {
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	return &socket{Listener: ln, asked: address}, nil
}

func listenHint(key string) string {
	return "stop what listens there, or choose another address with " + key
}

// Two sockets can't have one port, if their addresses overlap. So a door can't be opened where
// another one stands before that one is left, which would refuse whoever comes in between.
func ownPortText(key string) string {
	return "can't be opened while pipehook itself holds the port, as " + key
}

const ownPortHint = "stop pipehook and start it again: neither a reload nor a hand-over can do this"

func samePort(have net.Addr, address string) bool {
	want, err := net.ResolveTCPAddr("tcp", address)
	tcp, ok := have.(*net.TCPAddr)
	return err == nil && ok && want.Port == tcp.Port
}

// fits reports whether the socket is what a configuration asks for.
func (s *socket) fits(address string) bool {
	return s.managed || s.asked == address || s.at(address)
}

// at reports whether the socket listens at the address, however that is written.
func (s *socket) at(address string) bool {
	want, err := net.ResolveTCPAddr("tcp", address)
	have, ok := s.Addr().(*net.TCPAddr)
	if err != nil || !ok || want.Port != have.Port {
		return false
	}
	return want.IP.Equal(have.IP) || len(want.IP) == 0 && have.IP.IsUnspecified()
}

// private reports whether only this machine can reach the socket.
func (s *socket) private() bool {
	addr, ok := s.Addr().(*net.TCPAddr)
	return !ok || addr.IP.IsLoopback() // else it is a Unix socket, which file modes protect
}

// dup makes a second descriptor of the socket, for another process or a later time: the kernel
// keeps the socket and who waits in its queue as long as there is one.
//
// The listener's own File would switch the shared description to blocking once it is passed on,
// and then an Accept could not be ended any more.
func (s *socket) dup() (*os.File, error) {
	conn, ok := s.Listener.(syscall.Conn)
	if !ok {
		return nil, fmt.Errorf("a listener of type %T can't be passed on", s.Listener)
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	var fd int
	var failed error
	err = raw.Control(func(own uintptr) {
		syscall.ForkLock.RLock()
		defer syscall.ForkLock.RUnlock()
		if fd, failed = syscall.Dup(int(own)); failed == nil {
			syscall.CloseOnExec(fd)
		}
	})
	if err := errors.Join(err, failed); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), s.Addr().String()), nil
}

// passed is a socket that the process was started with, or kept for a later time.
type passed struct {
	Door    string // empty when whoever passed it gave it no name that we know
	Asked   string
	Managed bool

	file *os.File
}

// inheritance is all that was passed. What is taken from it is gone from it.
type inheritance struct {
	sockets []passed
	from    *predecessor // nil when there is none
}

// take is the passed socket for a door, or nil.
func (in *inheritance) take(door, address string) (*socket, error) {
	if in == nil {
		return nil, nil
	}
	for i, p := range in.sockets {
		if p.Door != "" && p.Door != door {
			continue
		}
		ln, err := net.FileListener(p.file)
		if err != nil {
			return nil, fmt.Errorf("the socket that was passed for %s: %w", p.file.Name(), err)
		}
		s := &socket{Listener: ln, asked: p.Asked, managed: p.Managed}
		// One socket alone needs no name: it is there for the hooks.
		alone := door == hooksDoor && len(in.sockets) == 1
		if p.Door == "" && !alone && !s.at(address) || p.Door != "" && !s.fits(address) {
			_ = ln.Close() // a copy of what stays in the list
			continue
		}
		if !s.managed {
			s.asked = address
		}
		in.sockets = append(in.sockets[:i:i], in.sockets[i+1:]...)
		return s, p.file.Close()
	}
	return nil, nil
}

// ownPort is the key of a door whose passed socket holds the port of an address at which this
// process could not listen; empty when there is none.
func (in *inheritance) ownPort(err error, address string) string {
	if in == nil || !errors.Is(err, syscall.EADDRINUSE) {
		return ""
	}
	for _, p := range in.sockets {
		ln, err := net.FileListener(p.file)
		if err != nil {
			continue
		}
		same := samePort(ln.Addr(), address)
		_ = ln.Close() // a copy of what stays in the list
		if same {
			return doorKeys[p.Door]
		}
	}
	return ""
}

// rest closes what nobody took. A service manager's socket that fits nothing is a mistake, since
// whoever connects to it would wait for ever.
func (in *inheritance) rest() error {
	if in == nil {
		return nil
	}
	var errs []error
	for _, p := range in.sockets {
		if p.Managed {
			errs = append(errs, &hinted{
				fmt.Errorf("the socket %s that was passed is for neither server.listen nor admin.listen", p.file.Name()),
				"name it: FileDescriptorName=hooks or FileDescriptorName=admin in its .socket unit",
			})
		}
		errs = append(errs, p.file.Close())
	}
	in.sockets = nil
	return errors.Join(errs...)
}

// openSocket is the socket for a door: one that was passed, else a new one, or nil for no address.
func openSocket(in *inheritance, door, address, key string) (*socket, error) {
	s, err := in.take(door, address)
	if s != nil || err != nil || address == "" {
		return s, err
	}
	if s, err = listen(address); err != nil {
		if own := in.ownPort(err, address); own != "" {
			return nil, &hinted{fmt.Errorf("%s: %s", key, ownPortText(own)), ownPortHint}
		}
		return nil, &hinted{fmt.Errorf("%s: %w", key, err), listenHint(key)}
	}
	return s, nil
}

// checkExposed refuses an admin door without a token that others can reach. The configuration was
// checked for that; a socket that was passed may listen elsewhere.
func checkExposed(s *socket, conf *config.Config) error {
	if s == nil || !s.managed || conf.Admin.Token != "" || s.private() {
		return nil
	}
	return config.Mistakes{conf.Mistake("admin.token", "is required: the socket that was passed for it can be reached from other machines",
		"set a long random one, or have the socket listen on 127.0.0.1")}
}
