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
// connection and returns when the requests that run are answered, at the latest after grace. The
// time-outs keep slow clients from holding connections; the longest answer must fit WriteTimeout.
func Serve(ln net.Listener, h http.Handler, log *slog.Logger, grace time.Duration) core.Service {
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      15 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	return core.ServiceFunc(func(ctx context.Context) error {
		served := make(chan error, 1)
		go func() { served <- server.Serve(ln) }() // ends with Shutdown or Close below
		select {
		case err := <-served:
			return err
		case <-ctx.Done():
		}
		stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		err := server.Shutdown(stopCtx)
		if err != nil {
			err = errors.Join(err, server.Close())
		}
		<-served
		return err
	})
}
