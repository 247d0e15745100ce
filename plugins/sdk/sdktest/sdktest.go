// Package sdktest runs a plugin in its author's test, over a real connection but in one process, so
// that a debugger and the race detector see all of it. Around the plugin is a pipehook in memory: it
// remembers, and notes what was emitted and measured. It does not know what the plugin does.
package sdktest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/plugins/sdk"
	"github.com/pipehook/pipehook/plugins/sdk/wire"
)

// Options are what pipeline.toml would say where it names the plugin.
type Options struct {
	Kind    string // "listener", "stage" or "source"; may be empty when the plugin is one of them only
	Name    string // of the listener, stage or source; empty for the plugin's own
	Config  any    // is written as JSON: a map, or a struct with json tags
	Secrets map[string]string
	Headers []string // that a source sees although they may hold a credential

	// Pipedrive answers what the plugin asks of Pipedrive's API: with data that is written as JSON, a
	// PipedrivePage, or an *sdk.Error. It is called from several goroutines at once.
	Pipedrive func(c PipedriveCall) (any, error)

	// After is a plugin that ran before in the same place, of which the new one finds what it remembered
	// and emitted.
	After *Plugin
}

// Plugin is a plugin that runs. Its calls have ten seconds, or as long as their context says. It may be
// used from several goroutines at once.
type Plugin struct {
	client  *wire.Client
	server  *sdk.Server
	host    *host
	headers []string
	stop    func()
}

const within = 10 * time.Second

// Start starts the plugin, and fails the test when that fails. It runs until the end of the test.
func Start(t testing.TB, p sdk.Plugin, o Options) *Plugin {
	t.Helper()
	started, err := TryStart(t, p, o)
	if err != nil {
		t.Fatalf("%s does not start: %v", p.Name, err)
	}
	return started
}

// TryStart is Start, and returns what the plugin finds wrong: mistakes of the configuration, each with its
// key, or what its Start has returned.
func TryStart(t testing.TB, p sdk.Plugin, o Options) (*Plugin, error) {
	t.Helper()
	setup := wire.Setup{Kind: cmp.Or(o.Kind, onlyKind(p)), Name: cmp.Or(o.Name, p.Name), Secrets: o.Secrets}
	if setup.Kind == "" {
		t.Fatalf("%s does several things: say in Options.Kind what it is started as", p.Name)
	}
	var err error
	if setup.Config, err = json.Marshal(o.Config); err != nil {
		t.Fatalf("the configuration can't be written as JSON: %v", err)
	}
	h := newHost(t, setup.Kind, setup.Name, o.After)
	h.pipedrive = o.Pipedrive
	var closeHost func()
	if setup.Host, closeHost, err = h.serve(); err != nil {
		t.Fatal(err)
	}
	started := &Plugin{server: sdk.NewServer(p), host: h, headers: o.Headers}
	client, stop, err := wire.Loop(started.server)
	if err != nil {
		t.Fatal(err)
	}
	started.client, started.stop = client, sync.OnceFunc(func() {
		stop()
		started.server.Stop()
		closeHost()
	})
	t.Cleanup(started.Stop)
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	if _, err := client.Configure(ctx, setup); err != nil {
		return nil, err
	}
	return started, nil
}

func onlyKind(p sdk.Plugin) (kind string) {
	for _, one := range []struct {
		kind string
		does bool
	}{{wire.Listener, p.Listener != nil}, {wire.Stage, p.Stage != nil}, {wire.Source, p.Source != nil}} {
		if one.does && kind != "" {
			return ""
		} else if one.does {
			kind = one.kind
		}
	}
	return cmp.Or(kind, wire.Listener) // of one that is nothing, the plugin's own end says so
}

// Stop ends the plugin as pipehook does, which calls its Stop. It may be called before the test ends.
func (p *Plugin) Stop() { p.stop() }

// Handle gives an event to the listener. An event that it had before, by its ID, is another attempt.
func (p *Plugin) Handle(ctx context.Context, ev sdk.Event) error {
	return p.HandleAll(ctx, []sdk.Event{ev})[0]
}

// HandleAll gives several events to the listener at once, which takes them one after another, and
// returns what came of each.
func (p *Plugin) HandleAll(ctx context.Context, events []sdk.Event) []error {
	errs := make([]error, len(events))
	given := make([]wire.Given, len(events))
	for i := range events {
		given[i] = wire.Given{Event: &events[i], Call: p.host.begin(&events[i])}
		defer p.host.end(given[i].Call.ID)
	}
	ctx, timeout, cancel := bounded(ctx)
	defer cancel()
	told := 0
	err := p.client.Handle(ctx, timeout, given, func(i int, r wire.Result) { errs[i], told = r.Err, i+1 })
	for i := told; i < len(errs) && err != nil; i++ {
		errs[i] = err
	}
	return errs
}

// bounded is the time that a call has.
func bounded(ctx context.Context) (context.Context, time.Duration, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, within)
	deadline, _ := ctx.Deadline()
	return ctx, time.Until(deadline), cancel
}

// Status is what the sender of a request is answered for a stage's error that was made by sdk.Reject; ok is
// false for any other error, which is a failure of the stage or the source.
func Status(err error) (status int, ok bool) {
	r, ok := errors.AsType[*wire.Rejection](err)
	if !ok {
		return 0, false
	}
	return r.Status, true
}

// IsPermanent reports whether a listener's error says that another attempt would not help.
func IsPermanent(err error) bool { return core.KindOf(err) == core.Permanent }
