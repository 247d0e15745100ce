package core

import (
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// Rejected is a request that was refused, or dropped and not stored, as it is kept for whoever asks why: without its body, its
// query and anything that could be a credential. Its texts are bounded.
type Rejected struct {
	ID       string // the request's, as its sender was told
	At       time.Time
	Pipeline string
	Remote   netip.Addr
	Status   int
	Code     string
	Reason   string      // for the people on this side: it may say more than the sender was told
	Header   http.Header // see ShownHeader
	Bytes    int64       // of the body, as far as it arrived or was announced
	Steps    []StepTrace // the last is where it ended
	Missed   int         // how many like it were not kept since the last that was
}

const (
	mostReason = 1 << 10
	mostCode   = 64
)

// Reject makes a Rejected of an event that was refused because of err, or dropped when there is none.
// It holds on to nothing of the event's body.
func Reject(ev *Event, status int, code string, bytes int64, err error) Rejected {
	r := Rejected{
		ID: ev.ID, At: ev.ReceivedAt, Pipeline: ev.Pipeline, Remote: ev.Remote, Status: status, Code: clipped(code, mostCode),
		Header: ShownHeader(ev.Header), Bytes: bytes, Steps: walked(ev, err),
	}
	if err != nil {
		r.Reason = clipped(err.Error(), mostReason)
	} else if n := len(r.Steps); n > 0 {
		r.Reason = r.Steps[n-1].Stage + ": " + r.Steps[n-1].Verdict
	}
	return r
}

// walked are the steps the event took, and at the end the one that err ended, which the event does
// not know when it is not a stage: the event must be left alone once its commit has failed.
func walked(ev *Event, err error) []StepTrace {
	steps := append([]StepTrace(nil), ev.Steps...)
	last := StepTrace{}
	if len(steps) > 0 {
		last = steps[len(steps)-1]
	}
	stop, stopped := errors.AsType[*Stop](err)
	switch {
	case err == nil:
	case last.Verdict == panicked:
	case stopped && (last.Verdict != refused || last.Stage != stop.Step):
		steps = append(steps, StepTrace{stop.Step, refused, stop.Took.Microseconds()})
	case !stopped:
		steps = append(steps, StepTrace{Stage: "receive", Verdict: refused})
	}
	return steps
}

// clipped is at most the first bytes of s, whole characters of them, in memory of its own.
func clipped(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && s[most]&0xC0 == 0x80 {
		most--
	}
	return strings.Clone(s[:most]) + "…"
}
