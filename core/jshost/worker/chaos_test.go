//go:build unix

package worker_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/jshost/engine"
)

// Processes die at any time here. Each call must be reported once and in order, and run once at most.
func TestHoweverProcessesDieEachCallIsReportedOnceAndRunsOnce(t *testing.T) {
	p, j := start(t, actor, two)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var working, killing sync.WaitGroup
	over := make(chan struct{})
	killing.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-over:
				return
			case <-time.After(time.Duration(rand.IntN(60)) * time.Millisecond):
			}
			if pid := p.Pid(); pid != 0 && n < 40 {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	})
	var mu sync.Mutex
	ran := map[string]string{}
	for w := range 4 {
		working.Go(func() {
			for b := range 6 {
				var calls []engine.Call
				for i := range 20 {
					id := fmt.Sprintf("%s %d-%d-%d", act(w, b, i), w, b, i)
					calls = append(calls, engine.Call{Event: sample(t, id), Timeout: 200 * time.Millisecond})
				}
				next := 0
				p.Run(ctx, calls, func(i int, r engine.Result) {
					if i != next {
						t.Errorf("call %d is reported after %d others", i, next)
					}
					next++
					mu.Lock()
					defer mu.Unlock()
					ran[calls[i].Event.ID] = kinds([]error{r.Err})[0]
				})
				if next != len(calls) {
					t.Errorf("%d of %d calls are reported", next, len(calls))
				}
			}
		})
	}
	working.Wait()
	close(over)
	killing.Wait()
	times, outcomes := map[string]int{}, map[string]int{}
	for _, line := range j.said() {
		times[line]++
	}
	for id, outcome := range ran {
		outcomes[outcome]++
		if times[id] > 1 || times[id] == 0 && outcome == "done" {
			t.Errorf("%s is %s and ran %d times", id, outcome, times[id])
		}
		if name, _, _ := strings.Cut(id, " "); name == "hang" && outcome == "done" || name == "fail" && outcome == "done" {
			t.Errorf("%s is %s", id, outcome)
		}
	}
	t.Logf("outcomes %v", outcomes)
}

// act is what a call of the chaos does: mostly nothing.
func act(w, b, i int) string {
	switch {
	case w == 0 && i == 7:
		return "die"
	case w == 1 && b == 2 && i == 3:
		return "hang"
	case i%5 == 4:
		return "fail"
	}
	return "nothing"
}

func TestTheTimeThatAFileTakesToLoadIsNotTheCalls(t *testing.T) {
	p, _ := start(t, `const until = Date.now() + 500; while (Date.now() < until); export default () => {}`, nil)
	for _, r := range []engine.Result{run(t, p, sample(t, "1"), 300*time.Millisecond), run(t, p, sample(t, "2"), 300*time.Millisecond)} {
		if r.Err != nil {
			t.Error(r.Err)
		}
	}
}

func TestMoreCallsThanOneMessageTakesAreMadeInOrder(t *testing.T) {
	p, j := start(t, actor, nil)
	var calls []engine.Call
	var want []string
	for i := range 600 {
		ev := sample(t, fmt.Sprint(i))
		ev.Body = append(slices.Clone(ev.Body), strings.Repeat(" ", 20_000)...)
		calls = append(calls, engine.Call{Event: ev, Timeout: time.Minute})
		want = append(want, ev.ID)
	}
	var errs []error
	p.Run(t.Context(), calls, func(_ int, r engine.Result) { errs = append(errs, r.Err) })
	if err := errors.Join(errs...); err != nil || len(errs) != len(calls) || !slices.Equal(j.said(), want) {
		t.Errorf("%d results, %d calls: %v", len(errs), len(j.said()), err)
	}
}

func TestAnEventThatIsLargerThanTheMemoryFailsAloneAndHarmsNoOther(t *testing.T) {
	p, _ := start(t, `export default (event) => { event.raw.length }`, nil)
	big := &core.Event{ID: "big", Body: make([]byte, 200<<20)}
	if err := run(t, p, big, time.Minute).Err; core.KindOf(err) != core.Crashed || !strings.Contains(err.Error(), "memory limit of 128MiB exceeded") {
		t.Errorf("error %v", err)
	}
	if err := run(t, p, sample(t, "1"), time.Minute).Err; err != nil {
		t.Error(err)
	}
}
