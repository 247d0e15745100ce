//go:build unix

package plughost_test

import (
	"slices"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/plughost"
)

// A crash is known at once, also when something that the plugin has started, and that left its group,
// holds its output open.
func TestACrashFailsItsAttemptAtOnce(t *testing.T) {
	for name, before := range map[string]func(t *testing.T, p *plughost.Plugin){
		"alone":                  func(*testing.T, *plughost.Plugin) {},
		"with a child":           func(t *testing.T, p *plughost.Plugin) { number(t, p, "fork") },
		"with one that has left": func(t *testing.T, p *plughost.Plugin) { number(t, p, "fork far") },
	} {
		t.Run(name, func(t *testing.T) {
			p := newBench(t, plughost.Limits{}).lab(t, "")
			var all []time.Duration
			for range 4 {
				before(t, p)
				began := time.Now()
				if err := handle(t, p, "exit"); core.KindOf(err) != core.Crashed {
					t.Fatal(err)
				}
				all = append(all, time.Since(began))
				if err := handle(t, p, "nothing"); err != nil {
					t.Fatal(err)
				}
			}
			if quickest := slices.Min(all); quickest > 100*time.Millisecond { // the others had a busy machine
				t.Errorf("it took %v", all)
			}
		})
	}
}
