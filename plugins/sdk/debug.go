package sdk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/plugins/sdk/wire"
)

// toDebug reports whether the plugin was started by hand for a pipehook to find it.
func toDebug(args []string) bool {
	return slices.Contains(args, "--debug") || slices.Contains(args, "-debug")
}

// debug serves in this process, which may be in a debugger, until Ctrl-C. Each place of pipeline.toml that
// names the binary connects on its own and is configured on its own, so that Start and Stop come once for
// each; what they share is the memory of the process, and so Config, which the last of them has filled.
func debug(p Plugin) error {
	at, err := debugSocket(p.Name)
	if err != nil {
		return err
	}
	attachment := map[string]wire.Attachment{p.Name: {Protocol: wire.Version, Address: at.Addr().String(), PID: os.Getpid()}}
	text, err := json.Marshal(attachment)
	if err != nil {
		return errors.Join(err, at.Close())
	}
	fmt.Fprintf(os.Stderr, "%s %s waits for pipehook, as process %d, until Ctrl-C. Where pipeline.toml has plugin = %q, this connects it:\n\nPIPEHOOK_REATTACH='%s' pipehook dev\n\n",
		p.Name, p.Version, os.Getpid(), p.Name, strings.ReplaceAll(string(text), "'", `'\''`))
	stop, again := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer again()
	defer context.AfterFunc(stop, again)() // the second one ends the process at once
	all := newShared(p)
	return wire.ServeEach(stop, at,
		func() wire.Server { return &debugged{NewServer(p), all} },
		func(s wire.Server) { s.(*debugged).Stop() })
}

// shared is what the Servers of one process share.
type shared struct {
	defaults []byte       // of the configuration
	turn     sync.Mutex   // to start or to stop
	config   sync.RWMutex // held by each call, so that none reads a configuration while another place fills it
}

func newShared(p Plugin) *shared {
	defaults, _ := json.Marshal(p.Config) // one that can't be written as JSON keeps what it was given
	return &shared{defaults: defaults}
}

// debugged is a Server that is not the only one of its process.
type debugged struct {
	*Server
	*shared
}

// Stop stops what was started.
func (d *debugged) Stop() {
	d.turn.Lock()
	defer d.turn.Unlock()
	d.Server.Stop()
}

// Configure is part of wire.Server.
func (d *debugged) Configure(ctx context.Context, setup wire.Setup) (wire.Manifest, error) {
	d.turn.Lock()
	defer d.turn.Unlock()
	d.config.Lock()
	defer d.config.Unlock()
	if d.defaults != nil && d.plugin.Config != nil {
		_ = json.Unmarshal(d.defaults, d.plugin.Config) // what it was made from
	}
	m, err := d.Server.Configure(ctx, setup)
	if err == nil {
		d.host.log.Info("pipehook is attached", "kind", setup.Kind, "name", setup.Name)
	}
	return m, err
}

// Handle is part of wire.Server.
func (d *debugged) Handle(ctx context.Context, c wire.Call, ev core.Event) error {
	d.config.RLock()
	defer d.config.RUnlock()
	return d.Server.Handle(ctx, c, ev)
}

// Process is part of wire.Server.
func (d *debugged) Process(ctx context.Context, c wire.Call, ev *core.Event) (core.Verdict, error) {
	d.config.RLock()
	defer d.config.RUnlock()
	return d.Server.Process(ctx, c, ev)
}

// Name is part of wire.Server.
func (d *debugged) Name(ctx context.Context, c wire.Call, ev *core.Event) error {
	d.config.RLock()
	defer d.config.RUnlock()
	return d.Server.Name(ctx, c, ev)
}

// debugSocket listens in a folder of the user's own, at a place that is the same the next time: so pipehook
// finds the process again when it was built and started anew.
func debugSocket(name string) (net.Listener, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, fmt.Errorf("there is no place for a socket: %w", err)
	}
	dir := filepath.Join(cache, "pipehook", "debug")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, name)
	if conn, err := net.Dial("unix", path); err == nil {
		return nil, errors.Join(fmt.Errorf("another process serves at %s: end it first", path), conn.Close())
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return net.Listen("unix", path)
}
