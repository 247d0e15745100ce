//go:build unix

package plughost

import (
	"fmt"
	"testing"
)

func TestAnEventThatCrashesThePluginIsAloneTheNextTimeHoweverManyWereGivenUpBefore(t *testing.T) {
	p := &Plugin{changed: make(chan struct{}), suspects: map[string]bool{}}
	for i := range maxSuspects {
		p.exit(fmt.Sprint("quarantined ", i), true) // their third crash: they never come again
	}
	p.exit("new", true)
	if !p.suspects["new"] {
		t.Errorf("the event is not suspected; %d that never come again are", len(p.suspects))
	}
}
