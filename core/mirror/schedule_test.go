package mirror_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pipehook/pipehook/core/mirror"
)

// scheduled runs a schedule for so long and says when it compared, from the start on.
func scheduled(t *testing.T, timing mirror.Timing, lasts time.Duration, during func(s *mirror.Schedule), run func(n int) error) (at []time.Duration, sweeps int) {
	t.Helper()
	return scheduledBy(t, func() mirror.Timing { return timing }, lasts, during, run)
}

func scheduledBy(t *testing.T, timing func() mirror.Timing, lasts time.Duration, during func(s *mirror.Schedule), run func(n int) error) (at []time.Duration, sweeps int) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		s := mirror.NewSchedule(timing, func(_ context.Context, sweep bool) (mirror.Report, error) {
			at = append(at, time.Since(began))
			if sweep {
				sweeps++
			}
			return mirror.Report{}, run(len(at))
		}, slog.New(slog.DiscardHandler))
		ctx, end := context.WithTimeout(t.Context(), lasts)
		defer end()
		ended := make(chan struct{})
		go func() { // waited for
			defer close(ended)
			if err := s.Run(ctx); err != nil {
				t.Error(err)
			}
		}()
		if during != nil {
			during(s)
		}
		<-ended
	})
	return at, sweeps
}

func well(int) error { return nil }

func TestComparisonsRunAtTheStartAndEverySoOften(t *testing.T) {
	at, _ := scheduled(t, mirror.Timing{Every: time.Hour, AtStart: true}, 150*time.Minute, nil, well)
	if len(at) != 3 || at[0] != 0 || at[1] < time.Hour || at[1] > 62*time.Minute {
		t.Errorf("they ran at %v", at)
	}
	if at, _ := scheduled(t, mirror.Timing{}, 150*time.Minute, nil, well); len(at) != 0 {
		t.Errorf("without a time they ran at %v", at)
	}
}

func TestAGapIsLookedAtOnceItHasSettled(t *testing.T) {
	at, sweeps := scheduled(t, mirror.Timing{Every: 24 * time.Hour, Settle: 5 * time.Minute}, time.Hour, func(s *mirror.Schedule) {
		time.Sleep(time.Minute) // of the bubble's time
		s.Gap(time.Now(), "a ban")
	}, well)
	if len(at) != 1 || sweeps != 1 || at[0] < 6*time.Minute || at[0] > 8*time.Minute {
		t.Errorf("it ran at %v, %d sweeps", at, sweeps)
	}
}

func TestAStartAfterAnOutageComparesAtOnceAndAllIDsOnceItHasSettled(t *testing.T) {
	at, sweeps := scheduled(t, mirror.Timing{Every: 24 * time.Hour, AtStart: true, Settle: 5 * time.Minute}, time.Hour, func(s *mirror.Schedule) {
		s.Gap(time.Now().Add(-time.Hour), "no process served")
	}, well)
	if len(at) != 2 || sweeps != 1 || at[0] != 0 || at[1] < 5*time.Minute || at[1] > 7*time.Minute {
		t.Errorf("it ran at %v, %d sweeps", at, sweeps)
	}
}

func TestAComparisonThatFailsIsTriedAgainLaterAndLater(t *testing.T) {
	at, _ := scheduled(t, mirror.Timing{Every: 24 * time.Hour, AtStart: true}, 4*time.Hour, nil, func(n int) error {
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
	at, _ := scheduledBy(t, func() mirror.Timing { return mirror.Timing{Every: time.Hour * 24, AtStart: true, Off: off} }, 24*time.Hour, func(s *mirror.Schedule) {
		s.Gap(time.Now(), "a ban")
	}, func(int) error {
		off = true
		return errors.New("there are no tables")
	})
	if len(at) != 1 {
		t.Errorf("they ran at %v", at)
	}
}

func TestAScheduleWaitsForAnotherProcess(t *testing.T) {
	at, _ := scheduled(t, mirror.Timing{Every: 24 * time.Hour, AtStart: true}, time.Hour, nil, func(n int) error {
		if n == 1 {
			return &mirror.Busy{Owner: "another", Until: time.Now().Add(10 * time.Minute)}
		}
		return nil
	})
	if len(at) != 2 || at[1] < 10*time.Minute || at[1] > 12*time.Minute {
		t.Errorf("they ran at %v", at)
	}
}
