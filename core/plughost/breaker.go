//go:build unix

package plughost

import "time"

const (
	// lasting is how long a process must run, or how many events it must have handled, for its end to
	// say nothing of the next one's.
	lasting       = time.Minute
	lastingEvents = 100

	// maxCrashes is how many runs in a row may end sooner, by themselves or since a call to them failed, before
	// the next starts are put off.
	maxCrashes = 5
)

// run is what came of one start.
type run struct {
	began   bool // it has taken its configuration
	lasted  time.Duration
	handled int  // events
	hung    bool // so we have ended it
}

func (r *run) good() bool { return r.lasted >= lasting || r.handled >= lastingEvents }

// breaker says when a plugin is started again:
//
//   - A run that lasted, or handled events enough, is followed by the next at once, and all before is forgotten.
//   - So is one that ended sooner; but from the fifth of them in a row on the breaker is open, and the
//     starts are a pause apart, which doubles.
//   - A start that came to nothing weighs as much as four of those: the first is tried again at once, the
//     second opens the breaker.
//   - A run that we have ended, since it hung, took long to be found, and changes nothing.
type breaker struct {
	limits  Limits
	crashes int // in a row
}

// after takes what came of a run. It returns how long to wait for the next, and whether that opened the
// breaker.
func (b *breaker) after(r run) (pause time.Duration, opened bool) {
	was := b.open()
	switch {
	case r.good():
		b.crashes = 0
	case !r.began:
		b.crashes = max(b.crashes, maxCrashes-2) + 1
	case !r.hung:
		b.crashes++
	}
	return b.pause(), b.open() && !was
}

// lasts closes the breaker when the run that goes on is good, and reports whether that changed something.
func (b *breaker) lasts(r run) bool {
	was := b.open()
	if r.good() {
		b.crashes = 0
	}
	return was && !b.open()
}

func (b *breaker) open() bool { return b.crashes >= maxCrashes }

func (b *breaker) pause() time.Duration {
	if !b.open() {
		return 0
	}
	pause := b.limits.FirstPause
	for range b.crashes - maxCrashes {
		if pause *= 2; pause >= b.limits.LastPause {
			return b.limits.LastPause
		}
	}
	return pause
}
