//go:build unix

package plughost

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/plugins/sdk/wire"
)

// Attachment is a process that somebody else has started, most likely in a debugger. It is connected to
// and configured, but neither started nor ended, and its calls may take a day.
type Attachment struct {
	Address string // of its socket
	PID     int
}

// patience is how long a call to a process in a debugger may take.
const patience = 24 * time.Hour

// ParseReattach reads what plugins say that are started with --debug: where they are, by the names of
// their binaries.
func ParseReattach(text string) (map[string]*Attachment, error) {
	var said map[string]wire.Attachment
	dec := json.NewDecoder(strings.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&said); err != nil {
		return nil, fmt.Errorf("it is not what a plugin says that is started with --debug: %w", err)
	}
	all := map[string]*Attachment{}
	for name, a := range said {
		switch {
		case a.Protocol != wire.Version:
			return nil, versionError(fmt.Sprint(a.Protocol))
		case a.Address == "":
			return nil, fmt.Errorf("%s has no address", name)
		}
		all[name] = &Attachment{Address: a.Address, PID: a.PID}
	}
	return all, nil
}

// attach connects to a process that runs, and gives it its configuration.
func (h *Host) attach(ctx context.Context, spec *Spec, log *slog.Logger) (*instance, error) {
	sockets, desk, remove, err := h.openDesk(spec, log)
	if err != nil {
		return nil, err
	}
	limits := h.opts.Limits
	limits.Answer = patience
	i := &instance{
		process: &process{ended: make(chan struct{}), sockets: sockets}, attached: &link{},
		voice: h.voice(spec, log), limits: limits, desk: desk, remove: remove,
	}
	i.attached.pid.Store(int64(spec.Attach.PID))
	if err := i.attached.connect(ctx, i, spec.Attach.Address); err != nil {
		close(i.ended)
		remove()
		return nil, err
	}
	defer context.AfterFunc(ctx, i.kill)() // which ends whatever is waited for
	if err := i.configure(ctx, spec); err != nil {
		i.end(false)
		return nil, err
	}
	return i, nil
}

// link is a connection to a process that is not ours.
type link struct {
	conn *grpc.ClientConn
	pid  atomic.Int64 // of the process, as far as it is known
}

func (l *link) connect(ctx context.Context, i *instance, address string) error {
	ctx, cancel := context.WithTimeout(ctx, i.limits.Start)
	defer cancel()
	var err error
	i.wire, l.conn, err = wire.Attach(func(ctx context.Context) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, "unix", address)
		if pid := peer(conn); pid != 0 {
			l.pid.Store(int64(pid))
		}
		return conn, err
	})
	if err != nil {
		return err
	}
	l.conn.Connect()
	for s := l.conn.GetState(); s != connectivity.Ready; s = l.conn.GetState() {
		if s == connectivity.TransientFailure || !l.conn.WaitForStateChange(ctx, s) {
			return errors.Join(fmt.Errorf("nobody serves at %s: start the plugin with --debug", address), l.conn.Close())
		}
	}
	i.sever = func() { _ = l.conn.Close() } // what it has not sent nobody waits for
	go func() {                             // ends with the connection
		l.conn.WaitForStateChange(context.Background(), connectivity.Ready)
		_ = l.conn.Close()
		close(i.ended)
	}()
	return nil
}

var errDetached = &core.Error{Kind: core.Unavailable, Msg: "the plugin in the debugger has gone"}

// follow connects to the process whenever it is there, until ctx ends.
func (p *Plugin) follow(ctx context.Context) {
	told := ""
	for ctx.Err() == nil {
		i, err := p.launch(ctx)
		if err == nil {
			p.starting()
			p.log.Warn("attached to a plugin that pipehook did not start: it is not ended, and has all the time it wants", "name", i.manifest.Name, "version", i.manifest.Version, "pid", i.attached.pid.Load())
			told = ""
			err = p.attend(ctx, i, nil)
		}
		if ctx.Err() != nil {
			return
		}
		if text := err.Error(); text != told {
			p.log.Warn("the plugin is waited for", "err", err)
			told = text
		}
		p.pause(ctx, err, p.host.opts.Limits.FirstPause)
	}
}
