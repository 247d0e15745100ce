package sdktest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/plugins/sdk"
	"github.com/pipehook/pipehook/plugins/sdk/sdktest"
)

// asker is a listener that does with Pipedrive what a test says.
type asker struct {
	host *sdk.Host
	do   func(ctx context.Context, p sdk.Pipedrive) error
}

func (a *asker) Start(_ context.Context, host *sdk.Host) error {
	a.host = host
	return nil
}

func (a *asker) Handle(ctx context.Context, _ sdk.Event) error { return a.do(ctx, a.host.Pipedrive()) }

type record struct {
	ID    int
	Title string
}

func answerPipedrive(c sdktest.PipedriveCall) (any, error) {
	switch {
	case c.Method == "DELETE":
		return nil, &sdk.Error{Code: "ERATELIMIT", Msg: "too many requests", Status: 429, RetryAfter: time.Minute}
	case c.Path == "/api/v2/deals" && c.Method == "GET" && c.Query.Get("cursor") == "":
		return sdktest.PipedrivePage{Items: []record{{ID: 1}, {ID: 2}}, Next: "on"}, nil
	case c.Path == "/api/v2/deals" && c.Method == "GET":
		return []record{{ID: 3}}, nil
	case c.Body != nil:
		return json.RawMessage(c.Body), nil
	}
	return record{7, "seven"}, nil
}

func TestAPluginAsksPipedrive(t *testing.T) {
	ctx := t.Context()
	a := &asker{}
	p := sdktest.Start(t, sdk.Plugin{Name: "asker", Version: "1", Listener: a}, sdktest.Options{Pipedrive: answerPipedrive})
	a.do = func(ctx context.Context, p sdk.Pipedrive) error {
		var one, posted, put, patched record
		var all, some []record
		err := errors.Join(p.Get(ctx, "/api/v2/deals/7", url.Values{"a": {"b"}}, &one), p.List(ctx, "/api/v2/deals", nil, &all),
			p.Post(ctx, "/api/v2/deals", record{Title: "new"}, &posted), p.Put(ctx, "/api/v1/notes/1", record{ID: 4}, &put),
			p.Patch(ctx, "/api/v2/deals/7", map[string]string{"title": "x"}, &patched))
		next, pageErr := p.Page(ctx, "/api/v2/deals", nil, &some)
		got := strings.TrimSpace(fmt.Sprintln(one, all, posted, put, patched, next, some))
		if want := "{7 seven} [{1 } {2 } {3 }] {0 new} {4 } {0 x} on [{1 } {2 }]"; got != want || pageErr != nil {
			t.Errorf("got %s (%v), want %s", got, pageErr, want)
		}
		return err
	}
	if err := p.Handle(ctx, sdktest.Event(t, "updated.deal")); err != nil {
		t.Fatal(err)
	}
	if calls := p.PipedriveCalls(); len(calls) != 7 || calls[0].Query.Get("a") != "b" || calls[2].Query.Encode() != "cursor=on&limit=500" {
		t.Errorf("asked %+v", calls)
	}

	a.do = func(ctx context.Context, p sdk.Pipedrive) error {
		err := p.Delete(ctx, "/api/v2/deals/7")
		if want := (&sdk.Error{Code: "ERATELIMIT", Msg: "too many requests", Status: 429, RetryAfter: time.Minute}); !reflect.DeepEqual(err, error(want)) {
			t.Errorf("got %#v, want %#v", err, want)
		}
		return err
	}
	if err := p.Handle(ctx, sdktest.Event(t, "updated.deal")); core.RetryAfter(err) != time.Minute {
		t.Errorf("the delivery is tried again after %s: %v", core.RetryAfter(err), err)
	}
	for path, want := range map[string]string{"deals/1": "EINVALID", "/api/v2/../x": "EINVALID"} {
		a.do = func(ctx context.Context, p sdk.Pipedrive) error { return p.Get(ctx, path, nil, nil) }
		if err := p.Handle(ctx, sdktest.Event(t, "updated.deal")); err == nil || !strings.Contains(err.Error(), "the path must begin") {
			t.Errorf("%s: %v, want %s", path, err, want)
		}
	}
	err := p.Host().Pipedrive().Get(ctx, "/api/v2/deals/1", nil, nil) // of no call
	if e, ok := errors.AsType[*sdk.Error](err); !ok || e.Code != "ENOTAVAILABLE" {
		t.Errorf("outside of a call: %v", err)
	}
}

func TestAPluginWithoutAnAccountIsToldSo(t *testing.T) {
	a := &asker{do: func(ctx context.Context, p sdk.Pipedrive) error {
		err := p.Get(ctx, "/api/v2/deals/1", nil, nil)
		if e, ok := errors.AsType[*sdk.Error](err); !ok || e.Code != "ENOTCONNECTED" {
			t.Errorf("got %v", err)
		}
		return nil
	}}
	p := sdktest.Start(t, sdk.Plugin{Name: "asker", Version: "1", Listener: a}, sdktest.Options{})
	if err := p.Handle(t.Context(), sdktest.Event(t, "updated.deal")); err != nil {
		t.Fatal(err)
	}
}
