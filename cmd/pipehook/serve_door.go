package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/pipehook/pipehook/core/ingress"
)

// door serves one handler on a socket that may be replaced meanwhile. It is a core.Service.
type door struct {
	log   *slog.Logger
	leave func() ingress.Leave // how to leave a socket, asked at that moment
	serve atomic.Pointer[http.Handler]

	broken  chan error // from the first server whose listener failed
	servers sync.WaitGroup

	mu      sync.Mutex
	at      *socket            // nil while the door is shut
	running context.Context    // of Run; nil before and after it
	end     context.CancelFunc // of the server at at
}

func newDoor(at *socket, log *slog.Logger, leave func() ingress.Leave) *door {
	return &door{at: at, log: log, leave: leave, broken: make(chan error, 1)}
}

// handle replaces the handler. Requests that run go on with the one they began with.
func (d *door) handle(h http.Handler) { d.serve.Store(&h) }

func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) { (*d.serve.Load()).ServeHTTP(w, r) }

func (d *door) socket() *socket {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.at
}

// address is where the door can be reached; empty when it is shut.
func (d *door) address() string {
	if at := d.socket(); at != nil {
		return at.Addr().String()
	}
	return ""
}

// Run serves until ctx ends or a listener breaks, and returns when all sockets have been left.
func (d *door) Run(ctx context.Context) error {
	ctx, end := context.WithCancel(ctx)
	defer end()
	d.mu.Lock()
	d.running = ctx
	d.open()
	d.mu.Unlock()
	var err error
	select {
	case <-ctx.Done():
	case err = <-d.broken:
	}
	d.mu.Lock()
	d.running = nil
	d.mu.Unlock()
	end()
	d.servers.Wait()
	return err
}

// open starts a server on the socket. The lock is held.
func (d *door) open() {
	if d.at == nil {
		return
	}
	var ctx context.Context
	ctx, d.end = context.WithCancel(d.running)
	server := ingress.NewServer(d.at, d, d.log)
	d.servers.Go(func() { // ends with ctx, which ends with Run
		if err := server.Run(ctx, d.leave); err != nil {
			select {
			case d.broken <- err:
			default: // one is enough to end the process
			}
		}
	})
}

// move opens the door at another socket, or shuts it for nil, and leaves the one before in peace.
func (d *door) move(to *socket) {
	d.mu.Lock()
	defer d.mu.Unlock()
	old := d.at
	d.at = to
	if d.running == nil {
		if old != nil {
			_ = old.Close() // nobody was served there
		}
		return
	}
	if d.end != nil {
		d.end()
		d.end = nil
	}
	d.open()
}

// close closes the socket of a door that does not run.
func (d *door) close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.at == nil {
		return nil
	}
	if err := d.at.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}
