//go:build unix

package plughost_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/plughost"
	"github.com/pipehook/pipehook/plugins/sdk/wire"
)

// overdue is a context whose time is over and that has not noticed yet: contexts end a moment late.
type overdue struct{ context.Context }

func (overdue) Deadline() (time.Time, bool) { return time.Now().Add(-time.Millisecond), true }

func TestACallWhoseTimeIsOverHasNotSucceeded(t *testing.T) {
	t.Parallel()
	b := newBench(t, plughost.Limits{})
	ctx := overdue{t.Context()}
	if err := b.lab(t, "").Handle(ctx, core.Event{ID: "1"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a listener: %v", err)
	}
	for _, kind := range []string{wire.Stage, wire.Source} {
		p := b.Start(plughost.Spec{Kind: kind, Name: "x", Path: guise(t, "stage-and-source")})
		if err := p.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		ask := func() error { _, err := p.Process(ctx, &core.Event{ID: "1"}); return err }
		if kind == wire.Source {
			ask = func() error { _, err := p.Name(ctx, &core.Event{ID: "1"}); return err }
		}
		if err := ask(); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a %s: %v", kind, err)
		}
	}
}

// Libraries like to put what they were given into their errors, such as the address of a database.
func TestAnErrorThatIsNoResultHidesSecretsToo(t *testing.T) {
	t.Parallel()
	const secret = "c4n4ry"
	b := newBench(t, plughost.Limits{FirstPause: time.Hour})
	for name, spec := range map[string]plughost.Spec{
		"a start that fails": {Kind: wire.Listener, Name: "x", Path: labSpec("").Path, Config: []byte(`{"greeting":"leak"}`)},
		"a call that fails":  {Kind: wire.Listener, Name: "x", Path: guise(t, "breaks"), Plain: true},
		"a stage's":          {Kind: wire.Stage, Name: "x", Path: guise(t, "breaks"), Plain: true},
		"a source's":         {Kind: wire.Source, Name: "x", Path: guise(t, "breaks"), Plain: true},
	} {
		spec.Secrets = map[string]string{"word": secret}
		p := b.Start(spec)
		err := p.Ready(t.Context())
		if err == nil {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			switch spec.Kind {
			case wire.Listener:
				err = p.Handle(ctx, core.Event{ID: "1"})
			case wire.Stage:
				_, err = p.Process(ctx, &core.Event{ID: "1"})
			case wire.Source:
				_, err = p.Name(ctx, &core.Event{ID: "1"})
			}
			cancel()
		}
		if err == nil || strings.Contains(err.Error(), secret) || !strings.Contains(err.Error(), "[redacted]") {
			t.Errorf("%s: %v", name, err)
		}
		p.Stop(t.Context())
	}
	if strings.Contains(b.log.String(), secret) {
		t.Errorf("the log has it:\n%s", b.log.String())
	}
}
