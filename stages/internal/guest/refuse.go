package guest

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pipehook/pipehook/core"
)

// kinds are the statuses that a user's code may ask for, by what they mean here.
var kinds = map[int]core.Kind{
	400: core.Malformed, 401: core.Unauthenticated, 403: core.Forbidden, 409: core.Conflict, 413: core.TooLarge,
	415: core.UnsupportedMediaType, 422: core.Invalid, 429: core.RateLimited, 503: core.Unavailable,
}

func statuses() string {
	all := make([]string, 0, len(kinds))
	for _, status := range slices.Sorted(maps.Keys(kinds)) {
		all = append(all, fmt.Sprint(status))
	}
	return strings.Join(all, ", ")
}

// mostMessage bounds what a sender is told.
const mostMessage = 512

// refusal is nil for a status that can't be asked for.
func refusal(r *Reject) error {
	kind, ok := kinds[r.Status]
	if !ok {
		return nil
	}
	msg := strings.ToValidUTF8(r.Msg, "\uFFFD")
	if len(msg) > mostMessage {
		msg = strings.ToValidUTF8(msg[:mostMessage], "") + "…"
	}
	if msg == "" {
		msg = "the request was turned away"
	}
	e := &core.Error{Kind: kind, Msg: msg, RetryAfter: r.RetryAfter}
	if kind == core.Unauthenticated { // every 401 says what would do; only the user's code knows
		e.Challenge = `Custom realm="pipehook"`
	}
	return e
}
