package wire

import (
	"fmt"
	"math"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/plugins/sdk/wire/pluginv1"
)

// packet is a message and what stands in each, in one piece of memory.
type packet struct {
	event pluginv1.Event
	facts pluginv1.Facts
	call  pluginv1.Call
}

// sent is an event as it is sent.
func sent(ev *core.Event) *pluginv1.Event { return new(packet).fill(ev) }

// fill puts the event in. What only pipehook needs of it stays behind.
func (p *packet) fill(ev *core.Event) *pluginv1.Event {
	out := &p.event
	out.Id, out.Pipeline, out.Source, out.ReceivedAt, out.Body = text(ev.ID), text(ev.Pipeline), text(ev.Source), nanos(ev.ReceivedAt), ev.Body
	out.Action, out.AlsoAction, out.Object, out.ObjectId = text(ev.Action), text(ev.AlsoAction), text(ev.Object), text(ev.ObjectID)
	out.Current, out.Previous, out.Meta, out.Version = ev.Current, ev.Previous, ev.Meta, text(ev.Version)
	out.Attempt, out.OccurredAt, out.Facts = int64(ev.Attempt), nanos(ev.OccurredAt), p.known(&ev.Facts)
	out.Gathered, out.Labels, out.Replayed = texts(ev.Gathered), labels(ev.Labels), ev.Replayed
	out.Flaw, out.Key, out.Headers = text(ev.Flaw), ev.Key, headers(ev.Header)
	out.Origin, out.Fields, out.PreviousFields = text(ev.Origin), ev.Fields, ev.PreviousFields
	if ev.Remote.IsValid() {
		out.Remote = ev.Remote.String()
	}
	return out
}

func (p *packet) known(f *core.Facts) *pluginv1.Facts {
	if *f == (core.Facts{}) {
		return nil
	}
	out := &p.facts
	out.UserId, out.CompanyId, out.ChangeSource, out.Bulk = text(f.UserID), text(f.CompanyID), text(f.ChangeSource), f.Bulk
	return out
}

func headers(all http.Header) []*pluginv1.Header {
	if len(all) == 0 {
		return nil
	}
	made, out := make([]pluginv1.Header, len(all)), make([]*pluginv1.Header, 0, len(all))
	for name, values := range all {
		h := &made[len(out)]
		h.Name, h.Values = text(name), texts(values)
		out = append(out, h)
	}
	return out
}

// received is the event in the plugin.
func received(in *pluginv1.Event) (core.Event, error) {
	ev := *named(in)
	ev.ID, ev.Pipeline, ev.Source, ev.ReceivedAt, ev.Body = in.GetId(), in.GetPipeline(), in.GetSource(), moment(in.GetReceivedAt()), in.GetBody()
	ev.Gathered, ev.Labels, ev.Replayed = in.GetGathered(), in.GetLabels(), in.GetReplayed()
	ev.Origin, ev.Fields, ev.PreviousFields = in.GetOrigin(), json(in.GetFields()), json(in.GetPreviousFields())
	if err := lengthen(&ev, in); err != nil {
		return ev, err
	}
	ev.Header = make(http.Header, len(in.GetHeaders()))
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

// named is what a source says of an event.
func named(in *pluginv1.Event) *core.Event {
	return &core.Event{
		Action: in.GetAction(), AlsoAction: in.GetAlsoAction(), Object: in.GetObject(), ObjectID: in.GetObjectId(),
		Current: json(in.GetCurrent()), Previous: json(in.GetPrevious()), Meta: json(in.GetMeta()), Version: in.GetVersion(),
		Attempt: int(max(in.GetAttempt(), 0)), OccurredAt: moment(in.GetOccurredAt()), Flaw: in.GetFlaw(), Key: in.GetKey(),
		Facts: core.Facts{
			UserID: in.GetFacts().GetUserId(), CompanyID: in.GetFacts().GetCompanyId(),
			ChangeSource: in.GetFacts().GetChangeSource(), Bulk: in.GetFacts().GetBulk(),
		},
	}
}

// text is what can be sent as text: a sender may have written anything.
func text(s string) string { return strings.ToValidUTF8(s, "\ufffd") }

// texts is a copy only when it has to be.
func texts(all []string) []string {
	for i, s := range all {
		if utf8.ValidString(s) {
			continue
		}
		own := slices.Clone(all)
		for k := i; k < len(own); k++ {
			own[k] = text(own[k])
		}
		return own
	}
	return all
}

// labels is a copy only when it has to be.
func labels(all map[string]string) map[string]string {
	for key, value := range all {
		if utf8.ValidString(key) && utf8.ValidString(value) {
			continue
		}
		own := make(map[string]string, len(all))
		for key, value := range all {
			own[text(key)] = text(value)
		}
		return own
	}
	return all
}

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
