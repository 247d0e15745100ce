package sdk

import (
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"

	"github.com/pipehook/pipehook/plugins/sdk/wire"
)

// Serve serves the plugin until pipehook ends it, and returns then: what stands behind it in main
// has two seconds to close files and the like. Until then slog's default logger, and the log package
// with it, write to pipehook's log under the plugin's name. Nothing may be printed before Serve.
//
// A plugin that is run by hand says what it is and ends. With --debug it says how pipehook finds it, and
// serves until Ctrl-C, in a debugger for instance: pipehook then neither ends it nor has it hurry.
func Serve(p Plugin) {
	if os.Getenv(wire.Handshake.MagicCookieKey) == "" && toDebug(os.Args[1:]) {
		if err := debug(p); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %s\n", p.Name, err)
			os.Exit(1)
		}
		return
	}
	if os.Getenv(wire.Handshake.MagicCookieKey) != wire.Handshake.MagicCookieValue {
		fmt.Fprintf(os.Stderr, "%s %s is a plugin of pipehook, which starts it itself. Name it in pipeline.toml:\n\n[[listener]]\nname = %q\nplugin = %q\n", p.Name, p.Version, p.Name, p.Name)
		os.Exit(2)
	}
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})))
	// A service manager may tell all processes to end. The host then still waits for answers.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGTERM)
	go watchHost(os.Getppid())
	s := NewServer(p)
	wire.Serve(s, goplugin.ServeConfig{
		Logger: hclog.New(&hclog.LoggerOptions{Level: hclog.Error, Output: os.Stderr, DisableTime: true}),
	})
	s.Stop()
}

// watchHost ends the process soon after the host's, where the system does not do so itself.
func watchHost(host int) {
	for range time.Tick(time.Second) {
		if os.Getppid() != host {
			os.Exit(1)
		}
	}
}
