package pipedrive

import (
	"net/http"
	"strings"
	"time"

	"github.com/pipehook/pipehook/core/pipedrive/shape"
)

// probe is how often one request may go although Pipedrive said that the day is spent: its midnight is
// that of its servers, of which nobody says where they are, and a company can buy more tokens.
const probe = 15 * time.Minute

// day counts tokens. A day ends at midnight UTC, which is assumed to be Pipedrive's "server time".
type day struct {
	cap    int64
	ends   time.Time
	spent  int64
	limit  int64 // as Pipedrive says; 0 when it does not
	left   int64 // as Pipedrive says; -1 when it does not
	writes int64 // x-daily-requests-left, which is for POST and PUT; -1 when it is not known
	said   int   // how often it has said left or writes
	probed time.Time
}

func newDay() day { return day{left: -1, writes: -1} }

func (d *day) roll(now time.Time) {
	if !now.Before(d.ends) || d.ends.Sub(now) > 24*time.Hour { // the clock was set back
		y, m, n := now.UTC().Date()
		d.ends = time.Date(y, m, n+1, 0, 0, 0, 0, time.UTC)
		d.spent, d.left, d.writes, d.probed = 0, -1, -1, time.Time{}
	}
}

// refuse is why a request is over the day's tokens. Background work leaves a tenth of them.
// A call that probes whether Pipedrive still means it goes on doing so.
func (d *day) refuse(now time.Time, probing *bool, method string, cost int64, background bool) *Error {
	d.roll(now)
	why := ""
	switch {
	case d.cap > 0 && d.spent+cost+reserve(d.cap, background) > d.cap:
		why = "pipehook's own limit is reached"
	case d.left < 0 && d.writes < 0:
		return nil
	case d.left >= 0 && d.left < cost+reserve(d.limit, background), d.writes == 0 && writes(method):
		if *probing || now.Sub(d.probed) >= probe && !background {
			d.probed, *probing = now, true
			return nil
		}
		why = "as Pipedrive says"
	default:
		return nil
	}
	if background {
		why += "; a tenth is kept for what can't wait"
	}
	return &Error{Reason: DailySpent, RetryAfter: d.ends.Sub(now), Msg: why + ", until " + d.ends.Format(time.RFC3339) + " (midnight of its servers, taken to be UTC)"}
}

func reserve(limit int64, background bool) int64 {
	if !background {
		return 0
	}
	return limit / 10
}

func writes(method string) bool { return method == http.MethodPost || method == http.MethodPut }

// spend takes a request's tokens. What it returns gives them back. Where Pipedrive has said meanwhile how many are left, it
// never counted them.
func (d *day) spend(cost int64, method string) (back func()) {
	var left, wrote int64
	if d.left > 0 {
		left = min(cost, d.left)
	}
	if d.writes > 0 && writes(method) {
		wrote = 1
	}
	d.spent, d.left, d.writes = d.spent+cost, d.left-left, d.writes-wrote
	ends, said := d.ends, d.said
	return func() {
		if d.ends != ends { // they were of another day
			return
		}
		d.spent -= cost
		if d.said == said {
			d.left, d.writes = d.left+left, d.writes+wrote
		}
	}
}

// learn reads the headers. Those that name tokens are not documented and may be missing.
func (d *day) learn(now time.Time, v *verdict) {
	d.roll(now)
	if n, ok := number(v.Header, "X-Daily-Ratelimit-Token-Limit"); ok && n > 0 {
		d.limit = n
	}
	if n, ok := number(v.Header, "X-Daily-Ratelimit-Token-Remaining"); ok && n >= 0 {
		d.left = n
		d.said++
		if n == 0 {
			d.probed = now
		}
	}
	if n, ok := number(v.Header, "X-Daily-Requests-Left"); ok && n >= 0 {
		d.writes = n
		d.said++
		if n == 0 {
			d.probed = now
		}
	}
}

// gone reports whether Pipedrive said with these headers that the day is spent.
func gone(h http.Header) bool {
	tokens, ok := number(h, "X-Daily-Ratelimit-Token-Remaining")
	if ok {
		return tokens <= 0
	}
	requests, ok := number(h, "X-Daily-Requests-Left")
	return ok && requests <= 0
}

func (d *day) state(now time.Time, s *BudgetState) {
	d.roll(now)
	s.DailyLimit, s.DailyLeft, s.DailyReset, s.Spent = d.limit, d.left, d.ends, d.spent
	if d.cap > 0 {
		left := max(0, d.cap-d.spent)
		if s.DailyLeft < 0 || left < s.DailyLeft {
			s.DailyLeft = left
		}
		if s.DailyLimit == 0 || d.cap < s.DailyLimit {
			s.DailyLimit = d.cap
		}
	}
}

// tokens is what a request costs, after Pipedrive's list of costs by method and version.
func tokens(method, path string) int64 {
	old := strings.HasPrefix(path, "/api/v1/") || strings.HasPrefix(path, "/v1/")
	segments := strings.Split(strings.Trim(path, "/"), "/")
	last := segments[len(segments)-1]
	one := strings.ContainsAny(last, "0123456789") || last == "me"
	switch {
	case strings.HasSuffix(strings.ToLower(last), "search"):
		return pick(old, 40, 20)
	case last == "merge":
		return 40
	case method == http.MethodDelete:
		return pick(old, 6, 3)
	case method != http.MethodGet:
		return pick(old, 10, 5)
	case last == "webhooks" || last == "leadLabels":
		return 10
	case one && !strings.HasPrefix(path, "/api/v2/boards/") && !strings.HasPrefix(path, "/api/v2/phases/"): // whose lists cost no more
		return pick(old, 2, 1)
	}
	for _, o := range shape.Objects() {
		if o.Path == path {
			return int64(o.Tokens)
		}
	}
	switch path {
	case "/api/v1/leads/archived":
		return 40
	case "/api/v2/deals/archived", "/api/v2/projects/archived":
		return 20
	}
	return pick(old, 20, 10)
}

func pick(old bool, first, second int64) int64 {
	if old {
		return first
	}
	return second
}
