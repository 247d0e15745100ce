package sdk_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/plugins/sdk"
	"github.com/pipehook/pipehook/plugins/sdk/sdktest"
	"github.com/pipehook/pipehook/plugins/sdk/wire"
)

func TestACounterEmitsWithEveryTenthChange(t *testing.T) {
	c := &counter{}
	p := sdktest.Start(t, sdk.Plugin{Name: "counter", Listener: c}, sdktest.Options{})
	for i := range 25 {
		ev := sdk.Event{ID: fmt.Sprint(i), Object: "deal", ObjectID: "7", ReceivedAt: time.Now()}
		if err := p.Handle(t.Context(), ev); err != nil {
			t.Fatal(err)
		}
	}
	if emitted := p.Emitted(); len(emitted) != 2 || emitted[1].Type() != "busy.deal" || p.Count("changes") != 25 {
		t.Errorf("%+v, %g", emitted, p.Count("changes"))
	}
}

func TestASenderTakesItsSecretAndTellsFailuresApart(t *testing.T) {
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer s" || r.URL.Path != "/7" {
			t.Errorf("request %s %v", r.URL, r.Header)
		}
		w.WriteHeader(status)
	}))
	defer server.Close()
	s := &sender{Timeout: 5 * time.Second}
	plugin := sdk.Plugin{Name: "sender", Config: s, Listener: s}
	conf := map[string]any{"url": server.URL, "timeout": "2s"}
	if _, err := sdktest.TryStart(t, plugin, sdktest.Options{Config: conf}); err == nil || !strings.Contains(err.Error(), `secrets.api: is missing or empty: give it with secrets = { api = "${…}" }`) {
		t.Errorf("without a secret: %v", err)
	}
	p := sdktest.Start(t, plugin, sdktest.Options{Config: conf, Secrets: map[string]string{"api": "s"}})
	for _, test := range []struct {
		status          int
		fail, permanent bool
	}{{200, false, false}, {429, true, false}, {404, true, true}} {
		status = test.status
		err := p.Handle(t.Context(), sdk.Event{ID: "1", ObjectID: "7"})
		if (err != nil) != test.fail || sdktest.IsPermanent(err) != test.permanent {
			t.Errorf("%d: %v", test.status, err)
		}
	}
}

func TestTheKVKeepsVersionsAndOrder(t *testing.T) {
	p := sdktest.Start(t, sdk.Plugin{Name: "p", Listener: sdk.ListenerFunc(nil)}, sdktest.Options{})
	ctx, kv := t.Context(), p.Host().KV()
	for _, key := range []string{"b", "a", "c", "x"} {
		if err := kv.Set(ctx, key, map[string]any{"n": json.Number("12345678901234567890")}, 0); err != nil {
			t.Fatal(err)
		}
	}
	entries, more, err := kv.List(ctx, "", "a", 2)
	if err != nil || !more || len(entries) != 2 || entries[0].Key != "b" || entries[1].Key != "c" {
		t.Errorf("%+v, %t, %v", entries, more, err)
	}
	var value any
	if found, err := kv.Get(ctx, "a", &value); !found || err != nil || fmt.Sprint(value) != "map[n:12345678901234567890]" {
		t.Errorf("%v, %t, %v", value, found, err)
	}
	var number int
	if _, err := kv.Get(ctx, "a", &number); err == nil || !strings.Contains(err.Error(), `the value of "a"`) {
		t.Errorf("into another type: %v", err)
	}
	entry, _, _ := kv.Entry(ctx, "a")
	if done, err := kv.SetIf(ctx, "a", 1, 0, ""); done || err != nil {
		t.Errorf("where there is one: %t, %v", done, err)
	}
	if done, err := kv.SetIf(ctx, "a", 1, 0, entry.Version); !done || err != nil {
		t.Errorf("its version: %t, %v", done, err)
	}
	if done, err := kv.DeleteIf(ctx, "a", entry.Version); done || err != nil {
		t.Errorf("an old version: %t, %v", done, err)
	}
	if err := kv.Delete(ctx, "a"); err != nil {
		t.Error(err)
	}
	if found, err := p.Host().SharedKV().Get(ctx, "b", &value); found || err != nil {
		t.Errorf("what is shared is another's: %t, %v", found, err)
	}
	if err := kv.Set(ctx, "a", make(chan int), 0); err == nil {
		t.Error("a channel was kept")
	}
	err = kv.Set(ctx, strings.Repeat("k", 600), 1, 0)
	if refused, ok := errors.AsType[*sdk.Error](err); !ok || refused.Code != "ETOOLARGE" {
		t.Errorf("a long key: %v", err)
	}
}

func TestAPluginWithoutAHostSaysSo(t *testing.T) {
	s := sdk.NewServer(sdk.Plugin{Name: "p", Listener: sdk.ListenerFunc(nil)})
	if _, err := s.Configure(t.Context(), wire.Setup{Kind: wire.Listener}); err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	host := s.Host()
	host.Count("n", 1) // which nobody sees
	_, emitErr := host.Emit(t.Context(), sdk.Emission{})
	for _, err := range []error{emitErr, host.KV().Set(t.Context(), "a", 1, 0)} {
		if err == nil || !strings.Contains(err.Error(), "can't be asked") {
			t.Error(err)
		}
	}
}

// early is of 1.0, where Start had no host.
type early struct{ started int }

func (e *early) Start(context.Context) error { e.started++; return nil }

func (e *early) Handle(context.Context, sdk.Event) error { return nil }

func TestAStartWithoutAHostIsCalled(t *testing.T) {
	e := &early{}
	if sdktest.Start(t, sdk.Plugin{Name: "p", Listener: e}, sdktest.Options{}); e.started != 1 {
		t.Errorf("it was started %d times", e.started)
	}
}

func TestARejectionHasAStatusThatSendersCanBeTold(t *testing.T) {
	if _, ok := sdktest.Status(sdk.Reject(418, "short and stout")); ok {
		t.Error("418 was taken")
	}
	if status, ok := sdktest.Status(sdk.RetryAfter(time.Minute, sdk.Reject(429, "slowly"))); !ok || status != 429 {
		t.Error(status)
	}
	if sdk.Permanent(nil) != nil || sdk.RetryAfter(time.Second, nil) != nil {
		t.Error("success became a failure")
	}
}
