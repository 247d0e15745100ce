//go:build unix

package plughost

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/effect"
	"github.com/pipehook/pipehook/plugins/sdk/wire"
)

// Services do what a plugin asks for. They are called from several calls at once, until the context ends
// at the latest: with the call, with the plugin, or when the plugin does not wait any more. Events are
// emitted in calls only; anything else may be asked for at any time. Each call has an Event of its own.
type Services interface {
	KV(ctx context.Context, by effect.Caller, op *effect.KVOp) (*effect.KVResult, error)
	Emit(ctx context.Context, by effect.Caller, e *effect.Emit) (*effect.Emitted, error)
	Measure(ctx context.Context, by effect.Caller, measures []effect.Measure) error
	Pipedrive(ctx context.Context, by effect.Caller, c *effect.APICall) (*effect.APIAnswer, error)
}

// Caller is the name under which the plugin remembers, emits and counts.
func (s *Spec) Caller() string {
	if s.Kind == wire.Listener {
		return s.Name
	}
	return s.Kind + ":" + s.Name
}

// askWithin is how long a plugin is answered that gave no time itself.
const askWithin = 30 * time.Second

// desk is where one process asks. A nil one is that of a process which nobody answers.
type desk struct {
	name     string
	services Services
	address  wire.Address
	log      *slog.Logger

	mu    sync.Mutex
	last  uint64
	calls map[uint64]*visit
}

// visit is a call to the plugin, about which it may ask.
type visit struct {
	event *core.Event
	asked int
	ctx   context.Context // nil until it has asked
	end   context.CancelFunc
}

// openDesk makes the folder for a process's sockets and serves there what it asks for.
func (h *Host) openDesk(spec *Spec, log *slog.Logger) (sockets string, d *desk, remove func(), err error) {
	sockets, unlink, err := h.socketDir()
	if err != nil || h.opts.Services == nil {
		return sockets, nil, unlink, err
	}
	d = &desk{
		name: spec.Caller(), services: h.opts.Services(spec), log: log, calls: map[uint64]*visit{},
		address: wire.Address{Path: filepath.Join(sockets, "host"), Token: rand.Text()},
	}
	at, err := net.Listen("unix", d.address.Path)
	if err != nil {
		unlink()
		return "", nil, nil, err
	}
	stop := wire.ServeHost(at, d.address.Token, d)
	return sockets, d, func() { stop(); unlink() }, nil
}

// where is the address for the process.
func (d *desk) where() wire.Address {
	if d == nil {
		return wire.Address{}
	}
	return d.address
}

// open begins a call to the plugin. Each has an event of its own, so that its effects can be counted.
func (d *desk) open(ev *core.Event, attempt int) wire.Given {
	if d == nil {
		return wire.Given{Event: ev, Call: wire.Call{Attempt: attempt}}
	}
	own := *ev
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last++
	d.calls[d.last] = &visit{event: &own}
	return wire.Given{Event: &own, Call: wire.Call{ID: d.last, Attempt: attempt}}
}

// done ends calls to the plugin, and what they have asked for.
func (d *desk) done(all ...wire.Given) {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, g := range all {
		if v := d.calls[g.Call.ID]; v != nil && v.end != nil {
			v.end()
		}
		delete(d.calls, g.Call.ID)
	}
}

// caller is who asks, for as long as it may wait. Number 0 is nobody's call.
func (d *desk) caller(ctx context.Context, number uint64) (_ context.Context, by effect.Caller, end func(), err error) {
	by.Name = d.name
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	if number == 0 {
		return ctx, by, cancel, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	v := d.calls[number]
	if v == nil {
		cancel()
		return nil, by, nil, &effect.Error{Code: "ENOTAVAILABLE", Msg: "the call that this is asked for has ended"}
	}
	if v.ctx == nil {
		v.ctx, v.end = context.WithCancel(context.Background())
	}
	v.asked++
	by.Event, by.Number = v.event, v.asked
	stop := context.AfterFunc(v.ctx, cancel)
	return ctx, by, func() { stop(); cancel() }, nil
}

// KV is part of wire.HostServer.
func (d *desk) KV(ctx context.Context, call uint64, op *effect.KVOp) (_ *effect.KVResult, err error) {
	defer d.recovered(&err)
	ctx, by, end, err := d.caller(ctx, call)
	if err != nil {
		return nil, err
	}
	defer end()
	r, err := d.services.KV(ctx, by, op)
	return r, late(ctx, err)
}

// Emit is part of wire.HostServer.
func (d *desk) Emit(ctx context.Context, call uint64, e *effect.Emit) (_ *effect.Emitted, err error) {
	defer d.recovered(&err)
	if call == 0 {
		return nil, &effect.Error{Code: "ENOTAVAILABLE", Msg: "an event is emitted while another is handled: give Emit the context that Handle got"}
	}
	ctx, by, end, err := d.caller(ctx, call)
	if err != nil {
		return nil, err
	}
	defer end()
	emitted, err := d.services.Emit(ctx, by, e)
	return emitted, late(ctx, err)
}

// Pipedrive is part of wire.HostServer.
func (d *desk) Pipedrive(ctx context.Context, call uint64, c *effect.APICall) (_ *effect.APIAnswer, err error) {
	defer d.recovered(&err)
	if call == 0 {
		return nil, &effect.Error{Code: "ENOTAVAILABLE", Msg: "Pipedrive is asked while an event is handled: give the call the context that it got"}
	}
	ctx, by, end, err := d.caller(ctx, call)
	if err != nil {
		return nil, err
	}
	defer end()
	answer, err := d.services.Pipedrive(ctx, by, c)
	return answer, late(ctx, err)
}

// Measure is part of wire.HostServer.
func (d *desk) Measure(ctx context.Context, measures []effect.Measure) (err error) {
	defer d.recovered(&err)
	ctx, by, end, err := d.caller(ctx, 0)
	if err != nil {
		return err
	}
	defer end()
	return late(ctx, d.services.Measure(ctx, by, measures))
}

// recovered makes an error of a panic, when it is deferred: a fault in what a plugin is answered with ends neither
// pipehook nor the plugin, which learns only that there was one.
func (d *desk) recovered(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("pipehook panicked: %v\n%s", p, debug.Stack())
		d.log.Error("a question of the plugin was not answered", "err", *err)
	}
}

// late is the error of what was broken off.
func late(ctx context.Context, err error) error {
	switch {
	case err == nil || ctx.Err() == nil:
		return err
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return &effect.Error{Code: "ETIMEDOUT", Msg: "pipehook was not done in time"}
	default:
		return &effect.Error{Code: "ENOTAVAILABLE", Msg: "the call that this was asked for has ended"}
	}
}
