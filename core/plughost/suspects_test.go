//go:build unix

package plughost

import (
	"fmt"
	"testing"
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
