package pipedrive

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/sony/gobreaker/v2"

	"github.com/pipehook/pipehook/core"
)

// mostAnswer bounds an answer, after it is decompressed. 500 deals with 200 custom fields are about 7 MB.
const mostAnswer = 32 << 20

// Request is what to ask.
type Request struct {
	Op         string // what it is for, for errors
	Method     string // GET when empty
	Path       string // such as /api/v2/deals/1
	Query      url.Values
	Body       any  // is sent as JSON; nil for none
	Cost       int  // tokens; 0 for what the method and path cost
	Background bool // waits for all others, and leaves a tenth of the day's tokens

	hidden map[string]string // is taken out of what Pipedrive says
}

// Do asks, waits for the budget, and tries again what may be tried again: a POST or a merge only when it
// surely was not done. A DELETE whose answer was lost is done when there is nothing to delete at the next try. Every error is
// an *Error.
func (c *Client) Do(ctx context.Context, r Request) (*Response, error) {
	if r.Method == "" {
		r.Method = http.MethodGet
	}
	tries, renewed, unsure := 0, false, false
	fail := func(e *Error) error {
		if e.Op == "" { // not that of getting the tokens
			e.Op, e.Method, e.Path = r.Op, r.Method, r.Path
		}
		e.Attempts, e.Unsure = tries, unsure
		return e
	}
	if !strings.HasPrefix(r.Path, "/") || strings.ContainsAny(r.Path, "?#") {
		return nil, fail(&Error{Reason: Invalid, Msg: "a path begins with / and has no query"})
	}
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = json.Marshal(r.Body); err != nil {
			return nil, fail(&Error{Reason: Invalid, Msg: "the body can't be written as JSON"})
		}
	}
	var waited time.Duration
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = 500*time.Millisecond, 10*time.Second
	answer, err := backoff.Retry(ctx, func() (*Response, error) {
		a, sent, e := c.try(ctx, &r, body, &renewed)
		if sent {
			tries++
		}
		if e == nil {
			return a, nil
		}
		if unsure && r.Method == http.MethodDelete && (e.Reason == NotFound || e.Reason == Gone) {
			return &Response{Status: http.StatusNoContent}, nil
		}
		unsure = unsure || e.Unsure
		if e.Reason == Unavailable { // for RateLimited the budget waits
			waited += e.RetryAfter
		}
		switch {
		case tries > max(0, c.retries) || !again(&r, e) || waited > patience || endsWithin(ctx, e.RetryAfter):
			return nil, backoff.Permanent(e)
		case e.Reason == Unavailable && e.RetryAfter > 0:
			return nil, &backoff.RetryAfterError{Duration: e.RetryAfter}
		default:
			return nil, e
		}
	}, backoff.WithBackOff(wait), backoff.WithMaxElapsedTime(0))
	if err == nil {
		return answer, nil
	}
	e, ok := errors.AsType[*Error](err)
	if !ok {
		e = &Error{Reason: Canceled, Err: err}
	}
	return nil, fail(e)
}

// endsWithin reports whether who calls goes away before the wait is over.
func endsWithin(ctx context.Context, wait time.Duration) bool {
	end, ok := ctx.Deadline()
	return ok && time.Until(end) < wait
}

// try sends a request once, or twice when the credentials were refused and there are others.
func (c *Client) try(ctx context.Context, r *Request, body []byte, renewed *bool) (*Response, bool, *Error) {
	cost := int64(r.Cost)
	if cost <= 0 {
		cost = tokens(r.Method, r.Path)
	}
	if c.breaker.State() == gobreaker.StateOpen { // nobody waits for the budget to hear that
		return nil, false, c.isOpen()
	}
	release, refused := c.budget.acquire(ctx, r.Method, cost, r.Background)
	if refused != nil {
		return nil, false, refused
	}
	var said *verdict
	var request *http.Request
	answer, err := c.breaker.Execute(func() (*Response, error) {
		a, e := c.send(ctx, r, body, &said, &request)
		if e != nil {
			return nil, e // not a nil *Error in an error
		}
		return a, nil
	})
	release(said, err != nil && (request == nil || notSent(err)))
	if err == nil {
		return answer, true, nil
	}
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return nil, false, c.isOpen()
	}
	if e.Reason == Blocked {
		e.RetryAfter = c.budget.blockedFor()
		c.log.Warn("Pipedrive answers with a page in place of the API; nothing is asked for a while", "for", e.RetryAfter.Round(time.Second))
	}
	e.Unsure = request != nil && (down(e) || e.Reason == Canceled) && !notSent(e.Err)
	if again, ok := c.auth.(renewer); ok && e.Reason == Unauthorized && request != nil && !*renewed {
		*renewed = true
		other, err := again.renew(ctx, request)
		if err != nil {
			return nil, true, asError(ctx, err)
		}
		if other {
			return c.try(ctx, r, body, renewed)
		}
	}
	return nil, true, e
}

func (c *Client) isOpen() *Error {
	wait := time.UnixMilli(c.openTill.Load()).Sub(c.now())
	return &Error{Reason: Open, RetryAfter: max(wait, time.Second)}
}

// send makes one HTTP request and reads its answer.
func (c *Client) send(ctx context.Context, r *Request, body []byte, said **verdict, sent **http.Request) (*Response, *Error) {
	limited, cancel := context.WithTimeoutCause(ctx, c.timeout, fmt.Errorf("no answer within %s", c.timeout))
	defer cancel()
	request, err := c.request(limited, r, body)
	if err != nil {
		return nil, asError(limited, err)
	}
	*sent = request
	response, err := c.http.Do(request)
	if err != nil {
		return nil, lost(ctx, limited, err)
	}
	defer response.Body.Close()
	*said = &verdict{Status: response.StatusCode, Header: response.Header}
	raw, err := io.ReadAll(io.LimitReader(response.Body, mostAnswer+1))
	if len(raw) > mostAnswer {
		return nil, &Error{Status: response.StatusCode, Reason: TooLarge, Msg: fmt.Sprintf("over %d MiB", mostAnswer>>20)}
	}
	if err != nil && response.StatusCode < 300 {
		if limited.Err() != nil {
			return nil, lost(ctx, limited, err)
		}
		return nil, &Error{Status: response.StatusCode, Reason: Garbled, Err: bare(err)}
	}
	answer, e := parse(response.StatusCode, response.Header, raw, secrets(request, r.hidden))
	if e == nil {
		return answer, nil
	}
	return nil, c.judge(e, response, *said)
}

// judge adds what the headers say about a failure.
func (c *Client) judge(e *Error, response *http.Response, said *verdict) *Error {
	now := c.now()
	switch e.Reason {
	case Blocked:
		said.Blocked = true
	case RateLimited:
		e.RetryAfter = retryAfter(now, response.Header)
		if e.RetryAfter == 0 {
			e.RetryAfter = resetTime(now, response.Header)
		}
		if gone(response.Header) {
			y, m, d := now.UTC().Date()
			ends := time.Date(y, m, d+1, 0, 0, 0, 0, time.UTC)
			e.Reason, e.RetryAfter = DailySpent, ends.Sub(now)
			e.Msg = "as Pipedrive says, until " + ends.Format(time.RFC3339) + " (midnight of its servers, taken to be UTC)"
		}
	case Unavailable:
		e.RetryAfter = retryAfter(now, response.Header)
	case Redirected:
		if to, err := response.Location(); err == nil {
			e.Msg = "to " + clean(to.Host)
		}
	}
	return e
}

func (c *Client) request(ctx context.Context, r *Request, body []byte) (*http.Request, error) {
	base, auth := c.base, c.auth
	if app, ok := c.auth.(located); ok {
		t, err := app.good(ctx)
		if err == nil && base == "" {
			base, err = t.base()
		}
		if err != nil {
			return nil, err
		}
		auth = bearer(t.Access)
	}
	at := base + r.Path
	if len(r.Query) > 0 {
		at += "?" + r.Query.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, r.Method, at, bytes.NewReader(body))
	if err != nil {
		return nil, &Error{Reason: Invalid, Msg: "the path is no part of a URL"}
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", c.agent)
	if r.Body != nil {
		request.Header.Set("Content-Type", "application/json")
	} else {
		request.Body, request.ContentLength, request.GetBody = nil, 0, nil
	}
	return request, auth.Authorize(ctx, request)
}

// again reports whether a request may be sent once more after it failed so.
func again(r *Request, e *Error) bool {
	switch e.Reason {
	case RateLimited:
		return e.RetryAfter <= patience && e.Status != 0
	case Unavailable, Garbled:
	default:
		return false
	}
	if e.RetryAfter > patience || core.KindOf(e.Err) == core.Invalid { // what keeps the tokens is not there, and won't be by itself
		return false
	}
	if r.Method == http.MethodPost || strings.HasSuffix(r.Path, "/merge") {
		return e.Status == 0 && notSent(e.Err)
	}
	return true
}

// unsent marks an error of a request that surely never reached Pipedrive.
type unsent struct{ error }

func (u unsent) Unwrap() error { return u.error }

func notSent(err error) bool {
	_, ok := errors.AsType[unsent](err)
	return ok
}

// lost is why there is no answer. The URL, which may say whom somebody looked for, is not told.
func lost(caller, limited context.Context, err error) *Error {
	if caller.Err() != nil {
		return &Error{Reason: Canceled, Err: context.Cause(caller)}
	}
	if limited.Err() != nil {
		return &Error{Reason: Unavailable, Err: context.Cause(limited)}
	}
	err = bare(err)
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		err = unsent{err}
	}
	return &Error{Reason: Unavailable, Err: err}
}

func bare(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

func asError(ctx context.Context, err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	if ctx.Err() != nil {
		return &Error{Reason: Canceled, Err: context.Cause(ctx)}
	}
	return &Error{Reason: Unavailable, Err: err} // what keeps the tokens is away; nobody has to connect again
}

func reasonOf(err error) Reason {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Reason
	}
	return Unexpected
}

// down reports whether an error says that Pipedrive does not work, rather than that it says no.
func down(err error) bool {
	r := reasonOf(err)
	return err != nil && (r == Unavailable || r == Garbled)
}

// secrets are what must not come back in Pipedrive's words.
func secrets(r *http.Request, hidden map[string]string) *core.Redactor {
	all := map[string]string{"token": r.Header.Get(tokenHeader), "bearer": strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")}
	for name, value := range hidden {
		all[name] = value
	}
	return core.NewRedactor(all)
}
