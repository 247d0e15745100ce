package guest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/source/guest"
)

// fake is code that says something without being run.
type fake struct {
	said *guest.Said
	err  error
}

func (fake) Name() string { return "orders" }

func (f fake) Run(context.Context, *core.Event, time.Duration) (*guest.Said, error) {
	return f.said, f.err
}

func named(t *testing.T, f fake) *core.Event {
	t.Helper()
	ev := &core.Event{ID: "id", Pipeline: "shop", Source: "orders", Body: []byte("raw")}
	if err := guest.New(guest.Options{Word: "plugin", Runner: f, Timeout: time.Second}).Ask(t.Context(), ev); err != nil {
		t.Fatal(err)
	}
	return ev
}

func text(ev *core.Event) string {
	return fmt.Sprint(ev.Type(), " ", ev.AlsoAction, " ", ev.ObjectID, " ", string(ev.Current), string(ev.Meta), " ", ev.OccurredAt, " ", ev.Version, ev.Attempt, ev.Facts)
}

func TestAnEventIsWhatIsSaidOfItAndIsReadBackWithoutAsking(t *testing.T) {
	at := time.Date(2026, 1, 5, 10, 0, 0, 0, time.FixedZone("", 3600))
	ev := named(t, fake{said: &guest.Said{
		ID: "another", Pipeline: "another", Body: []byte("another"), Labels: map[string]string{"a": "b"}, // no source says these
		Action: "merged", AlsoAction: "change", Object: "order", ObjectID: "o-1", Current: json.RawMessage(`{"n":1.50}`), Meta: json.RawMessage(`"m"`),
		OccurredAt: at, Version: "2", Attempt: 3, Facts: core.Facts{UserID: "u", Bulk: true}, Key: []byte{0, 1}, Flaw: "no date",
	}})
	const want = `merged.order updated o-1 {"n":1.50}"m" 2026-01-05 09:00:00 +0000 UTC 23 {u   true}`
	if got := text(ev); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if ev.ID != "id" || ev.Pipeline != "shop" || string(ev.Body) != "raw" || ev.Labels != nil || ev.Flaw != "no date" || len(ev.Key) != 24 {
		t.Errorf("%+v", ev)
	}
	back := &core.Event{Overlay: ev.Overlay}
	if err := back.Restore(func(*core.Event) error { return errors.New("it was asked again") }); err != nil {
		t.Fatal(err)
	}
	if got := text(back); got != want {
		t.Errorf("read back as %s", got)
	}
}

func TestWhatASourceCanNotSayLeavesTheEventUnknown(t *testing.T) {
	for want, said := range map[string]guest.Said{
		`action: "a.b" can't be one`:              {Action: "a.b", ObjectID: "7"},
		`object: "*" can't be one`:                {Object: "*"},
		"objectId: must be text of at most 256":   {ObjectID: strings.Repeat("x", 257)},
		"userId: must be text of at most 256":     {Facts: core.Facts{UserID: "a\nb"}},
		"version: must be text of at most 256":    {Version: "\xff"},
		"current: is not JSON":                    {Current: json.RawMessage("{")},
		"meta: is nested deeper than 512":         {Meta: json.RawMessage(strings.Repeat("[", 600) + strings.Repeat("]", 600))},
		"attempt: must be a whole number from 0":  {Attempt: -1},
		"occurredAt: is not between the years 1 ": {OccurredAt: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)},
	} {
		ev := named(t, fake{said: &said})
		if remark := ev.TakeRemark(); !strings.HasPrefix(remark, "failed: the source returned what it can't: "+want) || ev.Type() != "unknown.unknown" || ev.ObjectID != "" || ev.Flaw != "" {
			t.Errorf("%s, want %s: %+v", remark, want, ev)
		}
	}
}

func TestOnlyAFaultOfTheRequestIsItsFlaw(t *testing.T) {
	for name, test := range map[string]struct {
		fake fake
		flaw string
	}{
		"nothing is said":   {fake{}, ""},
		"the request's":     {fake{err: &guest.Fault{Msg: "no order", Err: errors.New("orders: no order")}}, "no order"},
		"the code's own":    {fake{err: errors.New("it ended")}, ""},
		"a very long fault": {fake{err: &guest.Fault{Msg: strings.Repeat("é", 2000), Err: errors.New("long")}}, strings.Repeat("é", 512) + "…"},
	} {
		ev := named(t, test.fake)
		if ev.Flaw != test.flaw || ev.Type() != "unknown.unknown" || ev.Overlay == "" {
			t.Errorf("%s: %s, %q", name, ev.Type(), ev.Flaw)
		}
	}
}

func TestAFaultOfTheRequestIsNoAlarm(t *testing.T) {
	var log bytes.Buffer
	f := &fake{err: &guest.Fault{Msg: "no order", Err: errors.New("orders: no order")}}
	source := guest.New(guest.Options{Word: "plugin", Runner: f, Timeout: time.Second, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err := source.Ask(t.Context(), &core.Event{ID: "id"}); err != nil || log.Len() > 0 {
		t.Errorf("%v, the log has %s", err, &log)
	}
	f.err = errors.New("it ended")
	if err := source.Ask(t.Context(), &core.Event{ID: "id"}); err != nil || !strings.Contains(log.String(), `level=ERROR msg="a source's plugin fails;`) {
		t.Errorf("%v, the log has %s", err, &log)
	}
}
