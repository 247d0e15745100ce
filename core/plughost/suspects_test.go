//go:build unix

package plughost

import (
	"fmt"
	"testing"
	"time"

	"github.com/pipehook/pipehook/plugins/sdk/wire"
)

func TestAnEventThatCrashesThePluginIsAloneTheNextTimeHoweverManyWereGivenUpBefore(t *testing.T) {
	p := &Plugin{changed: make(chan struct{}), suspects: map[string]bool{}}
	for i := range maxSuspects {
		p.exit(&instance{}, true, fmt.Sprint("quarantined ", i)) // their third crash: they never come again
	}
	p.exit(&instance{}, true, "new")
	if !p.suspects["new"] {
		t.Errorf("the event is not suspected; %d that never come again are", len(p.suspects))
	}
}

func TestAPluginCanNotSayThatItTookLongerThanItHad(t *testing.T) {
	now := time.Now()
	for name, test := range map[string]struct{ said, least, most time.Duration }{
		"nothing":      {0, time.Second, time.Minute}, // since the event before it
		"what is true": {2 * time.Second, 2 * time.Second, 2 * time.Second},
		"a century":    {100 * 365 * 24 * time.Hour, 5 * time.Second, time.Minute},
	} {
		out := outcome(&instance{voice: &voice{}}, wire.Result{Took: test.said}, now.Add(-5*time.Second), now.Add(-time.Second))
		if out.Took < test.least || out.Took > test.most {
			t.Errorf("it says %s: took %s", name, out.Took)
		}
	}
}
