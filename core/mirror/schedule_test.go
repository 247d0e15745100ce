package mirror_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pipehook/pipehook/core/mirror"
)

// scheduled runs a schedule for so long and says when it compared, from the start on.
func scheduled(t *testing.T, timing mirror.Timing, lasts time.Duration, gap func() time.Time, run func(n int) error) (at []time.Duration) {
	t.Helper()
	return scheduledBy(t, func() mirror.Timing { return timing }, lasts, gap, run)
}

func scheduledBy(t *testing.T, timing func() mirror.Timing, lasts time.Duration, gap func() time.Time, run func(n int) error) (at []time.Duration) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		gap := func(context.Context) (time.Time, error) {
			if gap == nil {
				return time.Time{}, nil
			}
			return gap(), nil
		}
		s := mirror.NewSchedule(timing, gap, never, func(context.Context) (mirror.Report, error) {
			at = append(at, time.Since(began))
			return mirror.Report{}, run(len(at))
		}, slog.New(slog.DiscardHandler))
		ctx, end := context.WithTimeout(t.Context(), lasts)
		defer end()
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	return at
}

func well(int) error { return nil }

func never(context.Context) (time.Time, error) { return time.Time{}, nil }

func TestComparisonsRunAtTheStartAndEverySoOften(t *testing.T) {
	at := scheduled(t, mirror.Timing{Every: time.Hour, AtStart: true}, 150*time.Minute, nil, well)
	if len(at) != 3 || at[0] != 0 || at[1] < time.Hour || at[1] > 62*time.Minute {
		t.Errorf("they ran at %v", at)
	}
	if at := scheduled(t, mirror.Timing{}, 150*time.Minute, nil, well); len(at) != 0 {
		t.Errorf("without a time they ran at %v", at)
	}
}

// gapAt is a gap that a comparison ends once it has settled. Times are of the bubble that the test runs in.
type gapAt struct{ at time.Time }

func (g *gapAt) noted() time.Time { return g.at }

func (g *gapAt) ended(int) error {
	if time.Since(g.at) >= 5*time.Minute {
		g.at = time.Time{}
	}
	return nil
}

func TestAGapIsLookedAtOnceItHasSettled(t *testing.T) {
	g := &gapAt{}
	began := time.Time{}
	at := scheduled(t, mirror.Timing{Every: 24 * time.Hour, Settle: 5 * time.Minute}, time.Hour, func() time.Time {
		if began.IsZero() {
			began = time.Now()
		}
		if now := time.Now(); g.at.IsZero() && now.Sub(began) > 0 && now.Sub(began) < 2*time.Minute {
			g.at = now
		}
		return g.noted()
	}, g.ended)
	if len(at) != 1 || at[0] < 6*time.Minute || at[0] > 8*time.Minute {
		t.Errorf("it ran at %v", at)
	}
}

// The process before may have noted the gap.
func TestAStartAfterAGapComparesAtOnceAndOnceItHasSettled(t *testing.T) {
	for _, start := range []bool{true, false} {
		g := &gapAt{}
		var once sync.Once
		noted := func() time.Time {
			once.Do(func() { g.at = time.Now().Add(-time.Minute) })
			return g.noted()
		}
		at := scheduled(t, mirror.Timing{Every: 24 * time.Hour, AtStart: start, Settle: 5 * time.Minute}, time.Hour, noted, g.ended)
		want := 1
		if start {
			want++
		}
		if last := len(at) - 1; len(at) != want || start && at[0] != 0 || at[last] < 4*time.Minute || at[last] > 6*time.Minute {
			t.Errorf("it ran at %v", at)
		}
	}
}

// That there is a gap, and the comparison of all that it asks for, is not a reason to compare again and again.
func TestAnObjectThatAlwaysFailsIsTriedAgainNoMoreOftenThanAllIsCompared(t *testing.T) {
	broken := func(int) error { return errors.New("one object can't be compared") }
	var since time.Time
	gap := func() time.Time {
		if since.IsZero() {
			since = time.Now()
		}
		return since
	}
	at := scheduled(t, mirror.Timing{Every: 10 * time.Minute, AtStart: true, Settle: 5 * time.Minute}, 24*time.Hour, gap, broken)
	if n := len(at); n < 100 || n > 155 {
		t.Errorf("every 10m it ran %d times in a day", n)
	}
	since = time.Time{}
	at = scheduled(t, mirror.Timing{AtStart: true, Settle: 5 * time.Minute}, 24*time.Hour, gap, broken)
	if n := len(at); n < 20 || n > 31 {
		t.Errorf("it ran %d times in a day", n)
	}
}

func TestAGapThatStaysDoesNotHaveAllComparedAllTheTime(t *testing.T) {
	var since time.Time
	at := scheduled(t, mirror.Timing{Settle: 5 * time.Minute}, time.Hour, func() time.Time {
		if since.IsZero() {
			since = time.Now().Add(-time.Hour)
		}
		return since
	}, well)
	if len(at) < 2 || len(at) > 61 {
		t.Errorf("it ran %d times in an hour", len(at))
	}
}

func TestAComparisonThatFailsIsTriedAgainLaterAndLater(t *testing.T) {
	at := scheduled(t, mirror.Timing{Every: 24 * time.Hour, AtStart: true}, 4*time.Hour, nil, func(n int) error {
		if n < 4 {
			return errors.New("down")
		}
		return nil
	})
	if len(at) != 4 || at[1] < time.Minute || at[2]-at[1] < 2*time.Minute || at[3]-at[2] < 4*time.Minute || at[3] > 15*time.Minute {
		t.Errorf("they ran at %v", at)
	}
}

// A reload may take out the listener that keeps the tables.
func TestWhatFailedIsNotTriedAgainOnceThereIsNothingToCompare(t *testing.T) {
	off := false
	noted := func() time.Time { return time.Now().Add(-time.Hour) }
	at := scheduledBy(t, func() mirror.Timing { return mirror.Timing{Every: time.Hour * 24, AtStart: true, Off: off} }, 24*time.Hour, noted, func(int) error {
		off = true
		return errors.New("there are no tables")
	})
	if len(at) != 1 {
		t.Errorf("they ran at %v", at)
	}
}

func TestAScheduleWaitsForAnotherProcess(t *testing.T) {
	at := scheduled(t, mirror.Timing{Every: 24 * time.Hour, AtStart: true}, time.Hour, nil, func(n int) error {
		if n == 1 {
			return &mirror.Busy{Owner: "another", Until: time.Now().Add(10 * time.Minute)}
		}
		return nil
	})
	if len(at) != 2 || at[1] < 10*time.Minute || at[1] > 12*time.Minute {
		t.Errorf("they ran at %v", at)
	}
}

// shared is what processes with the same tables know of comparisons.
type shared struct {
	mu       sync.Mutex
	busy     bool
	compared time.Time
	ran      []time.Time
}

func (s *shared) last(context.Context) (time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.compared, nil
}

// compare takes ten seconds, or fails.
func (s *shared) compare(err error) error {
	s.mu.Lock()
	if s.busy {
		defer s.mu.Unlock()
		return &mirror.Busy{Owner: "another", Until: time.Now().Add(time.Minute)}
	}
	s.busy = true
	s.ran = append(s.ran, time.Now())
	s.mu.Unlock()
	time.Sleep(10 * time.Second)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy = false; err == nil {
		s.compared = time.Now()
	}
	return err
}

// process runs a schedule beside others from a time on.
func (s *shared) process(ctx context.Context, timing mirror.Timing, after time.Duration, fails error) {
	time.Sleep(after)
	run := func(context.Context) (mirror.Report, error) { return mirror.Report{}, s.compare(fails) }
	_ = mirror.NewSchedule(func() mirror.Timing { return timing }, never, s.last, run, slog.New(slog.DiscardHandler)).Run(ctx)
}

func TestOfProcessesWithTheSameTablesOneCompares(t *testing.T) {
	timing := mirror.Timing{Every: time.Hour, AtStart: true}
	for name, test := range map[string]struct {
		starts []time.Duration // of the processes
		fails  int             // so many of them can't compare
		want   []time.Duration // they begin to compare, at first
		all    bool            // and no more often
	}{
		"that start together":       {[]time.Duration{0, time.Second, 9 * time.Second}, 0, []time.Duration{0, time.Hour, 2 * time.Hour}, true},
		"of which one starts later": {[]time.Duration{0, 30 * time.Minute}, 0, []time.Duration{0, 30 * time.Minute, 90 * time.Minute}, true},
		"of which one fails":        {[]time.Duration{0, 20 * time.Second}, 1, []time.Duration{0, 20 * time.Second}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				s := &shared{compared: began.Add(-time.Second)} // by the process before them
				ctx, end := context.WithTimeout(t.Context(), 150*time.Minute)
				defer end()
				var all sync.WaitGroup
				for i, start := range test.starts {
					var err error
					if i < test.fails {
						err = errors.New("it can't")
					}
					all.Go(func() { s.process(ctx, timing, start, err) })
				}
				all.Wait()
				if len(s.ran) < len(test.want) || test.all && len(s.ran) > len(test.want) {
					t.Fatalf("they ran at %v", s.ran)
				}
				for i, want := range test.want {
					if at := s.ran[i].Sub(began); at < want || at > want+2*time.Minute {
						t.Errorf("they ran at %v", s.ran)
					}
				}
			})
		})
	}
}

// All that share the tables become due together after a gap.
func TestAGapThatAnotherProcessHasLookedAtIsNotLookedAtAgain(t *testing.T) {
	var noted, until time.Time
	gap := func() time.Time {
		switch {
		case noted.IsZero():
			noted = time.Now()
		case !until.IsZero() && time.Now().After(until.Add(-time.Minute)):
			return time.Time{}
		}
		return noted
	}
	busy := func(int) error {
		until = time.Now().Add(5 * time.Minute)
		return &mirror.Busy{Owner: "another", Until: until}
	}
	at := scheduled(t, mirror.Timing{Every: 24 * time.Hour, Settle: 5 * time.Minute}, 12*time.Hour, gap, busy)
	if len(at) != 1 {
		t.Errorf("it ran at %v", at)
	}
}

func TestAGapThatAnotherProcessLeavesIsLookedAtOnceThatMayHaveDied(t *testing.T) {
	var noted time.Time
	gap := func() time.Time {
		if noted.IsZero() {
			noted = time.Now()
		}
		return noted
	}
	at := scheduled(t, mirror.Timing{Every: 24 * time.Hour, Settle: 5 * time.Minute}, 30*time.Minute, gap, func(n int) error {
		if n == 1 {
			return &mirror.Busy{Owner: "another", Until: time.Now().Add(10 * time.Minute)}
		}
		noted = time.Now().Add(time.Hour)
		return nil
	})
	if len(at) != 2 || at[1]-at[0] < 10*time.Minute || at[1]-at[0] > 12*time.Minute {
		t.Errorf("they ran at %v", at)
	}
}

// To try again would show the same.
func TestADoubtOfDeletionsIsNoReasonToCompareSooner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		s := mirror.NewSchedule(func() mirror.Timing { return mirror.Timing{Every: time.Hour, AtStart: true} }, never, never, func(context.Context) (mirror.Report, error) {
			n++
			return mirror.Doubted(errors.New("all are gone")), nil
		}, slog.New(slog.DiscardHandler))
		ctx, end := context.WithTimeout(t.Context(), 150*time.Minute)
		defer end()
		if err := s.Run(ctx); err != nil || n != 3 {
			t.Errorf("it ran %d times, %v", n, err)
		}
	})
}
