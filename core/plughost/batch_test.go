//go:build unix

package plughost_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/plughost"
)

// deliveries are of events whose ids are their places and whose objects are these.
func deliveries(objects ...string) []core.Delivery {
	all := make([]core.Delivery, len(objects))
	for i, object := range objects {
		all[i] = core.Delivery{Event: core.Event{ID: strconv.Itoa(i), Object: object}}
	}
	return all
}

// handleAll hands deliveries over, of which as many may begin, and returns what was told.
func handleAll(t *testing.T, ctx context.Context, p *plughost.Plugin, timeout time.Duration, all []core.Delivery, may int) (outs []core.Outcome, begun int) {
	t.Helper()
	p.HandleBatch(ctx, timeout, all, func(i int) bool {
		if i != begun {
			t.Errorf("event %d was asked for after %d", i, begun)
		}
		if i >= may {
			return false
		}
		begun++
		return true
	}, func(i int, out core.Outcome) {
		if i != len(outs) || i >= begun {
			t.Errorf("event %d ended after %d, and %d had begun", i, len(outs), begun)
		}
		outs = append(outs, out)
	})
	if len(outs) != begun {
		t.Errorf("%d had begun and %d ended", begun, len(outs))
	}
	return outs, begun
}

// words says what came of each: well, or the kind of the error.
func words(outs []core.Outcome) string {
	var all []string
	for _, out := range outs {
		switch {
		case out.Err == nil:
			all = append(all, "well")
		case errors.Is(out.Err, context.Canceled):
			all = append(all, "cancelled")
		default:
			all = append(all, core.KindOf(out.Err).String())
		}
	}
	return strings.Join(all, " ")
}

func TestABatchIsHandledInOrderAndEachResultIsItsOwn(t *testing.T) {
	t.Parallel()
	p := newBench(t, plughost.Limits{}).lab(t, "")
	outs, _ := handleAll(t, t.Context(), p, 10*time.Second, deliveries("nothing", "never", "later", "pid", "pid", "nothing"), 6)
	if got, want := words(outs), "well permanent listener_failed listener_failed listener_failed well"; got != want {
		t.Fatalf("they ended %s, want %s", got, want)
	}
	if core.RetryAfter(outs[2].Err) != 90*time.Second || outs[3].Err.Error() != outs[4].Err.Error() {
		t.Errorf("results %+v", outs)
	}
	for i, out := range outs {
		if out.Code != p.Code() || out.Took <= 0 || out.Took > 5*time.Second {
			t.Errorf("event %d: took %s, code %q", i, out.Took, out.Code)
		}
	}
}

// What goes wrong in the middle of a batch is that event's alone.
func TestAnEventInTheMiddleOfABatchHasItsOwnFate(t *testing.T) {
	t.Parallel()
	for object, test := range map[string]struct {
		kind     core.Kind
		says     string
		ends     bool // the process
		innocent int  // others that may fail
	}{
		"slow":   {core.Failed, "deadline exceeded", false, 0},
		"loop":   {core.Failed, "did not answer within 300ms", true, 0},
		"freeze": {core.Failed, "did not answer within 300ms", true, 1}, // the results of others freeze with it
		"panic":  {core.Crashed, "the plugin has a bug", true, 0},
		"exit":   {core.Crashed, "exit status 7", true, 0},
	} {
		t.Run(object, func(t *testing.T) {
			t.Parallel()
			p := newBench(t, plughost.Limits{Answer: 200 * time.Millisecond, FirstPause: time.Millisecond}).lab(t, "")
			pid := number(t, p, "pid")
			timeout := 300 * time.Millisecond
			if test.kind == core.Crashed {
				timeout = 2 * time.Second // another process must be there by then
			}
			objects := slices.Repeat([]string{"nothing"}, 20)
			objects[11] = object
			outs, _ := handleAll(t, t.Context(), p, timeout, deliveries(objects...), 20)
			innocent := 0
			for i, out := range outs {
				if i == 11 || out.Err == nil {
					continue
				}
				if innocent++; innocent > test.innocent || core.KindOf(out.Err) == core.Crashed {
					t.Errorf("event %d: %v", i, out.Err)
				}
			}
			if err := outs[11].Err; err == nil || core.KindOf(err) != test.kind || !strings.Contains(err.Error(), test.says) {
				t.Errorf("it ended with %v", err)
			}
			if now := number(t, p, "pid"); (now != pid) != test.ends {
				t.Errorf("process %d, was %d", now, pid)
			}
		})
	}
}

// An event that has ended the process is alone the next time, so that it costs nobody anything, and
// those that were with it are cleared.
func TestWhoHasEndedTheProcessIsAloneTheNextTime(t *testing.T) {
	t.Parallel()
	b := newBench(t, plughost.Limits{})
	p := b.lab(t, `{"ran": true}`)
	all := deliveries("nothing", "nothing", "panic", "nothing", "nothing")
	for _, round := range []string{"first", "second"} {
		if err := os.WriteFile(filepath.Join(filepath.Dir(b.dir), "ran"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		outs, _ := handleAll(t, t.Context(), p, 10*time.Second, all, len(all))
		if got, want := words(outs), "well well crashed well well"; got != want {
			t.Errorf("%s: they ended %s, want %s", round, got, want)
		}
	}
	ran, err := os.ReadFile(filepath.Join(filepath.Dir(b.dir), "ran"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(strings.Fields(string(ran)), " "), "0 1 2 3 4"; got != want {
		t.Errorf("the second time %s ran, want %s", got, want)
	}
}

// Who was there when the process ended, and did not end it, is not blamed: not even once.
func TestACrashInCompanyIsBlamedOnWhoDoesItAlone(t *testing.T) {
	t.Parallel()
	p := newBench(t, plughost.Limits{}).lab(t, "")
	begun := make(chan struct{})
	var other sync.WaitGroup
	other.Go(func() {
		slow := core.Delivery{Event: core.Event{ID: "slow", Object: "slow"}}
		p.HandleBatch(t.Context(), 3*time.Second, []core.Delivery{slow}, func(int) bool {
			close(begun)
			return true
		}, func(_ int, out core.Outcome) {
			if core.KindOf(out.Err) != core.Failed {
				t.Errorf("who was beside it: %v", out.Err)
			}
		})
	})
	<-begun
	outs, _ := handleAll(t, t.Context(), p, 10*time.Second, deliveries("panic later"), 1)
	if got := words(outs); got != "crashed" {
		t.Errorf("it ended %s, want crashed (%v)", got, outs[0].Err)
	}
	other.Wait()
	until(t, "the process was started again twice: after the crash in company, and after that alone", func() bool { return p.State().Restarts >= 2 })
	if n := p.State().Restarts; n != 2 {
		t.Errorf("the process was started again %d times", n)
	}
}

func TestOfABatchOnlyWhatMayBeginRuns(t *testing.T) {
	t.Parallel()
	p := newBench(t, plughost.Limits{}).lab(t, "")
	for _, test := range []struct{ given, may int }{{100, 100}, {100, 41}, {3, 1}, {3, 0}} {
		outs, _ := handleAll(t, t.Context(), p, 10*time.Second, deliveries(make([]string, test.given)...), test.may)
		if len(outs) != test.may || strings.Count(words(outs), "well") != test.may {
			t.Errorf("of %d, of which %d may begin, ended %s", test.given, test.may, words(outs))
		}
	}
}

func TestNothingBeginsBeforeThereIsAProcess(t *testing.T) {
	t.Parallel()
	b := newBench(t, plughost.Limits{FirstPause: time.Hour, LastPause: time.Hour})
	spec := labSpec(filepath.Dir(b.dir))
	spec.Config = []byte(`{"greeting": "die"}`)
	p := b.Start(spec)
	outs, begun := handleAll(t, t.Context(), p, 100*time.Millisecond, deliveries("a", "b", "c"), 0)
	if begun != 0 || len(outs) != 0 {
		t.Errorf("%d had begun", begun)
	}
	// One that is tried all the same is told why.
	outs, begun = handleAll(t, t.Context(), p, 100*time.Millisecond, deliveries("a", "b", "c"), 3)
	if begun != 1 || words(outs) != "listener_unreached" {
		t.Errorf("%d had begun, and ended %s", begun, words(outs))
	}
}

func TestABatchThatNobodyWaitsForIsBrokenOff(t *testing.T) {
	t.Parallel()
	p := newBench(t, plughost.Limits{}).lab(t, "")
	pid := number(t, p, "pid")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	all := deliveries("nothing", "slow", "nothing", "nothing")
	var outs []core.Outcome
	p.HandleBatch(ctx, time.Hour, all, func(int) bool { return true }, func(_ int, out core.Outcome) {
		outs = append(outs, out)
		cancel()
	})
	if got, want := words(outs), "well cancelled cancelled cancelled"; got != want {
		t.Errorf("they ended %s, want %s", got, want)
	}
	if now := number(t, p, "pid"); now != pid {
		t.Error("the process was ended for it")
	}
}

// A plugin of the first days takes one event at a time.
func TestAnOldPluginIsHandedOneAtATime(t *testing.T) {
	t.Parallel()
	b := newBench(t, plughost.Limits{})
	spec := labSpec(filepath.Dir(b.dir))
	old := filepath.Join(t.TempDir(), oldLab)
	if err := os.Symlink(spec.Path, old); err != nil {
		t.Fatal(err)
	}
	spec.Path = old
	p := b.Start(spec)
	ended := 0
	p.HandleBatch(t.Context(), 20*time.Second, deliveries("a", "b", "c"), func(i int) bool {
		if i != ended {
			t.Errorf("event %d has begun when %d had ended", i, ended)
		}
		return true
	}, func(i int, out core.Outcome) {
		if ended++; out.Err == nil || !strings.HasPrefix(out.Err.Error(), "old "+strconv.Itoa(i)) || out.Took <= 0 {
			t.Errorf("event %d: %+v", i, out)
		}
	})
	if ended != 3 {
		t.Errorf("%d ended", ended)
	}
}

// However often the process is killed, each event's result is told, and told once.
func TestEachResultIsToldOnceThoughTheProcessIsKilledAgainAndAgain(t *testing.T) {
	t.Parallel()
	p := newBench(t, plughost.Limits{FirstPause: time.Millisecond, LastPause: time.Millisecond}).lab(t, `{"mortal": 40}`)
	const lanes, size = 8, 50
	kills := 10
	if n, err := strconv.Atoi(os.Getenv("PIPEHOOK_TEST_KILLS")); err == nil {
		kills = n
	}
	told := 0
	var wait sync.WaitGroup
	var mu sync.Mutex
	kinds := map[string]int{}
	for lane := range lanes {
		wait.Go(func() {
			for n := 0; p.State().Restarts < kills; n++ {
				all := make([]core.Delivery, size)
				for i := range all {
					all[i].Event = core.Event{ID: fmt.Sprint(lane, ".", n, ".", i)}
				}
				outs, _ := handleAll(t, t.Context(), p, 20*time.Second, all, size)
				mu.Lock()
				told += size
				for _, word := range strings.Fields(words(outs)) {
					kinds[word]++
				}
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	if all := kinds["well"] + kinds["crashed"]; all != told {
		t.Errorf("of %d were told %v", told, kinds)
	}
	if kinds["well"] < told/2 {
		t.Errorf("few ended well: %v", kinds)
	}
}

// BenchmarkABatch reports the time that both processes spend for an event, which says more than the rate
// where others work beside.
func BenchmarkABatch(b *testing.B) {
	h, err := plughost.Open(plughost.Options{Dir: filepath.Join(b.TempDir(), "p"), Log: discard()})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = h.Close() }()
	p := h.Start(labSpec(b.TempDir()))
	if err := p.Ready(b.Context()); err != nil {
		b.Fatal(err)
	}
	for _, size := range []int{1, 8, 64} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			all := make([]core.Delivery, size)
			for i := range all {
				all[i].Event = core.Event{ID: strconv.Itoa(i), Object: "nothing", Body: []byte(fmt.Sprintf(`{"a":%q}`, strings.Repeat("x", 2000)))}
				all[i].Event.Current = all[i].Event.Body[5:]
			}
			here, there := spent(b, os.Getpid()), spent(b, p.State().PID)
			b.ReportAllocs()
			for b.Loop() {
				p.HandleBatch(b.Context(), time.Minute, all, func(int) bool { return true }, func(_ int, out core.Outcome) {
					if out.Err != nil {
						b.Error(out.Err)
					}
				})
			}
			n := float64(b.N * size)
			b.ReportMetric(float64(spent(b, os.Getpid())-here)/n, "µs-here/event")
			b.ReportMetric(float64(spent(b, p.State().PID)-there)/n, "µs-there/event")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/n, "ns/event")
		})
	}
}

// spent is the processor time of a process in microseconds, as exactly as the system counts it.
func spent(b *testing.B, pid int) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Skip("the system does not tell")
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	var ticks int64
	for _, field := range strings.Fields(rest)[11:13] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return ticks * 10_000
}
