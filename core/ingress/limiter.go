package ingress

import (
	"sync"
	"time"
)

// limiter lets a few log lines of each kind through in a second and counts the rest, so that a
// stranger can't fill the log.
type limiter struct {
	now func() time.Time

	mu    sync.Mutex
	kinds map[string]*window // one for each code, and those are few
}

type window struct {
	began        time.Time
	logged, left int
}

const linesPerSecond = 10

func newLimiter(now func() time.Time) *limiter {
	return &limiter{now: now, kinds: map[string]*window{}}
}

// allow reports whether to log, and how many of the kind were not logged since the last that was.
func (l *limiter) allow(kind string) (ok bool, left int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.kinds[kind]
	if w == nil {
		w = &window{}
		l.kinds[kind] = w
	}
	if now := l.now(); now.Sub(w.began) >= time.Second {
		w.began, w.logged = now, 0
	}
	if w.logged == linesPerSecond {
		w.left++
		return false, 0
	}
	w.logged++
	left, w.left = w.left, 0
	return true, left
}
