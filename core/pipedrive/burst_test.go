package pipedrive_test

import (
	"net/http"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pipehook/pipehook/core/pipedrive"
)

// rolling counts requests as Pipedrive does: over the last two seconds.
type rolling struct {
	mu     sync.Mutex
	limit  int
	at     []time.Time
	before int // that are older than the window
	over   int
}

func (r *rolling) answer(within time.Duration) (*http.Response, error) {
	r.mu.Lock()
	now := time.Now()
	for r.before < len(r.at) && now.Sub(r.at[r.before]) >= 2*time.Second {
		r.before++
	}
	r.at = append(r.at, now)
	left := r.limit - (len(r.at) - r.before)
	if left < 0 {
		r.over++
	}
	reset := 2*time.Second - now.Sub(r.at[r.before])
	r.mu.Unlock()
	time.Sleep(within)
	return reply(200, good, "X-Ratelimit-Limit", strconv.Itoa(r.limit), "X-Ratelimit-Remaining", strconv.Itoa(max(0, left)),
		"X-Ratelimit-Reset", strconv.Itoa(int((reset+time.Second-1)/time.Second)))
}

func TestReadingTablesUsesNearlyAllThatItMayAsk(t *testing.T) {
	for _, test := range []struct {
		limit, may int
		answer     time.Duration
		least      float64
	}{
		{20, 16, 5 * time.Millisecond, .95}, {120, 96, 5 * time.Millisecond, .95},
		{20, 16, 150 * time.Millisecond, .90}, // a slot is free two seconds after the answer: nobody knows when it was counted
	} {
		synctest.Test(t, func(t *testing.T) {
			pipedriveIs := &rolling{limit: test.limit}
			c := client(t, func(*http.Request) (*http.Response, error) { return pipedriveIs.answer(test.answer) })
			var lists sync.WaitGroup
			for range 3 {
				lists.Go(func() {
					for range 10 * test.limit {
						if _, err := c.Do(t.Context(), pipedrive.Request{Path: "/api/v2/deals", Background: true}); err != nil {
							t.Error(err)
						}
						time.Sleep(10 * time.Millisecond) // the page is written
					}
				})
			}
			lists.Wait()
			at := pipedriveIs.at[test.may-1:]
			took := at[len(at)-1].Sub(at[0])
			share := float64(len(at)-1) / (took.Seconds() / 2 * float64(test.may))
			if share < test.least || pipedriveIs.over > 0 {
				t.Errorf("limit %d, answers in %s: %.2f of what it may ask, %d over the limit", test.limit, test.answer, share, pipedriveIs.over)
			}
		})
	}
}
