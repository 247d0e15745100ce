package ingress

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pipehook/pipehook/core"
)

// Leave says how a Server stops. Both times begin with the stop.
//
// A connection that is kept open belongs to both sides: when one closes it while the other is about
// to send, a request is lost. So for Linger everything is served as before, new connections too,
// but every answer tells the client that its connection ends, and a connection that has been left
// alone for half of Linger is closed: while answers are quick, clients do not reach for those. Then no
// connection is taken any more, and what has not ended at Cut is cut off, so that a client who
// sends slowly can't use up the time that others need to stop. What is cut off was not acknowledged.
type Leave struct{ Linger, Cut time.Duration }

// linger is twice as long as a sender that is busy leaves a connection alone, and short enough for
// somebody who waits for the stop.
const linger = 600 * time.Millisecond

// Leaving is how to stop within a grace period that others must stop in as well.
func Leaving(grace time.Duration) Leave {
	return Leave{Linger: min(linger, grace/10), Cut: grace * 4 / 5}
}

// Serve makes a service that answers on the listener until its context ends, and then leaves.
func Serve(ln net.Listener, h http.Handler, log *slog.Logger, grace time.Duration) core.Service {
	return core.ServiceFunc(func(ctx context.Context) error {
		return NewServer(ln, h, log).Run(ctx, func() Leave { return Leaving(grace) })
	})
}

// Server answers on one listener, which it owns.
type Server struct {
	ln      net.Listener
	log     *slog.Logger
	http    *http.Server
	leaving atomic.Bool

	mu    sync.Mutex
	conns map[net.Conn]standing
	empty chan struct{} // holds a token when the last connection has ended
}

// standing is what a connection is at, and since when.
type standing struct {
	state http.ConnState
	since time.Time
}

// NewServer makes a server that does not answer yet.
func NewServer(ln net.Listener, h http.Handler, log *slog.Logger) *Server {
	s := &Server{ln: ln, log: log, conns: map[net.Conn]standing{}, empty: make(chan struct{}, 1)}
	s.http = newServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.leaving.Load() {
			w.Header().Set("Connection", "close")
		}
		h.ServeHTTP(w, r)
	}), log)
	s.http.ConnState = s.track
	return s
}

// Run answers until ctx ends, and then leaves in the way that it asks for at that moment. It returns
// when no connection is open any more, or at once with the error of a listener that breaks.
func (s *Server) Run(ctx context.Context, leave func() Leave) error {
	served := make(chan error, 1)
	go func() { served <- s.http.Serve(s.ln) }() // ends with its listener
	select {
	case err := <-served:
		_ = s.http.Close() // says no more than that the listener is gone
		return err
	case <-ctx.Done():
	}
	how := leave()
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), how.Cut)
	defer cancel()
	s.leaving.Store(true)
	began := time.Now()
	for open := true; open && stop.Err() == nil && time.Since(began) < how.Linger; open = !s.wait(stop, how.Linger/20) {
		s.close(http.StateIdle, how.Linger/2)
	}
	err := s.ln.Close()
	<-served // with it every connection that was taken is known
	began = time.Now()
	for open := true; open && stop.Err() == nil; open = !s.wait(stop, how.Linger/20) {
		s.close(http.StateIdle, 0)
		if time.Since(began) >= how.Linger {
			s.close(http.StateNew, 0) // some clients open connections in advance
		}
	}
	if stop.Err() != nil {
		s.log.Warn("connections that were still open have been cut off", "listen", s.ln.Addr().String())
	}
	_ = s.http.Close() // the listener is closed, and of connections there is nothing to learn
	return err
}

// wait waits until no connection is open, which it reports, or the time is over.
func (s *Server) wait(ctx context.Context, most time.Duration) bool {
	timer := time.NewTimer(most)
	defer timer.Stop()
	for {
		s.mu.Lock()
		n := len(s.conns)
		s.mu.Unlock()
		if n == 0 {
			return true
		}
		select {
		case <-s.empty:
		case <-timer.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// close closes the connections that have been in the state for so long. It spares those on which
// something has come that nobody has read yet: closing one would cost its client that request.
func (s *Server) close(in http.ConnState, least time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn, at := range s.conns {
		if at.state == in && time.Since(at.since) >= least && !unread(conn) {
			_ = conn.Close() // its end is what is wanted
		}
	}
}

// unread reports whether the system holds bytes of the connection, as far as it says so.
func unread(conn net.Conn) (some bool) {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return false // it is closed
	}
	_ = raw.Control(func(fd uintptr) { // it fails on a closed one
		var one [1]byte
		n, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		some = err == nil && n > 0
	})
	return some
}

func (s *Server) track(conn net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if state != http.StateClosed && state != http.StateHijacked {
		s.conns[conn] = standing{state, time.Now()}
		return
	}
	delete(s.conns, conn)
	if len(s.conns) == 0 {
		select {
		case s.empty <- struct{}{}:
		default:
		}
	}
}

// newServer keeps slow clients from holding connections. The longest time in which a request may
// be answered must fit WriteTimeout.
func newServer(h http.Handler, log *slog.Logger) *http.Server {
	http1 := new(http.Protocols)
	http1.SetHTTP1(true)
	return &http.Server{
		Handler:                      h,
		Protocols:                    http1,
		DisableGeneralOptionsHandler: true, // OPTIONS * is a path like another
		ReadHeaderTimeout:            5 * time.Second,
		ReadTimeout:                  10 * time.Second,
		WriteTimeout:                 15 * time.Second,
		IdleTimeout:                  60 * time.Second,
		MaxHeaderBytes:               16 << 10,
		// Without TLS it tells of failing accepts and of panics, not of what strangers send.
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelError),
	}
}
