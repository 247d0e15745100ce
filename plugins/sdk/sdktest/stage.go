package sdktest

import (
	"context"
	"errors"
	"time"

	"github.com/pipehook/pipehook/plugins/sdk"
	"github.com/pipehook/pipehook/plugins/sdk/wire"
	"github.com/pipehook/pipehook/stages/plugin"
)

// Process gives an event to the stage, and changes it as the stage says. What pipehook would not take of
// it is a failure here too.
func (p *Plugin) Process(ctx context.Context, ev *sdk.Event) (sdk.Verdict, error) {
	r := plugin.Try(ctx, p.host.name, judging{p}, within, ev)
	switch {
	case r.Err != nil:
		return sdk.Continue, r.Err
	case r.Reject != nil:
		return sdk.Continue, &wire.Rejection{Status: r.Reject.Status, Msg: r.Reject.Msg, RetryAfter: r.Reject.RetryAfter}
	case r.Drop != nil:
		ev.Remark(*r.Drop)
		return sdk.Drop, nil
	}
	return sdk.Continue, nil
}

// judging is the plugin as a stage.
type judging struct{ plugin *Plugin }

// Name is part of plugin.Runner.
func (j judging) Name() string { return j.plugin.host.name }

// Run is part of plugin.Runner.
func (j judging) Run(ctx context.Context, ev *sdk.Event, _ time.Duration) plugin.Result {
	call := j.plugin.host.begin(ev)
	defer j.plugin.host.end(call.ID)
	ctx, timeout, cancel := bounded(ctx)
	defer cancel()
	said, err := j.plugin.client.Process(ctx, timeout, wire.Given{Event: ev, Call: call})
	if r, ok := errors.AsType[*wire.Rejection](err); ok {
		return plugin.Result{Reject: &plugin.Reject{Status: r.Status, Msg: r.Msg, RetryAfter: r.RetryAfter}}
	}
	if err == nil && said.Dropped {
		return plugin.Result{Drop: &said.Reason}
	}
	return plugin.Result{Err: err, Amendment: said.Amendment}
}
