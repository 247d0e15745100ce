package sdk_test

import (
	"context"
	"strings"
	"testing"

	"github.com/pipehook/pipehook/plugins/sdk"
	"github.com/pipehook/pipehook/plugins/sdk/sdktest"
)

type does struct{}

func (does) Handle(context.Context, sdk.Event) error { return nil }

type (
	startsLater    struct{ does }
	startsSilently struct{ does }
	startsAlone    struct{ does }
	startsByItself struct{ does }
	stopsAtOnce    struct{ does }
	stopsByItself  struct{ does }
)

func (startsLater) Start(*sdk.Host, context.Context) error         { return nil }
func (startsSilently) Start(context.Context, *sdk.Host)            {}
func (startsAlone) Start(context.Context) error                    { return nil }
func (*startsByItself) Start(context.Context, *sdk.Host) error     { return nil }
func (stopsAtOnce) Stop()                                          {}
func (stopsByItself) Start(ctx context.Context, _ *sdk.Host) error { return ctx.Err() }
func (*stopsByItself) Stop(context.Context) error                  { return nil }

// What is called Start or Stop and can't be called as such would be left out without a word.
func TestAStartOrStopOfAnotherFormIsRefused(t *testing.T) {
	const start, stop = "it must be Start(ctx context.Context, host *sdk.Host) error", "it must be Stop(ctx context.Context) error"
	for want, l := range map[string]sdk.Listener{
		"sdk_test.startsLater has a Start that can't be called: " + start:          startsLater{},
		"sdk_test.startsSilently has a Start that can't be called: " + start:       startsSilently{},
		"sdk_test.stopsAtOnce has a Stop that can't be called: " + stop:            stopsAtOnce{},
		"*sdk_test.stopsAtOnce has a Stop that can't be called: " + stop:           &stopsAtOnce{},
		"sdk_test.startsByItself has no Start, but a pointer to it has: give that": startsByItself{},
		"sdk_test.stopsByItself has no Stop, but a pointer to it has: give that":   stopsByItself{},
	} {
		_, err := sdktest.TryStart(t, sdk.Plugin{Name: "p", Listener: l}, sdktest.Options{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%T: %v, want %s", l, err, want)
		}
	}
	for _, l := range []sdk.Listener{does{}, &does{}, startsAlone{}, &startsByItself{}, &stopsByItself{}, sdk.ListenerFunc(nil)} {
		if _, err := sdktest.TryStart(t, sdk.Plugin{Name: "p", Listener: l}, sdktest.Options{}); err != nil {
			t.Errorf("%T: %v", l, err)
		}
	}
}
