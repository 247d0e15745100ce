package ingress

import (
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"strconv"
	"unicode/utf8"

	"github.com/pipehook/pipehook/core"
)

// statusOf is the only place that knows them.
func statusOf(kind core.Kind) int {
	switch kind {
	case core.Malformed:
		return http.StatusBadRequest
	case core.Invalid, core.Permanent:
		return http.StatusUnprocessableEntity
	case core.Unauthenticated:
		return http.StatusUnauthorized
	case core.Forbidden:
		return http.StatusForbidden
	case core.TooLarge:
		return http.StatusRequestEntityTooLarge
	case core.UnsupportedMediaType:
		return http.StatusUnsupportedMediaType
	case core.Conflict:
		return http.StatusConflict
	case core.RateLimited:
		return http.StatusTooManyRequests
	case core.Unavailable, core.Unreached:
		return http.StatusServiceUnavailable
	case core.Failed:
		return http.StatusBadGateway
	default:
		return http.StatusInternalServerError
	}
}

// shown is what may be shown of an error.
func shown(err error) (kind core.Kind, msg, challenge string) {
	kind, msg = core.Internal, "internal error"
	if errors.Is(err, context.DeadlineExceeded) {
		kind, msg = core.Unavailable, "the event could not be handled in time"
	}
	if e, ok := errors.AsType[*core.Error](err); ok && statusOf(e.Kind) != http.StatusInternalServerError {
		kind, msg, challenge = e.Kind, e.Msg, e.Challenge
	}
	return kind, msg, challenge
}

// fail answers with what the error may show.
func fail(w http.ResponseWriter, requestID string, err error) (status int, code string) {
	kind, msg, challenge := shown(err)
	switch kind {
	case core.Unauthenticated:
		if challenge == "" {
			challenge = `Basic realm="pipehook", charset="UTF-8"`
		}
		w.Header().Set("WWW-Authenticate", challenge)
	case core.Unavailable, core.RateLimited, core.Unreached:
		after := "5"
		if errors.Is(err, errOverBudget) { // which passes as soon as others are answered
			after = "1"
		}
		if d := core.RetryAfter(err); d > 0 {
			after = strconv.Itoa(int(math.Ceil(d.Seconds())))
		}
		w.Header().Set("Retry-After", after)
	}
	status, code = statusOf(kind), kind.String()
	writeError(w, status, code, msg, requestID)
	return status, code
}

func writeReceipt(w http.ResponseWriter, status, id, requestID string) {
	writeBody(w, http.StatusOK, requestID, `{"status":"`+status+`","id":"`+id+`"}`)
}

func writeError(w http.ResponseWriter, status int, code, msg, requestID string) {
	body := make([]byte, 0, 128+len(msg))
	body = append(body, `{"error":{"code":"`...)
	body = append(body, code...)
	body = append(body, `","message":`...)
	body = appendQuoted(body, msg)
	body = append(body, `,"request_id":"`...)
	body = append(body, requestID...)
	body = append(body, `"}}`...)
	writeBody(w, status, requestID, string(body))
}

// appendQuoted appends text as a JSON string. A message may repeat names that a sender chose.
func appendQuoted(b []byte, text string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r < 0x20 || r == 0x7f:
			b = append(b, '\\', 'u', '0', '0', hex[r>>4], hex[r&0xf])
		default: // what is not UTF-8 came out of the loop as U+FFFD
			b = utf8.AppendRune(b, r)
		}
	}
	return append(b, '"')
}

func writeBody(w http.ResponseWriter, status int, requestID, body string) {
	values := [...]string{"application/json", strconv.Itoa(len(body)), requestID}
	header := w.Header()
	header["Content-Type"] = values[0:1:1]
	header["Content-Length"] = values[1:2:2]
	header["X-Request-Id"] = values[2:3:3]
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body) // fails only when the client is gone
}
