package sdktest

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/fixture"
	"github.com/pipehook/pipehook/core/samples"
	"github.com/pipehook/pipehook/core/source/derived"
	"github.com/pipehook/pipehook/core/source/pipedrive"
	"github.com/pipehook/pipehook/plugins/sdk"
)

// recorded makes events out of bodies that Pipedrive has sent, and of what listeners emit.
var recorded = fixture.Events{
	Sample: func(eventType string) ([]byte, bool) {
		_, body, ok := samples.For(eventType)
		return body, ok
	},
	Types: samples.Types(), Source: "pipedrive", Pipeline: "pipedrive",
	Name: func(ev *core.Event) error {
		if ev.Source == derived.SourceName {
			return derived.Source{}.Name(ev)
		}
		return pipedrive.Source{}.Name(ev)
	},
}

// Event is a recorded event of a type such as "updated.deal", with an ID of its own.
func Event(t testing.TB, eventType string) sdk.Event {
	t.Helper()
	return withID(t)(recorded.Recorded(eventType, "{}", time.Now()))
}

// File is the event of a file: a body as Pipedrive sends them, or what pipehook events show --json prints,
// which can be of any sender.
func File(t testing.TB, path string) sdk.Event {
	t.Helper()
	return withID(t)(recorded.File(path, "{}", time.Now()))
}

func withID(t testing.TB) func(sdk.Event, error) sdk.Event {
	return func(ev sdk.Event, err error) sdk.Event {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if ev.ID == "" {
			ev.ID = uuid.Must(uuid.NewV7()).String()
		}
		return ev
	}
}
