package pipedrive_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/pipedrive"
	"github.com/pipehook/pipehook/core/pipedrive/shape"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret = core.Secret("0123456789abcdef0123456789abcdef01234567")

// wire answers in place of the network.
type wire func(r *http.Request) (*http.Response, error)

func (w wire) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return w(r)
}

func reply(status int, body string, header ...string) (*http.Response, error) {
	h := http.Header{}
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body))}, nil
}

const good = `{"success":true,"data":{"id":1}}`

func client(t *testing.T, w wire, change ...func(*pipedrive.Options)) *pipedrive.Client {
	t.Helper()
	o := pipedrive.Options{BaseURL: "https://acme.pipedrive.com", Auth: pipedrive.Token(secret), HTTP: w}
	for _, f := range change {
		f(&o)
	}
	c, err := pipedrive.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func once(o *pipedrive.Options) { o.Retries = -1 }

func get(c *pipedrive.Client) error {
	_, err := c.Do(context.Background(), pipedrive.Request{Path: "/api/v2/deals/1"})
	return err
}

func failure(t *testing.T, err error, reason pipedrive.Reason) *pipedrive.Error {
	t.Helper()
	e, ok := errors.AsType[*pipedrive.Error](err)
	if !ok || e.Reason != reason {
		t.Fatalf("got error %v, want the reason %s", err, reason)
	}
	return e
}

func TestAnAnswerBecomesAReason(t *testing.T) {
	for _, test := range []struct {
		name   string
		status int
		body   string
		reason pipedrive.Reason
		says   string
	}{
		{"a wrong token", 401, `{"success":false,"error":"unauthorized access","errorCode":401}`, pipedrive.Unauthorized, "pipedrive.api_token"},
		{"an account that is closed", 402, `{}`, pipedrive.Closed, "support"},
		{"no permission", 403, `{"success":false,"error":"Scope and URL mismatch"}`, pipedrive.Forbidden, "Scope and URL mismatch"},
		{"the page that refuses everything", 403, `<html>Cloudflare</html>`, pipedrive.Blocked, "try again in 5m"},
		{"what is not there", 404, `{"success":false,"error":"Deal not found"}`, pipedrive.NotFound, "Deal not found"},
		{"what is gone", 410, `{}`, pipedrive.Gone, "gone"},
		{"a feature that is off", 415, `{}`, pipedrive.FeatureOff, "feature"},
		{"too many webhooks", 422, `{"success":false,"error":"limit"}`, pipedrive.Limit, "pipehook webhooks list"},
		{"a bad URL", 400, `{"success":false,"errors":{"subscription_url":["invalid or non-reachable URL"]}}`, pipedrive.Invalid, "subscription_url: invalid"},
		{"too many requests", 429, `{}`, pipedrive.RateLimited, "try again"},
		{"an answer that is cut", 200, `{"success":true,"data":[{"id"`, pipedrive.Garbled, "proxy"},
		{"a page in place of an answer", 200, `<html>`, pipedrive.Garbled, "not JSON"},
		{"a failure that says it is fine", 200, `{"success":false,"error":"no"}`, pipedrive.Invalid, "no"},
		{"maintenance", 503, `<html>`, pipedrive.Unavailable, "try again"},
		{"a redirect", 302, ``, pipedrive.Redirected, "base_url"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := client(t, func(r *http.Request) (*http.Response, error) { return reply(test.status, test.body) }, once)
			e := failure(t, get(c), test.reason)
			if e.Status != test.status || !strings.Contains(e.Error(), test.says) {
				t.Errorf("got %q of status %d, want %q in it and %d", e, e.Status, test.says, test.status)
			}
		})
	}
}

func TestSecretsComeBackNowhere(t *testing.T) {
	var log strings.Builder
	c := client(t, func(r *http.Request) (*http.Response, error) {
		return reply(400, `{"error":"token `+r.Header.Get("X-Api-Token")+` and password hunter22 are odd"}`)
	}, once, func(o *pipedrive.Options) {
		o.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	_, err := c.CreateWebhook(context.Background(), pipedrive.NewWebhook{Name: "n", AuthPassword: "hunter22"})
	for _, text := range []string{err.Error(), log.String()} {
		if strings.Contains(text, string(secret)) || strings.Contains(text, "hunter22") {
			t.Errorf("a secret shows in %q", text)
		}
	}
	if core.KindOf(err) != core.Invalid {
		t.Errorf("got kind %s, want invalid", core.KindOf(err))
	}
}

func TestASecretDoesNotShowWhereItIsCutOrFolded(t *testing.T) {
	const password = "two  spaces"
	for name, says := range map[string]string{
		"at the end of what is quoted": strings.Repeat("x", 276) + string(secret),
		"with two spaces":              "the password " + password + " is odd",
	} {
		c := client(t, func(*http.Request) (*http.Response, error) {
			return reply(400, `{"error":"`+says+`","error_info":"`+says+`","errors":{"a":["`+says+`"]}}`)
		}, once)
		_, err := c.CreateWebhook(t.Context(), pipedrive.NewWebhook{Name: "n", AuthPassword: password})
		if text := err.Error(); strings.Contains(text, string(secret)[:8]) || strings.Contains(text, "two") {
			t.Errorf("%s a secret shows in %q", name, text)
		}
	}
}

func TestATokenIsNotTakenToAnotherHost(t *testing.T) {
	var seen atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { seen.Add(1) }))
	defer other.Close()
	s := httptest.NewServer(http.RedirectHandler(other.URL+"/api/v2/deals/1", http.StatusFound))
	defer s.Close()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	c, err := pipedrive.New(pipedrive.Options{BaseURL: s.URL + "/api/v1/", Auth: pipedrive.Token(secret), HTTP: transport})
	if err != nil {
		t.Fatal(err)
	}
	failure(t, get(c), pipedrive.Redirected)
	if seen.Load() != 0 {
		t.Error("the other host was asked")
	}
}

func TestWhatMayBeTriedAgainIs(t *testing.T) {
	for _, test := range []struct {
		name, method, path string
		first              func() (*http.Response, error)
		tries              int32
	}{
		{"a get after 500", "GET", "/api/v2/deals", func() (*http.Response, error) { return reply(500, "{}") }, 2},
		{"a get after a cut answer", "GET", "/api/v2/deals", func() (*http.Response, error) { return reply(200, `{"da`) }, 2},
		{"a get after a lost connection", "GET", "/api/v2/deals", func() (*http.Response, error) { return nil, io.ErrUnexpectedEOF }, 2},
		{"a patch after 500", "PATCH", "/api/v2/deals/1", func() (*http.Response, error) { return reply(500, "{}") }, 2},
		{"a post after 429", "POST", "/api/v1/webhooks", func() (*http.Response, error) { return reply(429, "{}") }, 2},
		{"no post after 500", "POST", "/api/v1/webhooks", func() (*http.Response, error) { return reply(500, "{}") }, 1},
		{"no post after a lost connection", "POST", "/api/v2/deals", func() (*http.Response, error) { return nil, io.ErrUnexpectedEOF }, 1},
		{"no merge after 500", "PUT", "/api/v1/deals/1/merge", func() (*http.Response, error) { return reply(500, "{}") }, 1},
		{"no get after 404", "GET", "/api/v2/deals/1", func() (*http.Response, error) { return reply(404, "{}") }, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var tries atomic.Int32
				c := client(t, func(*http.Request) (*http.Response, error) {
					if tries.Add(1) == 1 {
						return test.first()
					}
					return reply(200, good)
				})
				_, err := c.Do(t.Context(), pipedrive.Request{Method: test.method, Path: test.path})
				if got := tries.Load(); got != test.tries || (err == nil) != (test.tries == 2) {
					t.Errorf("got %d tries and %v, want %d", got, err, test.tries)
				}
			})
		})
	}
}

func TestADeleteWhoseAnswerWasLostIsDone(t *testing.T) {
	for _, test := range []struct {
		name          string
		method        string
		first, second int
		reason        pipedrive.Reason // 0: it is done
		unsure        bool
	}{
		{"a delete that is not there any more", "DELETE", 502, 404, 0, false},
		{"a delete that is gone", "DELETE", 502, 410, 0, false},
		{"a delete that was not tried", "DELETE", 429, 404, pipedrive.NotFound, false},
		{"a delete that may not be", "DELETE", 502, 403, pipedrive.Forbidden, true},
		{"a change of what is not there", "PATCH", 502, 404, pipedrive.NotFound, true},
		{"a change that was not tried", "PATCH", 429, 400, pipedrive.Invalid, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				statuses := []int{test.first, test.second}
				c := client(t, func(*http.Request) (*http.Response, error) {
					status := statuses[0]
					statuses = statuses[1:]
					return reply(status, "{}")
				})
				_, err := c.Do(t.Context(), pipedrive.Request{Method: test.method, Path: "/api/v2/deals/1"})
				if test.reason == 0 && err != nil {
					t.Fatal(err)
				}
				if test.reason != 0 && failure(t, err, test.reason).Unsure != test.unsure {
					t.Errorf("it says that it may have been done: %v, want %v", !test.unsure, test.unsure)
				}
			})
		})
	}
}

func TestARequestWaitsAsLongAsPipedriveSays(t *testing.T) {
	for _, test := range []struct {
		name    string
		after   string
		limit   time.Duration // of who calls
		tries   int
		waited  time.Duration
		refused bool
	}{
		{name: "for a while", after: "20", tries: 2, waited: 20 * time.Second},
		{name: "longer than anybody waits", after: "121", tries: 1, refused: true},
		{name: "longer than who calls waits", after: "20", limit: 10 * time.Second, tries: 1, refused: true},
		{name: "again and again, until it is too long", after: "50", tries: 3, waited: 100 * time.Second, refused: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tries := 0
				c := client(t, func(*http.Request) (*http.Response, error) {
					if tries++; tries == test.tries && !test.refused {
						return reply(200, good)
					}
					return reply(503, "", "Retry-After", test.after)
				})
				ctx := t.Context()
				if test.limit > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, test.limit)
					defer cancel()
				}
				began := time.Now()
				_, err := c.Do(ctx, pipedrive.Request{Path: "/api/v2/deals/1"})
				if waited := time.Since(began); tries != test.tries || waited != test.waited || (err != nil) != test.refused {
					t.Errorf("got %d tries in %s and %v, want %d in %s", tries, waited, err, test.tries, test.waited)
				}
				if test.refused && failure(t, err, pipedrive.Unavailable).RetryAfter == 0 {
					t.Errorf("it does not say when to try again: %v", err)
				}
			})
		})
	}
}

func TestNoMoreThanTheBurstInTwoSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var at []time.Time
		c := client(t, func(*http.Request) (*http.Response, error) {
			mu.Lock()
			at = append(at, time.Now())
			mu.Unlock()
			time.Sleep(50 * time.Millisecond)
			return reply(200, good)
		}, func(o *pipedrive.Options) { o.Budget.Burst = 10 })
		var all sync.WaitGroup
		for i := range 95 {
			all.Go(func() {
				if _, err := c.Do(t.Context(), pipedrive.Request{Path: "/api/v2/deals/1", Background: i%2 == 0}); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		for i := 10; i < len(at); i++ {
			if gap := at[i].Sub(at[i-10]); gap < 2*time.Second {
				t.Fatalf("request %d came %s after the one ten before", i, gap)
			}
		}
		if b := c.Budget(); len(at) != 95 || b.Spent != 95 || b.Waiting != 0 {
			t.Errorf("got %d requests and %+v", len(at), b)
		}
	})
}

func TestInteractiveCallsGoFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := client(t, func(*http.Request) (*http.Response, error) { return reply(200, good) }, func(o *pipedrive.Options) { o.Budget.Burst = 5 })
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				if _, err := c.Do(t.Context(), pipedrive.Request{Path: "/api/v2/deals/1", Background: true}); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		began := time.Now()
		if err := get(c); err != nil || time.Since(began) > 2*time.Second {
			t.Errorf("got %v after %s behind background work", err, time.Since(began))
		}
		all.Wait()
	})
}

func TestA429StopsAllCallers(t *testing.T) {
	for _, test := range []struct {
		name   string
		header []string
		wait   time.Duration
	}{
		{"Retry-After says for how long", []string{"Retry-After", "7"}, 7 * time.Second},
		{"x-ratelimit-reset says for how long", []string{"X-Ratelimit-Reset", "4"}, 4 * time.Second},
		{"nothing says for how long", nil, 2 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var n atomic.Int32
				c := client(t, func(*http.Request) (*http.Response, error) {
					if n.Add(1) == 1 {
						return reply(429, "{}", test.header...)
					}
					return reply(200, good)
				}, once)
				failure(t, get(c), pipedrive.RateLimited)
				began := time.Now()
				if err := get(c); err != nil || time.Since(began) != test.wait {
					t.Errorf("got %v after %s, want a good answer after %s", err, time.Since(began), test.wait)
				}
			})
		})
	}
}

func TestAWaitEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := client(t, func(*http.Request) (*http.Response, error) { return reply(429, "{}", "Retry-After", "60") }, once)
		_ = get(c)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := c.Do(ctx, pipedrive.Request{Path: "/api/v2/deals"})
		failure(t, err, pipedrive.Canceled)
		if !errors.Is(err, context.DeadlineExceeded) || c.Budget().Waiting != 0 {
			t.Errorf("got %v with %d waiting", err, c.Budget().Waiting)
		}
	})
}

func TestADayThatIsSpent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int32
		c := client(t, func(*http.Request) (*http.Response, error) {
			n.Add(1)
			return reply(429, "{}", "X-Daily-Ratelimit-Token-Remaining", "0")
		})
		failure(t, get(c), pipedrive.DailySpent)
		e := failure(t, get(c), pipedrive.DailySpent)
		if n.Load() != 1 || e.RetryAfter <= 0 || !strings.Contains(e.Error(), "UTC") {
			t.Errorf("got %d requests and %v", n.Load(), e)
		}
		time.Sleep(16 * time.Minute)
		_, _ = get(c), get(c)
		if n.Load() != 2 {
			t.Errorf("got %d requests, want one that probes", n.Load())
		}
	})
}

func TestOwnLimitOfADayKeepsATenthForWhatIsUrgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := client(t, func(*http.Request) (*http.Response, error) { return reply(200, good) }, func(o *pipedrive.Options) { o.Budget.Daily = 20 })
		count := func(background bool) (n int) {
			for {
				_, err := c.Do(t.Context(), pipedrive.Request{Path: "/api/v2/deals/1", Background: background})
				if err != nil {
					failure(t, err, pipedrive.DailySpent)
					return n
				}
				n++
			}
		}
		if first, second := count(true), count(false); first != 18 || second != 2 {
			t.Errorf("got %d and %d, want 18 and 2", first, second)
		}
		time.Sleep(24 * time.Hour)
		if err := get(c); err != nil {
			t.Errorf("the next day: %v", err)
		}
	})
}

func TestAClientThatFollowsAnotherGoesOnWithItsBudget(t *testing.T) {
	after := func(before *pipedrive.Client, b pipedrive.BudgetOptions) *pipedrive.Client {
		return client(t, func(*http.Request) (*http.Response, error) { return reply(200, good, "X-Ratelimit-Limit", "80") }, once, func(o *pipedrive.Options) {
			o.Before, o.Budget = before, b
		})
	}
	first := after(nil, pipedrive.BudgetOptions{Daily: 5, Burst: 20})
	if limit := first.Budget().Limit; limit != 20 {
		t.Errorf("%d at once", limit)
	}
	for range 5 {
		if err := get(first); err != nil {
			t.Fatal(err)
		}
	}
	second := after(first, pipedrive.BudgetOptions{Daily: 6, Burst: 20})
	if b := second.Budget(); b.Spent != 5 || b.DailyLeft != 1 || b.Limit != 80 {
		t.Errorf("the second begins with %+v", b)
	}
	if err := get(first); err != nil { // a call that began before goes on with the same
		t.Error(err)
	}
	failure(t, get(second), pipedrive.DailySpent)
	if limit := after(second, pipedrive.BudgetOptions{Daily: 6, Burst: 30}).Budget().Limit; limit != 30 {
		t.Errorf("%d at once", limit)
	}
}

func TestWhatIsNeverSentCostsNothing(t *testing.T) {
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	noWay := &net.OpError{Op: "dial", Err: errors.New("network is unreachable")}
	var fails error
	c := client(t, func(*http.Request) (*http.Response, error) {
		if fails != nil {
			return nil, fails
		}
		return reply(200, good, "X-Daily-Ratelimit-Token-Remaining", "50", "X-Daily-Requests-Left", "9")
	}, once, func(o *pipedrive.Options) { o.Budget.Daily, o.Now = 100, func() time.Time { return now } })
	put := func() error {
		_, err := c.Do(t.Context(), pipedrive.Request{Method: http.MethodPut, Path: "/api/v1/notes/1"})
		return err
	}
	spent := func(what string, spent, left int64) {
		t.Helper()
		if b := c.Budget(); b.Spent != spent || b.DailyLeft != left {
			t.Errorf("%s: %d are spent and %d left, want %d and %d", what, b.Spent, b.DailyLeft, spent, left)
		}
	}
	if err := put(); err != nil {
		t.Fatal(err)
	}
	spent("an answer", 10, 50)
	fails = noWay
	for range 7 { // at the eighth it is left alone
		failure(t, put(), pipedrive.Unavailable)
	}
	spent("no way there", 10, 50)
	fails = io.ErrUnexpectedEOF
	failure(t, put(), pipedrive.Unavailable)
	spent("an answer that was lost", 20, 40)
	failure(t, put(), pipedrive.Open)
	spent("it is left alone", 20, 40)

	midnight := client(t, func(*http.Request) (*http.Response, error) {
		now = now.Add(12 * time.Hour)
		return nil, noWay
	}, once, func(o *pipedrive.Options) { o.Now = func() time.Time { return now } })
	failure(t, get(midnight), pipedrive.Unavailable)
	if b := midnight.Budget(); b.Spent != 0 || b.DailyLeft != -1 {
		t.Errorf("the day after has %+v", b)
	}
	apart := client(t, nil, once, func(o *pipedrive.Options) {
		o.BaseURL, o.Auth, o.Budget.Daily = "", pipedrive.OAuth(pipedrive.OAuthOptions{Keeper: &held{}}), 1
	})
	for range 3 {
		failure(t, get(apart), pipedrive.Disconnected)
	}
}

func TestTokensThatAnAnswerHasCountedMeanwhileAreNotGivenBackTwice(t *testing.T) {
	var c *pipedrive.Client
	answers := "100"
	c = client(t, func(r *http.Request) (*http.Response, error) {
		if r.Method == http.MethodPut { // goes nowhere, and what is asked beside it is answered before that is known
			answers = "99"
			if err := get(c); err != nil {
				t.Error(err)
			}
			return nil, &net.OpError{Op: "dial", Err: errors.New("network is unreachable")}
		}
		return reply(200, good, "X-Daily-Ratelimit-Token-Remaining", answers)
	}, once)
	if err := get(c); err != nil {
		t.Fatal(err)
	}
	_, err := c.Do(t.Context(), pipedrive.Request{Method: http.MethodPut, Path: "/api/v1/notes/1", Cost: 40})
	failure(t, err, pipedrive.Unavailable)
	if b := c.Budget(); b.DailyLeft != 99 || b.Spent != 2 {
		t.Errorf("%d are left and %d spent, want 99 and 2", b.DailyLeft, b.Spent)
	}
}

func TestADayEndsAlsoWhenTheClockIsSetBack(t *testing.T) {
	now := time.Date(2036, 1, 1, 12, 0, 0, 0, time.UTC) // a machine that does not know the time yet
	c := client(t, func(*http.Request) (*http.Response, error) { return reply(200, good) }, func(o *pipedrive.Options) {
		o.Budget.Daily, o.Now = 1, func() time.Time { return now }
	})
	if err := get(c); err != nil {
		t.Fatal(err)
	}
	failure(t, get(c), pipedrive.DailySpent)
	now = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	if err := get(c); err != nil {
		t.Error(err)
	}
}

func TestThePageThatRefusesStopsAllTraffic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int32
		c := client(t, func(*http.Request) (*http.Response, error) {
			if n.Add(1) == 1 {
				return reply(403, "<html>")
			}
			return reply(200, good)
		})
		failure(t, get(c), pipedrive.Blocked)
		failure(t, get(c), pipedrive.Blocked)
		if n.Load() != 1 || !c.Budget().Blocked {
			t.Errorf("got %d requests, want 1", n.Load())
		}
		time.Sleep(5 * time.Minute)
		if err := get(c); err != nil {
			t.Error(err)
		}
	})
}

func TestTheBreakerOpensAndCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int32
		var well atomic.Bool
		c := client(t, func(*http.Request) (*http.Response, error) {
			n.Add(1)
			if well.Load() {
				return reply(200, good)
			}
			return reply(502, "")
		}, once)
		for range 8 {
			failure(t, get(c), pipedrive.Unavailable)
		}
		e := failure(t, get(c), pipedrive.Open)
		if n.Load() != 8 || e.RetryAfter <= 0 {
			t.Errorf("got %d requests and %v", n.Load(), e)
		}
		well.Store(true)
		time.Sleep(31 * time.Second)
		if err := get(c); err != nil {
			t.Error(err)
		}
	})
}

func TestAnAnswerThatTakesTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := client(t, func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}, once)
		e := failure(t, get(c), pipedrive.Unavailable)
		if !strings.Contains(e.Error(), "no answer within 30s") {
			t.Errorf("got %v", e)
		}
	})
}

func TestPages(t *testing.T) {
	cursor := func(items, next string) string {
		return `{"success":true,"data":[` + items + `],"additional_data":{"next_cursor":` + next + `}}`
	}
	offset := func(items, more string) string {
		return `{"success":true,"data":[` + items + `],"additional_data":{"pagination":{"more_items_in_collection":` + more + `}}}`
	}
	for _, test := range []struct {
		name   string
		paging shape.Paging
		from   string
		pages  map[string]string // by cursor or start
		want   string
		reason pipedrive.Reason
	}{
		{"by cursor, with an empty page between", shape.Cursor, "", map[string]string{"": cursor("1,2", `"a"`), "a": cursor("", `"b"`), "b": cursor("3", "null")}, "1 2 3", 0},
		{"from where it stopped", shape.Cursor, "b", map[string]string{"b": cursor("3", "null")}, "3", 0},
		{"additional_data may be null", shape.Cursor, "", map[string]string{"": `{"success":true,"data":[1],"additional_data":null}`}, "1", 0},
		{"by start, without next_start", shape.Offset, "", map[string]string{"": offset("1,2", "true"), "2": offset("3", "false")}, "1 2 3", 0},
		{"a cursor that comes back", shape.Cursor, "", map[string]string{"": cursor("1", `"a"`), "a": cursor("2", `"a"`)}, "1", pipedrive.Repeated},
		{"a page that comes back", shape.Cursor, "", map[string]string{"": cursor("1", `"a"`), "a": cursor("1", `"b"`)}, "1", pipedrive.Repeated},
		{"an empty page that says there is more", shape.Offset, "", map[string]string{"": offset("1", "true"), "1": offset("", "true")}, "1", pipedrive.Repeated},
		{"all at once", shape.Whole, "", map[string]string{"": `{"success":true,"data":{"goals":[1,2]}}`}, "1 2", 0},
		{"null for no records", shape.Whole, "", map[string]string{"": `{"success":true,"data":null}`}, "", 0},
		{"no list", shape.Whole, "", map[string]string{"": `{"success":true,"data":7}`}, "", pipedrive.Garbled},
		{"a start that is no number", shape.Offset, "x", nil, "", pipedrive.Invalid},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := client(t, func(r *http.Request) (*http.Response, error) {
				q := r.URL.Query()
				return reply(200, test.pages[q.Get("cursor")+q.Get("start")])
			}, once)
			var got []string
			var end error
			for p, err := range c.Pages(t.Context(), pipedrive.List{Path: "/api/v2/deals", Paging: test.paging, From: test.from}) {
				end = err
				for _, item := range p.Items {
					got = append(got, string(item))
				}
			}
			if strings.Join(got, " ") != test.want {
				t.Errorf("got %v, want %s", got, test.want)
			}
			if test.reason != 0 {
				failure(t, end, test.reason)
			} else if end != nil {
				t.Error(end)
			}
		})
	}
}

func TestWebhooksAreReadAndMade(t *testing.T) {
	var sent map[string]any
	c := client(t, func(r *http.Request) (*http.Response, error) {
		one := `{"id":7,"user_id":"8","event_action":"*","event_object":"deal","version":"2.0","is_active":1,"add_time":"2019-10-25T08:25:27.000Z","remove_time":null,"http_auth_password":"hunter22","last_http_status":null,"name":"n"}`
		if r.Method == http.MethodPost {
			_ = json.NewDecoder(r.Body).Decode(&sent)
			return reply(201, `{"status":"ok","success":true,"data":`+one+`}`)
		}
		return reply(200, `{"status":"ok","success":true,"data":[`+one+`]}`)
	})
	list, err := c.Webhooks(t.Context())
	if err != nil || len(list) != 1 || !list[0].Active || list[0].UserID != 8 || list[0].Added.Year() != 2019 || list[0].AuthPassword != "hunter22" {
		t.Fatalf("got %+v, %v", list, err)
	}
	made, err := c.CreateWebhook(t.Context(), pipedrive.NewWebhook{Name: "n", Action: "*", Object: "deal", AuthPassword: "hunter22"})
	if err != nil || made.ID != 7 || sent["http_auth_password"] != "hunter22" {
		t.Errorf("got %+v, %v after %v", made, err, sent)
	}
}

func TestFieldsOfBothVersions(t *testing.T) {
	c := client(t, func(r *http.Request) (*http.Response, error) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/dealFields"):
			return reply(200, `{"success":true,"data":[{"field_code":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","field_name":"Contract end","field_type":"enum","is_custom_field":true,"options":[{"id":3,"label":"Gold"}]},{"field_code":"status","field_name":"Status","field_type":"status","options":[{"id":"open","label":"Open"}]}]}`)
		case strings.HasSuffix(r.URL.Path, "/noteFields"):
			return reply(200, `{"success":true,"data":[{"key":"content","name":"Content","field_type":"text","edit_flag":false}]}`)
		}
		return reply(403, `{"success":false,"error":"no"}`)
	})
	f, err := c.Fields(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	deal, ok := f.ByName("deal", "contract_end")
	if !ok || !deal.Custom || len(deal.Options) != 1 || deal.Options[0].Label != "Gold" || f.Company() != "acme" {
		t.Errorf("got %+v of %q", deal, f.Company())
	}
	if note, ok := f.ByKey("note", "content"); !ok || note.Label != "Content" {
		t.Errorf("got %+v", note)
	}
}
