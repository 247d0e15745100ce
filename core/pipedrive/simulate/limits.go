package simulate

import (
	"net/http"
	"strconv"
	"sync"
	"time"
)

// burstWindow is what requests are counted over.
const burstWindow = 2 * time.Second

// A guess: so many answers of 429 in a row, without a pause of patience in between, bring the page of 403, for so long.
const (
	blockAfter = 20
	blockFor   = time.Minute
	patience   = 2 * time.Second
)

// limits counts what each token asks for.
type limits struct {
	burst int
	daily int64
	scale float64
	now   func() time.Time

	mu     sync.Mutex
	tokens map[string]*tokenLimits
	day    time.Time
	spent  int64 // by all tokens of the account
}

type tokenLimits struct {
	recent  []time.Time
	refused int
	last    time.Time // refusal
	blocked time.Time // until
}

func newLimits(burst int, daily int64, scale float64, now func() time.Time) *limits {
	return &limits{burst: burst, daily: daily, scale: scale, now: now, tokens: map[string]*tokenLimits{}}
}

// admit counts a request. The reply is nil when it may go on.
func (l *limits) admit(from who, method string, cost int64, header http.Header) *reply {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now().UTC()
	if day := now.Truncate(24 * time.Hour); !day.Equal(l.day) {
		l.day, l.spent = day, 0
	}
	t := l.tokens[from.token]
	if t == nil {
		t = &tokenLimits{}
		l.tokens[from.token] = t
	}
	if now.Before(t.blocked) {
		return blocked()
	}
	for len(t.recent) > 0 && now.Sub(t.recent[0]) >= burstWindow {
		t.recent = t.recent[1:]
	}
	if l.burst > 0 && len(t.recent) >= l.burst {
		reset := burstWindow - now.Sub(t.recent[0])
		l.tell(header, 0, reset)
		return l.refuse(t, from, now, "request over limit")
	}
	if l.daily > 0 && l.spent+cost > l.daily {
		l.tell(header, max(0, l.burst-len(t.recent)), l.day.Add(24*time.Hour).Sub(now))
		header.Set("X-Daily-Ratelimit-Token-Remaining", "0")
		return l.refuse(t, from, now, "daily request budget exhausted")
	}
	t.refused = 0
	t.recent = append(t.recent, now)
	l.spent += cost
	l.tell(header, max(0, l.burst-len(t.recent)), burstWindow-now.Sub(t.recent[0]))
	if l.daily > 0 {
		header.Set("X-Daily-Ratelimit-Token-Limit", strconv.FormatInt(l.daily, 10))
		header.Set("X-Daily-Ratelimit-Token-Remaining", strconv.FormatInt(l.daily-l.spent, 10))
		if !from.oauth && (method == http.MethodPost || method == http.MethodPut) {
			header.Set("X-Daily-Requests-Left", strconv.FormatInt(l.daily-l.spent, 10))
		}
	}
	return nil
}

func (l *limits) tell(header http.Header, left int, reset time.Duration) {
	if l.burst == 0 {
		return
	}
	header.Set("X-Ratelimit-Limit", strconv.Itoa(l.burst))
	header.Set("X-Ratelimit-Remaining", strconv.Itoa(left))
	// In seconds, as a public client of the API found.
	header.Set("X-Ratelimit-Reset", strconv.Itoa(int((reset+time.Second-1)/time.Second)))
}

func (l *limits) refuse(t *tokenLimits, from who, now time.Time, msg string) *reply {
	if now.Sub(t.last) > patience {
		t.refused = 0
	}
	t.refused++
	t.last = now
	if t.refused > blockAfter && !from.oauth {
		t.blocked = now.Add(time.Duration(float64(blockFor) / l.scale))
		return blocked()
	}
	return &reply{status: http.StatusTooManyRequests, body: map[string]any{
		"success": false, "error": msg, "error_info": "Please check developers.pipedrive.com", "errorCode": http.StatusTooManyRequests,
	}}
}

// budget is what was spent today and in the last two seconds.
func (l *limits) budget() map[string]any {
	l.mu.Lock()
	defer l.mu.Unlock()
	return map[string]any{"burst": l.burst, "daily": l.daily, "spent": l.spent}
}
