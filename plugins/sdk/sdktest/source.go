package sdktest

import (
	"context"
	"errors"
	"time"

	"github.com/pipehook/pipehook/core/source/guest"
	"github.com/pipehook/pipehook/plugins/sdk"
	"github.com/pipehook/pipehook/plugins/sdk/wire"
)

// Name asks the source what event a request is, of which ev has the Header and the Body, and fills it in
// as pipehook does: its Key then is a hash of what the source said, equal for equal ones, or nil. With an
// error the event is unknown.unknown.
func (p *Plugin) Name(ctx context.Context, ev *sdk.Event) error {
	return guest.New(guest.Options{Word: "plugin", Runner: naming{p}, Timeout: within, Headers: p.headers}).Try(ctx, ev)
}

// naming is the plugin as a source.
type naming struct{ plugin *Plugin }

// Name is part of guest.Runner.
func (n naming) Name() string { return n.plugin.host.name }

// Run is part of guest.Runner.
func (n naming) Run(ctx context.Context, ev *sdk.Event, _ time.Duration) (*guest.Said, error) {
	call := n.plugin.host.begin(ev)
	defer n.plugin.host.end(call.ID)
	ctx, timeout, cancel := bounded(ctx)
	defer cancel()
	said, err := n.plugin.client.Name(ctx, timeout, wire.Given{Event: ev, Call: call})
	if fault, ok := errors.AsType[*wire.Rejection](err); ok {
		return nil, &guest.Fault{Msg: fault.Msg, Err: fault}
	}
	return (*guest.Said)(said), err
}
