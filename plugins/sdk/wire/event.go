package wire

import (
	"fmt"
	"math"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/plugins/sdk/wire/pluginv1"
)

// sent is an event as it is sent. What only pipehook needs of it stays behind.
func sent(ev *core.Event) *pluginv1.Event {
	out := &pluginv1.Event{
		Id: ev.ID, Pipeline: ev.Pipeline, Source: ev.Source, ReceivedAt: nanos(ev.ReceivedAt), Body: ev.Body,
		Action: text(ev.Action), AlsoAction: text(ev.AlsoAction), Object: text(ev.Object), ObjectId: text(ev.ObjectID),
		Current: ev.Current, Previous: ev.Previous, Meta: ev.Meta, Version: text(ev.Version),
		Attempt: int64(ev.Attempt), OccurredAt: nanos(ev.OccurredAt),
		Facts: &pluginv1.Facts{
			UserId: text(ev.Facts.UserID), CompanyId: text(ev.Facts.CompanyID), ChangeSource: text(ev.Facts.ChangeSource), Bulk: ev.Facts.Bulk,
		},
		Gathered: ev.Gathered, Labels: ev.Labels, Replayed: ev.Replayed, Flaw: text(ev.Flaw), Key: ev.Key,
	}
	if ev.Remote.IsValid() {
		out.Remote = ev.Remote.String()
	}
	for name, values := range ev.Header {
		h := &pluginv1.Header{Name: text(name)}
		for _, v := range values {
			h.Values = append(h.Values, text(v))
		}
		out.Headers = append(out.Headers, h)
	}
	return out
}

// received is the event in the plugin.
func received(in *pluginv1.Event) (core.Event, error) {
	ev := core.Event{
		ID: in.GetId(), Pipeline: in.GetPipeline(), Source: in.GetSource(), ReceivedAt: moment(in.GetReceivedAt()), Body: in.GetBody(),
		Action: in.GetAction(), AlsoAction: in.GetAlsoAction(), Object: in.GetObject(), ObjectID: in.GetObjectId(),
		Current: json(in.GetCurrent()), Previous: json(in.GetPrevious()), Meta: json(in.GetMeta()), Version: in.GetVersion(),
		Attempt: int(in.GetAttempt()), OccurredAt: moment(in.GetOccurredAt()),
		Facts: core.Facts{
			UserID: in.GetFacts().GetUserId(), CompanyID: in.GetFacts().GetCompanyId(),
			ChangeSource: in.GetFacts().GetChangeSource(), Bulk: in.GetFacts().GetBulk(),
		},
		Gathered: in.GetGathered(), Labels: in.GetLabels(), Replayed: in.GetReplayed(), Flaw: in.GetFlaw(), Key: in.GetKey(),
		Header: make(http.Header, len(in.GetHeaders())),
	}
	for _, h := range in.GetHeaders() {
		ev.Header[h.GetName()] = h.GetValues()
	}
	if in.GetRemote() == "" {
		return ev, nil
	}
	var err error
	if ev.Remote, err = netip.ParseAddr(in.GetRemote()); err != nil {
		return ev, fmt.Errorf("the event's sender has no address: %w", err)
	}
	return ev, nil
}

// text is what can be sent as text: a sender may have written anything.
func text(s string) string { return strings.ToValidUTF8(s, "\ufffd") }

// json keeps an absent part nil.
func json(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	return b
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
