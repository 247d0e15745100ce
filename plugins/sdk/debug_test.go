package sdk_test

import (
	"context"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/plugins/sdk"
	"github.com/pipehook/pipehook/plugins/sdk/wire"
)

type greets struct{ Greeting string }

// In a debugger all places of a binary have one Config.
func TestAPlaceIsNotConfiguredWhileACallOfAnotherOneReadsTheConfiguration(t *testing.T) {
	config := &greets{}
	began, configured := make(chan struct{}), make(chan struct{})
	one, other := sdk.Debugged(sdk.Plugin{Name: "p", Config: config, Listener: sdk.ListenerFunc(func(context.Context, sdk.Event) error {
		before := config.Greeting
		close(began)
		select {
		case <-configured: // it can't be, while this runs
		case <-time.After(50 * time.Millisecond):
		}
		if config.Greeting != before {
			t.Errorf("the greeting %q became %q under a call", before, config.Greeting)
		}
		return nil
	})})
	configure := func(s wire.Server, greeting string) {
		setup := wire.Setup{Kind: wire.Listener, Name: "tested", Config: []byte(`{"greeting":"` + greeting + `"}`)}
		if _, err := s.Configure(t.Context(), setup); err != nil {
			t.Error(err)
		}
	}
	configure(one, "hello")
	go func() {
		<-began
		configure(other, "good day")
		close(configured)
	}()
	if err := one.Handle(t.Context(), wire.Call{}, core.Event{ID: "1"}); err != nil {
		t.Error(err)
	}
	if <-configured; config.Greeting != "good day" {
		t.Errorf("the greeting is %q", config.Greeting)
	}
}
