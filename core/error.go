package core

import (
	"errors"
	"time"
)

// Kind says whose fault an Error is and what may be done about it. Only the HTTP receiver turns
// it into a status, and only main into an exit code.
type Kind uint8

// The kinds of Error. An unclassified error counts as Internal.
const (
	Internal             Kind = iota // ours; nothing of it is shown
	Malformed                        // not what it claims to be: truncated, not JSON
	Invalid                          // well-formed, but not of the required shape
	Unauthenticated                  // missing or wrong credentials
	Forbidden                        // not allowed whoever it is
	TooLarge                         // over a limit of size
	UnsupportedMediaType             // a content type or encoding that is not taken
	Unavailable                      // cannot be done now: try again later
	Permanent                        // will never work: do not try again
	Failed                           // a listener failed while the sender waited
	Crashed                          // what ran the listener ended with it
	Conflict                         // at odds with what there is
	RateLimited                      // too many: try again later
	Unreached                        // what runs the listener is not there: it was not called
)

// String is the code the sender is shown, stable across releases.
func (k Kind) String() string {
	switch k {
	case Malformed:
		return "malformed"
	case Invalid:
		return "invalid"
	case Unauthenticated:
		return "unauthenticated"
	case Forbidden:
		return "forbidden"
	case TooLarge:
		return "too_large"
	case UnsupportedMediaType:
		return "unsupported_media_type"
	case Unavailable:
		return "unavailable"
	case Permanent:
		return "permanent"
	case Failed:
		return "listener_failed"
	case Crashed:
		return "crashed"
	case Conflict:
		return "conflict"
	case RateLimited:
		return "rate_limited"
	case Unreached:
		return "listener_unreached"
	default:
		return "internal"
	}
}

// Error is an error with a Kind. Msg may be shown to whoever sent the input, so it never holds a
// secret or a body; Err is for the log.
type Error struct {
	Kind      Kind
	Msg       string
	Err       error
	Challenge string // for Unauthenticated: the WWW-Authenticate value

	RetryAfter time.Duration // how long to wait, when whoever failed says so itself
}

func (e *Error) Error() string {
	if e.Err == nil {
		return e.Msg
	}
	return e.Msg + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// KindOf is the Kind of the first Error in err's chain, Internal when there is none.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Internal
}

// RetryAfter is how long the error's own maker asks to wait; 0 when it does not say.
func RetryAfter(err error) time.Duration {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.RetryAfter
	}
	return 0
}
