package ingress

import (
	"context"
	"fmt"
	"net/http"
	"runtime/debug"

	"github.com/pipehook/pipehook/core"
)

// Submit has an event walk the chain of ev.Pipeline as those of requests do, in this process and by the hooks of
// this moment. The maker of the event has set Pipeline, Origin, Body and what of Plan the chain must keep; ID,
// ReceivedAt and Source are filled here, and so is a header that says JSON when there is none. Gates are not asked, for
// there is no stranger. It returns within the time that a request may take, whatever becomes of ctx meanwhile. An event
// without an Origin, or for a pipeline that is not there, is refused with Kind Invalid.
func (h *Handler) Submit(ctx context.Context, ev core.Event) (core.Receipt, error) {
	if ev.Origin == "" {
		return core.Receipt{}, &core.Error{Kind: core.Invalid, Msg: "an event without an origin can't be submitted"}
	}
	now := h.rules.Load()
	hook := now.at(ev.Pipeline)
	if hook == nil {
		return core.Receipt{}, &core.Error{Kind: core.Invalid, Msg: fmt.Sprintf("there is no pipeline %q", ev.Pipeline)}
	}
	if err := ctx.Err(); err != nil {
		return core.Receipt{}, context.Cause(ctx)
	}
	start := h.opts.Now()
	ev.ID, ev.ReceivedAt, ev.Source = newID(), start, hook.Source
	if ev.Header == nil {
		ev.Header = http.Header{"Content-Type": {"application/json"}}
	}
	receipt, err := submit(ctx, now, &ev, hook)
	o := Outcome{Event: &ev, Err: err, Status: http.StatusOK, Code: receiptCode(receipt), Bytes: int64(len(ev.Body))}
	if err != nil {
		kind, _, _ := shown(err)
		o.Status, o.Code = statusOf(kind), kind.String()
	}
	o.Took = h.opts.Now().Sub(start)
	h.report(o)
	h.opts.Observe(o)
	return receipt, err
}

// at is the hook of the pipeline, nil when there is none.
func (r *rules) at(pipeline string) *Hook {
	for _, hook := range r.hooks {
		if hook.Pipeline.Name == pipeline {
			return hook
		}
	}
	return nil
}

func submit(ctx context.Context, now *rules, ev *core.Event, hook *Hook) (receipt core.Receipt, err error) {
	defer func() {
		if p := recover(); p != nil {
			receipt, err = core.Receipt{}, &panicError{value: p, stack: debug.Stack()}
		}
	}()
	if int64(len(ev.Body)) > now.MaxBody {
		return core.Receipt{}, tooLarge(now.MaxBody)
	}
	if err := ev.SetOrigin(ev.Origin); err != nil {
		return core.Receipt{}, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), now.AckWithin)
	defer cancel()
	return hook.Pipeline.Run(ctx, ev)
}
