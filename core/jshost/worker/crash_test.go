//go:build unix

package worker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/effect"
	"github.com/pipehook/pipehook/core/jshost/engine"
	"github.com/pipehook/pipehook/core/jshost/worker"
)

// actor does with each event what its id says, and says first that it does.
const actor = `
const acts = {
  die() { new ArrayBuffer(2 ** 40) },
  loop() { for (;;); },
  hang() { return /(a+)+\1$/.test("a".repeat(40) + "!") },
  fail() { throw new Error("on purpose") },
  wait() { const until = Date.now() + 2000; while (Date.now() < until); },
};
export default (event) => {
  console.log(event.id);
  const act = acts[event.id.split(" ")[0]];
  if (act) act();
}`

func two(o *worker.Options) { o.Size = 2 }

// heard waits until the script has said a line.
func heard(t *testing.T, j *journal, line string) {
	t.Helper()
	until(t, "the line "+line, func() bool { return slices.Contains(j.said(), line) })
}

func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for began := time.Now(); !done(); time.Sleep(2 * time.Millisecond) {
		if time.Since(began) > 20*time.Second {
			t.Fatalf("not after 20s: %s", what)
		}
	}
}

func kinds(errs []error) (texts []string) {
	for _, err := range errs {
		switch {
		case err == nil:
			texts = append(texts, "done")
		case errors.Is(err, context.DeadlineExceeded):
			texts = append(texts, "late")
		default:
			texts = append(texts, core.KindOf(err).String())
		}
	}
	return texts
}

func TestACallThatEndsItsProcessHasCrashedAndTheOthersOfItsBatchHaveNot(t *testing.T) {
	p, j := start(t, actor, nil)
	errs := batch(t, p, 5*time.Second, "1", "2", "die", "3", "fail", "4")
	if got, want := kinds(errs), []string{"done", "done", "crashed", "done", "internal", "done"}; !slices.Equal(got, want) {
		t.Errorf("outcomes %q, want %q: %v", got, want, errs)
	}
	if got, want := j.said(), []string{"1", "2", "die", "3", "fail", "4"}; !slices.Equal(got, want) {
		t.Errorf("calls %q, want each once: %q", got, want)
	}
	if !strings.Contains(fmt.Sprint(errs[2]), "memory limit of 128MiB exceeded") {
		t.Errorf("error %v", errs[2])
	}
}

func TestHowLongACallTookIsKnownAlsoWhenItEndedItsProcess(t *testing.T) {
	p, _ := start(t, actor, nil)
	for id, least := range map[string]time.Duration{"die": 1, "hang": 200 * time.Millisecond} {
		if r := run(t, p, sample(t, id), 200*time.Millisecond); r.Err == nil || r.Took < least {
			t.Errorf("%s took %s: %v", id, r.Took, r.Err)
		}
	}
}

func TestACallThatHangsIsLateAndTheRestOfItsBatchRunsInAnotherProcess(t *testing.T) {
	p, j := start(t, actor, nil)
	errs := batch(t, p, time.Second, "1", "hang", "2", "loop", "3")
	if got, want := kinds(errs), []string{"done", "late", "done", "late", "done"}; !slices.Equal(got, want) {
		t.Errorf("outcomes %q, want %q: %v", got, want, errs)
	}
	if got, want := j.said(), []string{"1", "hang", "2", "loop", "3"}; !slices.Equal(got, want) {
		t.Errorf("calls %q, want each once: %q", got, want)
	}
}

// beside runs a call while another one runs, and returns both errors.
func beside(t *testing.T, p *worker.Process, j *journal, first, second string, timeout time.Duration) (errs [2]error) {
	t.Helper()
	var running sync.WaitGroup
	running.Go(func() { errs[0] = run(t, p, sample(t, first), time.Minute).Err })
	heard(t, j, first)
	errs[1] = run(t, p, sample(t, second), timeout).Err
	running.Wait()
	return errs
}

func TestCallsThatRanWhenTheProcessDiedAreAloneTheNextTime(t *testing.T) {
	p, j := start(t, actor, two)
	errs := beside(t, p, j, "wait 1", "die", time.Minute)
	if got, want := kinds(errs[:]), []string{"crashed", "crashed"}; !slices.Equal(got, want) {
		t.Fatalf("outcomes %q, want %q: %v", got, want, errs)
	}
	// The one that is innocent waits for the other, which is alone.
	var running sync.WaitGroup
	var again [2]error
	running.Go(func() { again[0] = run(t, p, sample(t, "wait 1"), time.Minute).Err })
	until(t, "the first call again", func() bool { return len(j.said()) == 3 })
	running.Go(func() { again[1] = run(t, p, sample(t, "die"), time.Minute).Err })
	running.Wait()
	if got, want := kinds(again[:]), []string{"done", "crashed"}; !slices.Equal(got, want) {
		t.Errorf("outcomes %q, want %q: %v", got, want, again)
	}
	if errs := batch(t, p, time.Minute, "1", "wait 1", "2"); errors.Join(errs...) != nil {
		t.Errorf("afterwards: %v", errs)
	}
}

func TestACallBesideOneThatHadToBeEndedHasNotCrashed(t *testing.T) {
	p, j := start(t, actor, two)
	errs := beside(t, p, j, "loop", "hang", 200*time.Millisecond)
	if got, want := kinds(errs[:]), []string{"listener_failed", "late"}; !slices.Equal(got, want) {
		t.Errorf("outcomes %q, want %q: %v", got, want, errs)
	}
}

func TestADeadProcessIsReplacedAtOnce(t *testing.T) {
	p, _ := start(t, actor, nil)
	run(t, p, sample(t, "1"), time.Minute)
	old := p.Pid()
	began := time.Now()
	run(t, p, sample(t, "die"), time.Minute)
	until(t, "another process", func() bool { return p.Pid() != 0 && p.Pid() != old })
	if r := run(t, p, sample(t, "2"), time.Minute); r.Err != nil {
		t.Error(r.Err)
	}
	t.Logf("dead, replaced and one event further after %s", time.Since(began).Round(time.Millisecond))
}

func TestWhoeverWaitsForACallMayStopWaiting(t *testing.T) {
	p, j := start(t, actor, nil)
	for _, id := range []string{"loop", "hang"} {
		ctx, cancel := context.WithCancel(t.Context())
		var errs []error
		var running sync.WaitGroup
		running.Go(func() {
			calls := []engine.Call{{Event: sample(t, id), Timeout: time.Hour}, {Event: sample(t, "after "+id), Timeout: time.Hour}}
			p.Run(ctx, calls, func(_ int, r engine.Result) { errs = append(errs, r.Err) })
		})
		heard(t, j, id)
		cancel()
		running.Wait()
		if len(errs) != 2 || !errors.Is(errs[0], context.Canceled) || !errors.Is(errs[1], context.Canceled) {
			t.Errorf("%s: errors %v", id, errs)
		}
		if slices.Contains(j.said(), "after "+id) {
			t.Error("a call began that nobody waited for")
		}
	}
}

func TestADeadlineOfTheContextIsOneOfTheCall(t *testing.T) {
	p, _ := start(t, actor, nil)
	for id, want := range map[string]string{"loop": "deadline of 1s exceeded at ", "hang": "deadline exceeded in a function that can't be interrupted"} {
		if r := run(t, p, sample(t, "nothing"), time.Minute); r.Err != nil { // the start takes its time
			t.Fatal(r.Err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		p.Run(ctx, []engine.Call{{Event: sample(t, id)}}, func(_ int, r engine.Result) {
			if !errors.Is(r.Err, context.DeadlineExceeded) || !strings.Contains(r.Err.Error(), want) {
				t.Errorf("%s: error %v, want %q", id, r.Err, want)
			}
		})
		cancel()
	}
}

func TestWhoStopsAServiceDoesNotEndWhatRuns(t *testing.T) {
	p, j := start(t, actor, nil)
	var err error
	var running sync.WaitGroup
	running.Go(func() { err = run(t, p, sample(t, "wait 1"), time.Minute).Err })
	heard(t, j, "wait 1")
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		if err := syscall.Kill(p.Pid(), signal); err != nil {
			t.Fatal(err)
		}
	}
	running.Wait()
	if err != nil {
		t.Error(err)
	}
}

func TestAProcessThatIsIdleEndsAndIsStartedAgain(t *testing.T) {
	p, j := start(t, actor, func(o *worker.Options) { o.Idle = 50 * time.Millisecond })
	for range 2 {
		if r := run(t, p, sample(t, "1"), time.Minute); r.Err != nil {
			t.Fatal(r.Err)
		}
		until(t, "the end of the process", func() bool { return p.Pid() == 0 })
	}
	if len(j.said()) != 2 {
		t.Errorf("calls %q", j.said())
	}
}

func TestAProcessIsStartedBeforeTheFirstCall(t *testing.T) {
	p, _ := start(t, actor, nil)
	p.Warm()
	until(t, "a process", func() bool { return p.Pid() != 0 })
	warm := p.Pid()
	if r := run(t, p, sample(t, "1"), time.Minute); r.Err != nil || p.Pid() != warm {
		t.Errorf("%v, process %d, want %d", r.Err, p.Pid(), warm)
	}
}

func TestCloseWaitsForWhatRunsAndLaterCallsFail(t *testing.T) {
	p, j := start(t, actor, two)
	var err error
	var running sync.WaitGroup
	running.Go(func() { err = run(t, p, sample(t, "wait 1"), time.Minute).Err })
	heard(t, j, "wait 1")
	p.Close()
	running.Wait()
	if err != nil {
		t.Error(err)
	}
	if err := run(t, p, sample(t, "2"), time.Minute).Err; core.KindOf(err) != core.Unavailable {
		t.Errorf("after Close: %v", err)
	}
	p.Close()
}

// crowd counts those who ask at the same time.
type crowd struct {
	host
	now, most atomic.Int32
}

func (c *crowd) KV(context.Context, effect.Caller, *effect.KVOp) (*effect.KVResult, error) {
	now := c.now.Add(1)
	defer c.now.Add(-1)
	for most := c.most.Load(); now > most && !c.most.CompareAndSwap(most, now); most = c.most.Load() {
	}
	time.Sleep(time.Millisecond)
	return &effect.KVResult{}, nil
}

func TestNoMoreCallsRunThanThereAreRuntimes(t *testing.T) {
	all := &crowd{}
	p, _ := start(t, `export default (event, ctx) => ctx.kv.get("a")`, func(o *worker.Options) { o.Size, o.Host = 2, all })
	var running sync.WaitGroup
	for i := range 8 {
		running.Go(func() {
			for n := range 20 {
				if err := run(t, p, sample(t, fmt.Sprint(i, n)), time.Minute).Err; err != nil {
					t.Error(err)
				}
			}
		})
	}
	running.Wait()
	if most := all.most.Load(); most < 1 || most > 2 {
		t.Errorf("%d calls ran at a time", most)
	}
}

func TestAFileThatEndsTheProcessWhileItIsLoadedFailsTheCalls(t *testing.T) {
	p, _ := start(t, `const n = 1n; export const big = n << (n << 40n); export default () => {}`, nil)
	errs := batch(t, p, time.Second, "1", "2")
	for _, err := range errs {
		if core.KindOf(err) != core.Unavailable || !strings.Contains(err.Error(), "memory limit of 128MiB exceeded") {
			t.Errorf("error %v", err)
		}
	}
}

func TestAFileThatCanNotBeLoadedFailsTheCallsAndSaysWhere(t *testing.T) {
	p, _ := start(t, "export default () => {};\nthrow new Error('not today')", nil)
	err := run(t, p, sample(t, "1"), time.Second).Err
	if err == nil || !strings.Contains(err.Error(), "it.js:2:") || !strings.Contains(err.Error(), "not today") {
		t.Errorf("error %v", err)
	}
}
