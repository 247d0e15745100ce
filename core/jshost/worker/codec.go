package worker

import (
	"bytes"
	"context"
	"errors"
	"math"
	"net/http"
	"strings"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/effect"
	"github.com/pipehook/pipehook/core/jshost/engine"
	"github.com/pipehook/pipehook/core/jshost/worker/message"
)

// weight is about how many bytes of a message an event takes.
func weight(ev *core.Event) int {
	return 512 + len(ev.Body) + len(ev.Current) + len(ev.Previous) + len(ev.Meta) + len(ev.Fields) + len(ev.PreviousFields)
}

// sentCall is a call as it is sent. Only sources see headers.
func sentCall(call *engine.Call) *message.Call {
	ev := call.Event
	out := &message.Event{
		Id: text(ev.ID), Pipeline: text(ev.Pipeline), Source: text(ev.Source), ReceivedAt: nanos(ev.ReceivedAt), Body: ev.Body,
		Action: text(ev.Action), AlsoAction: text(ev.AlsoAction), Object: text(ev.Object), ObjectId: text(ev.ObjectID),
		Current: part(ev.Body, ev.Current), Previous: part(ev.Body, ev.Previous), Meta: part(ev.Body, ev.Meta),
		Version: text(ev.Version), Attempt: int64(ev.Attempt), OccurredAt: nanos(ev.OccurredAt),
		UserId: text(ev.Facts.UserID), CompanyId: text(ev.Facts.CompanyID), ChangeSource: text(ev.Facts.ChangeSource), Bulk: ev.Facts.Bulk,
		Replayed: ev.Replayed, Gathered: texts(ev.Gathered), Origin: text(ev.Origin), Fields: ev.Fields, PreviousFields: ev.PreviousFields,
	}
	if len(ev.Labels) > 0 {
		out.Labels = make(map[string]string, len(ev.Labels))
		for name, value := range ev.Labels {
			out.Labels[text(name)] = text(value)
		}
	}
	if call.Kind == engine.Source {
		for name, values := range ev.Header {
			out.Headers = append(out.Headers, &message.Header{Name: text(name), Values: texts(values)})
		}
	}
	return &message.Call{Kind: uint32(call.Kind), Timeout: int64(call.Timeout), Attempt: int64(call.Attempt), Event: out}
}

// receivedCall is the call in the child.
func receivedCall(in *message.Call) engine.Call {
	e := in.GetEvent()
	body := e.GetBody()
	ev := &core.Event{
		ID: e.GetId(), Pipeline: e.GetPipeline(), Source: e.GetSource(), ReceivedAt: moment(e.GetReceivedAt()), Body: body,
		Action: e.GetAction(), AlsoAction: e.GetAlsoAction(), Object: e.GetObject(), ObjectID: e.GetObjectId(),
		Current: whole(body, e.GetCurrent()), Previous: whole(body, e.GetPrevious()), Meta: whole(body, e.GetMeta()),
		Version: e.GetVersion(), Attempt: int(e.GetAttempt()), OccurredAt: moment(e.GetOccurredAt()),
		Facts:    core.Facts{UserID: e.GetUserId(), CompanyID: e.GetCompanyId(), ChangeSource: e.GetChangeSource(), Bulk: e.GetBulk()},
		Replayed: e.GetReplayed(), Gathered: e.GetGathered(), Labels: e.GetLabels(),
		Origin: e.GetOrigin(), Fields: e.GetFields(), PreviousFields: e.GetPreviousFields(),
	}
	if len(e.GetHeaders()) > 0 {
		ev.Header = make(http.Header, len(e.GetHeaders()))
		for _, h := range e.GetHeaders() {
			ev.Header[h.GetName()] = h.GetValues()
		}
	}
	return engine.Call{Kind: engine.Kind(in.GetKind()), Event: ev, Attempt: int(in.GetAttempt()), Timeout: time.Duration(in.GetTimeout())}
}

// part sends where in the body a text is, rather than all of it once more.
func part(body, of []byte) *message.Part {
	if len(of) == 0 {
		return nil
	}
	if at := bytes.Index(body, of); at >= 0 {
		return &message.Part{At: uint32(at), Length: uint32(len(of))}
	}
	return &message.Part{Text: of}
}

func whole(body []byte, p *message.Part) []byte {
	switch {
	case p == nil:
		return nil
	case p.GetLength() == 0:
		return p.GetText()
	}
	end := p.GetAt() + p.GetLength()
	return body[p.GetAt():end:end]
}

// text is what can be sent as text: a sender may have written anything.
func text(s string) string { return strings.ToValidUTF8(s, "\ufffd") }

func texts(all []string) []string {
	out := make([]string, len(all))
	for i, s := range all {
		out[i] = text(s)
	}
	return out
}

// nanos is 0 for a time that is not known, and for one too far off to be said in nanoseconds, which a
// sender may have written all the same.
func nanos(t time.Time) int64 {
	if t.Before(time.Unix(0, math.MinInt64)) || t.After(time.Unix(0, math.MaxInt64)) {
		return 0
	}
	return t.UnixNano()
}

func moment(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}

// failure is an error as it is sent; nil for none.
func failure(err error) *message.Failure {
	if err == nil {
		return nil
	}
	f := &message.Failure{Cause: cause(err)}
	if e, ok := err.(*engine.ScriptError); ok {
		f.Script, f.Msg, f.File, f.Via, f.Stopped = true, text(e.Msg), text(e.File), text(e.Via), e.Stopped
		f.Line, f.Column = int32(e.Line), int32(e.Column)
		return f
	}
	f.Msg = text(err.Error())
	return f
}

// cause is the part of an error's chain that others ask for.
func cause(err error) *message.Cause {
	if e, ok := errors.AsType[*effect.Error](err); ok { // before core's, as which it may be read
		return &message.Cause{Of: message.Cause_HOST, Msg: text(e.Msg), Code: text(e.Code), Status: int32(e.Status), RetryAfter: int64(e.RetryAfter)}
	}
	if e, ok := errors.AsType[*core.Error](err); ok {
		return &message.Cause{Of: message.Cause_CORE, Msg: text(e.Msg), Kind: uint32(e.Kind), RetryAfter: int64(e.RetryAfter)}
	}
	if e, ok := errors.AsType[*engine.Dropped](err); ok {
		return &message.Cause{Of: message.Cause_DROPPED, Msg: text(e.Reason)}
	}
	if e, ok := errors.AsType[*engine.Rejected](err); ok {
		return &message.Cause{Of: message.Cause_REJECTED, Msg: text(e.Msg), Status: int32(e.Status)}
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return &message.Cause{Of: message.Cause_DEADLINE}
	case errors.Is(err, context.Canceled):
		return &message.Cause{Of: message.Cause_CANCELED}
	}
	return nil
}

// plain is an error that is no ScriptError, with what it wraps.
type plain struct {
	msg   string
	cause error
}

func (e *plain) Error() string { return e.msg }
func (e *plain) Unwrap() error { return e.cause }

// failed is the error that was sent.
func failed(f *message.Failure) error {
	if f == nil {
		return nil
	}
	inner := caused(f.GetCause())
	if !f.GetScript() {
		if host, ok := inner.(*effect.Error); ok && host.Msg == f.GetMsg() {
			return host
		}
		return &plain{f.GetMsg(), inner}
	}
	return &engine.ScriptError{
		File: f.GetFile(), Line: int(f.GetLine()), Column: int(f.GetColumn()),
		Msg: f.GetMsg(), Via: f.GetVia(), Err: inner, Stopped: f.GetStopped(),
	}
}

func caused(c *message.Cause) error {
	switch c.GetOf() {
	case message.Cause_CORE:
		kind := core.Kind(c.GetKind())
		if kind > core.Failed { // that a process has crashed is for the parent to say
			kind = core.Failed
		}
		return &core.Error{Kind: kind, Msg: c.GetMsg(), RetryAfter: time.Duration(max(c.GetRetryAfter(), 0))}
	case message.Cause_DEADLINE:
		return context.DeadlineExceeded
	case message.Cause_CANCELED:
		return context.Canceled
	case message.Cause_HOST:
		return &effect.Error{Code: c.GetCode(), Msg: c.GetMsg(), Status: int(c.GetStatus()), RetryAfter: time.Duration(max(c.GetRetryAfter(), 0))}
	case message.Cause_DROPPED:
		return &engine.Dropped{Reason: c.GetMsg()}
	case message.Cause_REJECTED:
		return &engine.Rejected{Status: int(c.GetStatus()), Msg: c.GetMsg()}
	}
	return nil
}
