package ingress

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/pipehook/pipehook/core"
)

// Serve makes a service that answers on the listener until its context ends, then takes no new
// connection and returns when the requests that run are answered. What has not ended after four
// fifths of grace is cut off, so that a client who sends slowly can't use up the time that others
// need to stop; what is cut off was not acknowledged.
func Serve(ln net.Listener, h http.Handler, log *slog.Logger, grace time.Duration) core.Service {
	server := newServer(h, log)
	return core.ServiceFunc(func(ctx context.Context) error {
		served := make(chan error, 1)
		go func() { served <- server.Serve(ln) }() // ends with Shutdown or Close below
		select {
		case err := <-served:
			return errors.Join(err, server.Close())
		case <-ctx.Done():
		}
		stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace*4/5)
		defer cancel()
		err := server.Shutdown(stopCtx)
		if errors.Is(err, context.DeadlineExceeded) {
			log.Warn("connections that were still open have been cut off", "listen", ln.Addr().String())
			err = server.Close()
		}
		<-served
		return err
	})
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
