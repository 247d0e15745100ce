//go:build unix

package plughost

import (
	"slices"
	"testing"
	"time"
)

func TestTheBreakerOpensForThoseWhoKeepCrashing(t *testing.T) {
	const s = time.Second
	var (
		crash  = run{began: true, lasted: s, handled: 99}
		long   = run{began: true, lasted: time.Minute}
		busy   = run{began: true, lasted: s, handled: 100}
		hang   = run{began: true, lasted: s, hung: true}
		failed = run{}
	)
	for _, test := range []struct {
		name   string
		runs   []run
		want   []time.Duration // the pause after each
		opened []int           // with which of them it opened
	}{
		{"one crash", []run{crash}, []time.Duration{0}, nil},
		{"crash after crash", slices.Repeat([]run{crash}, 12), []time.Duration{0, 0, 0, 0, s, 2 * s, 4 * s, 8 * s, 16 * s, 32 * s, 60 * s, 60 * s}, []int{4}},
		{"a run that lasts ends the row", []run{crash, crash, crash, crash, long, crash, crash, crash, crash, crash}, []time.Duration{0, 0, 0, 0, 0, 0, 0, 0, 0, s}, []int{9}},
		{"so do many events", []run{crash, crash, crash, crash, crash, busy, crash}, []time.Duration{0, 0, 0, 0, s, 0, 0}, []int{4}},
		{"a hang is found slowly and says nothing", []run{hang, hang, hang, hang, hang, hang, crash, hang}, make([]time.Duration, 8), nil},
		{"a hang among crashes clears nothing", []run{crash, crash, crash, crash, crash, hang, crash}, []time.Duration{0, 0, 0, 0, s, s, 2 * s}, []int{4}},
		{"starts that fail", []run{failed, failed, failed, failed}, []time.Duration{0, s, 2 * s, 4 * s}, []int{1}},
		{"a start that fails after a crash", []run{crash, failed, failed, busy, failed, failed}, []time.Duration{0, 0, s, 0, 0, s}, []int{2, 5}},
	} {
		b := breaker{limits: Limits{}.orUsual()}
		var got []time.Duration
		var opened []int
		for i, r := range test.runs {
			pause, now := b.after(r)
			got = append(got, pause)
			if now {
				opened = append(opened, i)
			}
		}
		if !slices.Equal(got, test.want) || !slices.Equal(opened, test.opened) {
			t.Errorf("%s: pauses %v, want %v; opened by %v, want %v", test.name, got, test.want, opened, test.opened)
		}
	}
}

func TestTheBreakerClosesWhileTheRunThatLastsGoesOn(t *testing.T) {
	b := breaker{limits: Limits{}.orUsual()}
	for range maxCrashes {
		b.after(run{began: true})
	}
	if b.lasts(run{began: true, lasted: 59 * time.Second}) || !b.open() {
		t.Error("it closed too early")
	}
	if !b.lasts(run{began: true, lasted: time.Minute}) || b.open() {
		t.Error("it did not close")
	}
	if b.lasts(run{began: true, lasted: time.Hour}) {
		t.Error("it closed twice")
	}
}
