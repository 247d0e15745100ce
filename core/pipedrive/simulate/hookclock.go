package simulate

import "time"

// hookClock is the time that retries, bans and the end of webhooks go by.
type hookClock interface {
	After(d time.Duration, f func()) (stop func()) // f runs on a goroutine of its own
}

// scaled is the time of day, so many times as fast.
type scaled float64

func (s scaled) After(d time.Duration, f func()) func() {
	t := time.AfterFunc(time.Duration(float64(d)/float64(s)), f)
	return func() { t.Stop() }
}

// gauge counts what is under way, so that somebody can wait until nothing is. Its owner locks it.
type gauge struct {
	n    int
	zero chan struct{} // closed when n is 0; nil while nobody waits
}

func (g *gauge) add(n int) {
	if g.n += n; g.n == 0 && g.zero != nil {
		close(g.zero)
		g.zero = nil
	}
}

// done is closed when nothing is under way; nil when nothing is.
func (g *gauge) done() <-chan struct{} {
	if g.n == 0 {
		return nil
	}
	if g.zero == nil {
		g.zero = make(chan struct{})
	}
	return g.zero
}
