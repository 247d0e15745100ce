package pipedrive

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// verdict is what an answer says about the budget.
type verdict struct {
	Status  int
	Blocked bool
	Header  http.Header
}

// release learns from an answer, gives the slot back and lets the next ones go. Without an answer the slot rests all the same:
// the request may have arrived.
func (b *budget) release(sent time.Time, v *verdict) {
	now := b.now()
	b.flying--
	b.resting = append(b.resting, now.Add(window))
	if v != nil {
		b.learn(now, sent, v)
	}
	b.pump()
}

func (b *budget) learn(now, sent time.Time, v *verdict) {
	if limit, ok := number(v.Header, "X-Ratelimit-Limit"); ok && limit > 0 && limit < 100_000 {
		b.limit = int(limit)
	}
	reset := min(resetTime(now, v.Header), window) // a window that rolls gives back all within its length
	if left, ok := number(v.Header, "X-Ratelimit-Remaining"); ok && left >= 0 {
		// Of what is under way, nobody knows what Pipedrive had counted when it answered. More may be left than it said
		// before, as its window rolls; but an answer to what was sent before it said so may be the older one.
		if said := int(left) - b.flying; !now.Before(b.leftEnd) || said < b.left || said > b.left && sent.After(b.leftAt) {
			if reset <= 0 {
				reset = window
			}
			b.left, b.leftAt, b.leftEnd = said, now, now.Add(reset)
		}
	}
	b.day.learn(now, v)
	switch {
	case v.Blocked:
		if !now.Before(b.blockedTill) { // not once more for what was under way
			b.blockedTill = now.Add(min(firstBlock<<min(b.blocks, 4), mostBlock))
			b.blocks++
		}
	case v.Status == http.StatusTooManyRequests:
		b.pausedTill = later(b.pausedTill, now.Add(b.pause(now, v.Header)))
		b.pauses++
	case v.Status < 500:
		b.pauses, b.blocks = 0, 0
	}
}

// pause is how long to wait after a 429. Retry-After is not documented and honoured when it comes; what
// x-ratelimit-reset counts is not documented either, others read it as seconds.
func (b *budget) pause(now time.Time, h http.Header) time.Duration {
	if wait := retryAfter(now, h); wait > 0 {
		return wait
	}
	growing := min(firstPause<<min(b.pauses, 6), mostPause)
	if wait := resetTime(now, h); wait > 0 && b.pauses == 0 {
		return min(wait, mostPause)
	}
	return growing
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func number(h http.Header, name string) (int64, bool) {
	n, err := strconv.ParseInt(strings.TrimSpace(h.Get(name)), 10, 64)
	return n, err == nil
}

// resetTime is what x-ratelimit-reset says, as seconds from now or as a Unix time; 0 when it says nothing.
func resetTime(now time.Time, h http.Header) time.Duration {
	n, ok := number(h, "X-Ratelimit-Reset")
	switch {
	case !ok || n < 0:
		return 0
	case n > 1_000_000_000:
		return max(0, time.Unix(n, 0).Sub(now))
	default:
		return time.Duration(n) * time.Second
	}
}

// retryAfter is what Retry-After says, in seconds or as a date; 0 when it says nothing.
func retryAfter(now time.Time, h http.Header) time.Duration {
	if n, ok := number(h, "Retry-After"); ok && n >= 0 && n < 1_000_000 {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(h.Get("Retry-After")); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}
