package pipedrive

import (
	"fmt"
	"strings"
	"time"

	"github.com/pipehook/pipehook/core"
)

// Reason says why a call failed, and with that what may be done about it.
type Reason uint8

// The reasons. Their statuses are those of Pipedrive's page on HTTP status codes.
const (
	Unexpected   Reason = iota // a status that is documented nowhere
	Unauthorized               // 401: the token is wrong
	Disconnected               // the app has no tokens, or they ended: somebody must connect it again
	Closed                     // 402: the company's account is closed
	Forbidden                  // 403: no permission, no scope, or a limit of the plan
	Blocked                    // 403 with a page that is not the API's: traffic is refused before the API
	NotFound                   // 404
	Gone                       // 410
	FeatureOff                 // 415: the company does not have this feature
	Limit                      // 422: no more webhooks
	Invalid                    // 400 and its kin: the request is wrong
	RateLimited                // 429, or the wait for the budget would be too long
	DailySpent                 // the day's tokens are used up
	Unavailable                // 5xx, no connection, no answer in time, or the tokens can't be read
	Garbled                    // the answer is cut, or not JSON
	TooLarge                   // the answer is over the limit of size
	Redirected                 // the answer sends elsewhere, where credentials are not taken
	Repeated                   // a list gives the same page again
	Open                       // not asked: it failed so often that it is left alone for a while
	Canceled                   // whoever called went away
	Switched                   // an app was connected with another company in the middle of a run
)

var reasonNames = [...]string{
	"unexpected", "unauthorized", "disconnected", "closed", "forbidden", "blocked", "not_found", "gone", "feature_off", "limit",
	"invalid", "rate_limited", "daily_spent", "unavailable", "garbled", "too_large", "redirected", "repeated", "open", "canceled", "switched",
}

// String is the reason's name, stable across releases.
func (r Reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return reasonNames[Unexpected]
}

// Error is why a call failed. Its text says what to do next and holds no token, password or body; Msg and
// Info are Pipedrive's own words, shortened.
type Error struct {
	Op           string // what was wanted, such as "create a webhook"; may be empty
	Method, Path string
	Status       int // 0 without an answer
	Reason       Reason
	Msg, Info    string
	Keys         []string      // the parts of the request that its words are about, where they say so
	RetryAfter   time.Duration // when it may work; 0 when not known
	Attempts     int           // how often it was tried; 0 when it was not sent
	Unsure       bool          // a try may have been done: no answer, or one that does not say
	Err          error
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("pipedrive: ")
	if e.Op != "" {
		b.WriteString(e.Op + ": ")
	}
	if e.Path != "" {
		b.WriteString(e.Method + " " + e.Path + ": ")
	}
	b.WriteString(e.what())
	if e.Attempts > 1 {
		fmt.Fprintf(&b, " (tried %d times)", e.Attempts)
	}
	if next := e.Next(); next != "" {
		b.WriteString("; " + next)
	}
	return b.String()
}

func (e *Error) Unwrap() error { return e.Err }

// As lets an Error be read as one of core's, with a Kind and the time to wait.
func (e *Error) As(target any) bool {
	into, ok := target.(**core.Error)
	if ok {
		*into = &core.Error{Kind: e.Kind(), Msg: e.Error(), RetryAfter: e.RetryAfter}
	}
	return ok
}

// Kind is what the reason is among core's kinds.
func (e *Error) Kind() core.Kind {
	switch e.Reason {
	case Unauthorized, Disconnected:
		return core.Unauthenticated
	case Forbidden, Closed:
		return core.Forbidden
	case RateLimited, DailySpent, Blocked:
		return core.RateLimited
	case Unavailable, Garbled, Open, Canceled, Repeated, Switched:
		return core.Unavailable
	case Invalid:
		return core.Invalid
	case NotFound, Gone, FeatureOff, Limit, TooLarge, Redirected:
		return core.Permanent
	default:
		return core.Internal
	}
}

// what is the fact, in Pipedrive's words where it has some.
func (e *Error) what() string {
	text := whats[e.Reason]
	if e.Status != 0 && e.Reason != RateLimited {
		text = fmt.Sprintf("%s (%d)", text, e.Status)
	}
	for _, own := range [...]string{e.Msg, e.Info} {
		if own != "" {
			text += ": " + own
		}
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Next is what to do about it, which ends the error's text; empty when there is nothing.
func (e *Error) Next() string {
	wait := ""
	if e.RetryAfter > 0 {
		wait = "try again in " + e.RetryAfter.Round(time.Second).String()
		if e.RetryAfter < time.Second {
			wait = "try again in a second"
		}
	}
	switch e.Reason {
	case Blocked, RateLimited, Unavailable, Open, DailySpent:
		if wait == "" {
			wait = "try again later"
		}
		if e.Reason == DailySpent {
			return wait + ", or raise pipedrive.budget.daily or the plan's tokens"
		}
		return wait
	default:
		return nexts[e.Reason]
	}
}

var whats = map[Reason]string{
	Unexpected:   "an answer that is not known",
	Unauthorized: "the token is not accepted",
	Disconnected: "pipehook is not connected with Pipedrive",
	Closed:       "the company's account is closed",
	Forbidden:    "not allowed",
	Blocked:      "Pipedrive refuses all traffic from here for a while, as it does when requests go on after 429",
	NotFound:     "not found",
	Gone:         "gone for good",
	FeatureOff:   "the company does not have this feature",
	Limit:        "no more webhooks: a user has 40 at most",
	Invalid:      "the request is not accepted",
	RateLimited:  "too many requests",
	DailySpent:   "the day's tokens are spent",
	Unavailable:  "Pipedrive can't be reached",
	Garbled:      "the answer is cut or not JSON",
	TooLarge:     "the answer is too large",
	Redirected:   "the answer sends elsewhere",
	Repeated:     "the list gives a page again that it has given before",
	Open:         "Pipedrive failed so often that it is left alone for a while",
	Canceled:     "given up",
	Switched:     "the app was connected with another company since this began",
}

var nexts = map[Reason]string{
	Unexpected:   "see Pipedrive's status page, status.pipedrive.com",
	Unauthorized: "set pipedrive.api_token to the token that Pipedrive shows under Personal preferences, API; of an app, connect again",
	Disconnected: "run pipehook pipedrive connect",
	Closed:       "ask Pipedrive's support",
	Forbidden:    "use the token of an admin, or give the app the scope it lacks",
	NotFound:     "it may be deleted, or the token's user may not see it",
	Gone:         "do not ask for it again",
	FeatureOff:   "switch the feature on in Pipedrive, or leave it out",
	Limit:        "delete one that is not needed: pipehook webhooks list",
	Garbled:      "try again; if it stays, look for a proxy in between",
	TooLarge:     "ask for smaller pages",
	Redirected:   "set pipedrive.company or pipedrive.base_url to where the company is now",
	Repeated:     "try again from the start",
	Switched:     "begin again",
}
