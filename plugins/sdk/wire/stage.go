package wire

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/plugins/sdk/wire/pluginv1"
)

// Rejection is the error of a stage or a source that finds fault with the request. Status is what a
// stage has the sender answered, one of 400, 401, 403, 409, 413, 415, 422, 429 and 503.
type Rejection struct {
	Status     int
	Msg        string // for the sender
	RetryAfter time.Duration
}

func (r *Rejection) Error() string { return r.Msg }

// Judgement is what a stage says of an event.
type Judgement struct {
	Dropped   bool
	Reason    string // why it was dropped
	Amendment core.Amendment
}

// Process hands an event to the stage. The error is a Rejection, or says that the stage failed; one of
// the call is a CallError.
func (c *Client) Process(ctx context.Context, timeout time.Duration, g Given) (Judgement, error) {
	answer, err := c.stage.Process(ctx, &pluginv1.ProcessRequest{Event: sent(g.Event), TimeoutMs: millis(timeout), Call: g.Call.ID}, answers(g.Event)...)
	if err != nil {
		return Judgement{}, saidOr(err)
	}
	return judged(answer)
}

func judged(answer *pluginv1.ProcessResponse) (Judgement, error) {
	switch answer.GetVerdict() {
	case pluginv1.Verdict_VERDICT_CONTINUE:
		return Judgement{Amendment: amendmentOf(answer.GetAmendment())}, nil
	case pluginv1.Verdict_VERDICT_DROPPED:
		return Judgement{Dropped: true, Reason: short(answer.GetMessage())}, nil
	case pluginv1.Verdict_VERDICT_REJECTED:
		return Judgement{}, &Rejection{Status: int(answer.GetStatus()), Msg: short(answer.GetMessage()), RetryAfter: wait(answer.GetRetryAfterMs())}
	}
	return Judgement{}, verdictError(answer.GetVerdict(), answer.GetMessage(), answer.GetRetryAfterMs())
}

// Name hands a request to the source and returns an event with what it says of it and nothing else. The
// error is a Rejection when the request is not as its sender documents, or says that the source failed;
// one of the call is a CallError.
func (c *Client) Name(ctx context.Context, timeout time.Duration, g Given) (*core.Event, error) {
	answer, err := c.source.Name(ctx, &pluginv1.NameRequest{Event: sent(g.Event), TimeoutMs: millis(timeout), Call: g.Call.ID}, answers(g.Event)...)
	if err != nil {
		return nil, saidOr(err)
	}
	return naming(answer)
}

func naming(answer *pluginv1.NameResponse) (*core.Event, error) {
	switch answer.GetVerdict() {
	case pluginv1.Verdict_VERDICT_CONTINUE:
		return named(answer.GetEvent()), nil
	case pluginv1.Verdict_VERDICT_REJECTED:
		return nil, &Rejection{Msg: short(answer.GetMessage())}
	}
	return nil, verdictError(answer.GetVerdict(), answer.GetMessage(), 0)
}

// saidOr is what the plugin means by an error, or that of the call.
func saidOr(err error) error {
	if own := ownError(err); own != nil {
		return own
	}
	return &CallError{callError(err)}
}

// CallError is the error of a call that failed, where the plugin itself has said nothing.
type CallError struct{ Err error }

func (e *CallError) Error() string { return e.Err.Error() }
func (e *CallError) Unwrap() error { return e.Err }

func verdictError(v pluginv1.Verdict, msg string, retryAfter int64) error {
	e := &core.Error{Kind: core.Failed, Msg: short(msg), RetryAfter: wait(retryAfter)}
	if v != pluginv1.Verdict_VERDICT_FAILED {
		e.Err = errAnswer
	}
	if e.Msg == "" {
		e.Msg = "the plugin failed and did not say why"
	}
	return e
}

func (s *serverEnd) Process(ctx context.Context, req *pluginv1.ProcessRequest) (*pluginv1.ProcessResponse, error) {
	timeout, err := timeoutOf(req)
	if err != nil {
		return nil, err
	}
	ev, err := received(req.GetEvent())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	was := look(&ev)
	verdict, err := s.server.Process(ctx, Call{ID: req.GetCall()}, &ev)
	answer := &pluginv1.ProcessResponse{}
	switch changed := was.changed(&ev); {
	case err != nil:
		answer.Verdict, answer.Message, answer.Status, answer.RetryAfterMs = blame(err)
	case verdict == core.Dropped:
		answer.Verdict, answer.Message = pluginv1.Verdict_VERDICT_DROPPED, short(ev.TakeRemark())
	case verdict == core.Continue && changed != "":
		answer.Verdict, answer.Message = pluginv1.Verdict_VERDICT_FAILED, fmt.Sprintf("the stage changed the event's %s: it may label the event, or give it another action, object, object id, current or previous", changed)
	case verdict == core.Continue:
		answer.Verdict, answer.Amendment = pluginv1.Verdict_VERDICT_CONTINUE, was.amendment(&ev)
	default:
		answer.Verdict, answer.Message = pluginv1.Verdict_VERDICT_FAILED, fmt.Sprintf("the stage answered %q; only continue and dropped can be answered", verdict)
	}
	return answer, nil
}

func (s *serverEnd) Name(ctx context.Context, req *pluginv1.NameRequest) (*pluginv1.NameResponse, error) {
	timeout, err := timeoutOf(req)
	if err != nil {
		return nil, err
	}
	ev, err := received(req.GetEvent())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	was := look(&ev)
	answer := &pluginv1.NameResponse{}
	if err := s.server.Name(ctx, Call{ID: req.GetCall()}, &ev); err != nil {
		answer.Verdict, answer.Message, _, _ = blame(err)
		return answer, nil
	}
	if changed := was.given(&ev); changed != "" {
		answer.Verdict, answer.Message = pluginv1.Verdict_VERDICT_FAILED, fmt.Sprintf("the source changed the event's %s, which is not its to say", changed)
		return answer, nil
	}
	answer.Verdict, answer.Event = pluginv1.Verdict_VERDICT_CONTINUE, sent(&core.Event{
		Action: ev.Action, AlsoAction: ev.AlsoAction, Object: ev.Object, ObjectID: ev.ObjectID, Current: ev.Current, Previous: ev.Previous,
		Meta: ev.Meta, Version: ev.Version, Attempt: ev.Attempt, OccurredAt: ev.OccurredAt, Facts: ev.Facts, Flaw: ev.Flaw, Key: ev.Key,
	})
	return answer, nil
}

// IsStatus reports whether a sender can be answered with the status by a stage that rejects its request.
func IsStatus(status int) bool {
	return slices.Contains([]int{400, 401, 403, 409, 413, 415, 422, 429, 503}, status)
}

// blame says whose fault an error is. It is the sender's only when the author says so with a Rejection:
// an error of Event.Amend, for instance, is of a kind that elsewhere turns a request away.
func blame(err error) (v pluginv1.Verdict, msg string, status int32, retryAfter int64) {
	if r, ok := errors.AsType[*Rejection](err); ok {
		return pluginv1.Verdict_VERDICT_REJECTED, short(r.Msg), int32(r.Status), asked(r.RetryAfter)
	}
	return pluginv1.Verdict_VERDICT_FAILED, short(err.Error()), 0, asked(core.RetryAfter(err))
}

func amendmentOf(a *pluginv1.Amendment) core.Amendment {
	if a == nil {
		return core.Amendment{}
	}
	return core.Amendment{Labels: a.GetLabels(), Action: a.Action, Object: a.Object, ObjectID: a.ObjectId, Current: a.GetCurrent(), Previous: a.GetPrevious()}
}
