package sdktest

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/effect"
	"github.com/pipehook/pipehook/core/fixture"
	"github.com/pipehook/pipehook/core/source/derived"
	"github.com/pipehook/pipehook/plugins/sdk"
	"github.com/pipehook/pipehook/plugins/sdk/wire"
)

// host is a pipehook in memory, for one plugin.
type host struct {
	t    testing.TB
	kind string
	name string
	*memory

	mu     sync.Mutex
	calls  map[uint64]*core.Event // that run
	latest uint64
	counts map[string]float64
	gauges map[string]float64
	asked  []PipedriveCall

	pipedrive func(c PipedriveCall) (any, error)
}

// memory is what outlives a plugin.
type memory struct {
	kv *fixture.Overlay

	mu       sync.Mutex
	later    time.Duration // how far the clock was put forward
	attempts map[string]int
	emitted  []sdk.Event
}

func newHost(t testing.TB, kind, name string, after *Plugin) *host {
	h := &host{t: t, kind: kind, name: name, calls: map[uint64]*core.Event{}, counts: map[string]float64{}, gauges: map[string]float64{}}
	if after != nil {
		h.memory = after.host.memory
		return h
	}
	h.memory = &memory{attempts: map[string]int{}}
	h.kv = &fixture.Overlay{Now: h.now}
	return h
}

func (m *memory) now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Now().Add(m.later)
}

// serve answers at a socket of its own, as pipehook does.
func (h *host) serve() (at wire.Address, stop func(), err error) {
	dir, err := os.MkdirTemp("", "pipehook-") // a test's own folder may be too deep for a socket
	if err != nil {
		return at, nil, err
	}
	at = wire.Address{Path: filepath.Join(dir, "host"), Token: rand.Text()}
	socket, err := net.Listen("unix", at.Path)
	if err != nil {
		return at, nil, fmt.Errorf("the host's socket: %w", err)
	}
	stopServing := wire.ServeHost(socket, at.Token, h)
	return at, func() {
		stopServing()
		_ = os.RemoveAll(dir)
	}, nil
}

// begin makes a call for the event.
func (h *host) begin(ev *core.Event) wire.Call {
	h.memory.mu.Lock()
	h.attempts[ev.ID]++
	attempt := h.attempts[ev.ID]
	h.memory.mu.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.latest++
	h.calls[h.latest] = ev
	return wire.Call{ID: h.latest, Attempt: attempt}
}

func (h *host) end(call uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.calls, call)
}

// KV is part of wire.HostServer.
func (h *host) KV(ctx context.Context, call uint64, op *effect.KVOp) (*effect.KVResult, error) {
	h.mu.Lock()
	ended := call != 0 && h.calls[call] == nil
	h.mu.Unlock()
	if ended {
		return nil, &effect.Error{Code: "ENOTAVAILABLE", Msg: "the call that this is asked for has ended"}
	}
	return h.kv.Do(ctx, h.name, op)
}

// Emit is part of wire.HostServer. Events are made as pipehook makes them.
func (h *host) Emit(_ context.Context, call uint64, e *effect.Emit) (*effect.Emitted, error) {
	h.mu.Lock()
	cause := h.calls[call]
	h.mu.Unlock()
	switch {
	case h.kind != wire.Listener:
		return nil, effect.OnlyListenersEmit()
	case cause == nil:
		return nil, &effect.Error{Code: "ENOTAVAILABLE", Msg: "only a call that runs can emit: give Emit the context of the call"}
	}
	ev, err := derived.New(cause, h.name, derived.Derivation{
		Action: e.Action, Object: e.Object, ObjectID: e.ObjectID, Current: e.Current, Previous: e.Previous, Meta: e.Meta, Key: e.Key, Ordinal: e.Ordinal,
	}, h.now())
	if err != nil {
		return nil, effectError(err)
	}
	h.memory.mu.Lock()
	defer h.memory.mu.Unlock()
	for i := range h.emitted {
		if bytes.Equal(h.emitted[i].Plan.Key, ev.Plan.Key) {
			return &effect.Emitted{ID: h.emitted[i].ID, Duplicate: true}, nil
		}
	}
	h.emitted = append(h.emitted, *ev)
	return &effect.Emitted{ID: ev.ID}, nil
}

func effectError(err error) error {
	switch core.KindOf(err) {
	case core.Invalid:
		return &effect.Error{Code: "EINVAL", Msg: err.Error()}
	case core.TooLarge:
		return &effect.Error{Code: "ETOOLARGE", Msg: err.Error()}
	default:
		return &effect.Error{Code: "ELOOP", Msg: err.Error()}
	}
}

var measureName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)

// maxMeasures is how many names one plugin may measure something under.
const maxMeasures = 64

// Measure is part of wire.HostServer. What pipehook would not take fails the test: a plugin is not told.
func (h *host) Measure(_ context.Context, measures []effect.Measure) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, m := range measures {
		into := h.counts
		if m.Gauge {
			into = h.gauges
		}
		_, known := into[m.Name]
		switch {
		case !measureName.MatchString(m.Name):
			h.t.Errorf("%q is no name for a metric: take a-z, 0-9 and _, beginning with a letter, at most 64", m.Name)
		case math.IsNaN(m.Value) || math.IsInf(m.Value, 0):
			h.t.Errorf("%s is not a number", m.Name)
		case !m.Gauge && m.Value < 0:
			h.t.Errorf("%s is a counter, which only grows: use a gauge for what falls", m.Name)
		case !known && len(h.counts)+len(h.gauges) == maxMeasures:
			h.t.Errorf("%s is one name too many: a plugin has %d", m.Name, maxMeasures)
		case m.Gauge:
			into[m.Name] = m.Value
		default:
			into[m.Name] += m.Value
		}
	}
	return nil
}

// Host is the plugin's own: what a test does with it is done as by the plugin, so it can put something
// into the kv and look what is there.
func (p *Plugin) Host() *sdk.Host { return p.server.Host() }

// Emitted are the events that the listener has emitted, in their order; of several that are the same
// the first.
func (p *Plugin) Emitted() []sdk.Event {
	p.host.memory.mu.Lock()
	defer p.host.memory.mu.Unlock()
	return append([]sdk.Event(nil), p.host.emitted...)
}

// Count is the sum of what the plugin has counted under the name.
func (p *Plugin) Count(name string) float64 {
	p.server.Flush(context.Background())
	p.host.mu.Lock()
	defer p.host.mu.Unlock()
	return p.host.counts[name]
}

// Gauge is what the plugin has set last under the name, and whether it has.
func (p *Plugin) Gauge(name string) (value float64, ok bool) {
	p.server.Flush(context.Background())
	p.host.mu.Lock()
	defer p.host.mu.Unlock()
	value, ok = p.host.gauges[name]
	return value, ok
}

// Advance puts the clock of the kv forward, for what expires.
func (p *Plugin) Advance(d time.Duration) {
	p.host.memory.mu.Lock()
	defer p.host.memory.mu.Unlock()
	p.host.later += d
}
