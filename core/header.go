package core

import (
	"maps"
	"net/http"
	"slices"
	"strings"
)

// KeptHeader is what of a request's header may be written to a disk: without what could be a
// credential, and without what says nothing of the event.
func KeptHeader(h http.Header) http.Header {
	kept := make(http.Header, len(h))
	for name, values := range h {
		if !dropped(name) {
			kept[name] = values
		}
	}
	return kept
}

// transport are headers of the connection and of the client's abilities.
var transport = map[string]bool{
	"Accept": true, "Accept-Encoding": true, "Accept-Language": true, "Cache-Control": true, "Connection": true, "Content-Encoding": true,
	"Content-Length": true, "Keep-Alive": true, "Te": true, "Transfer-Encoding": true, "Upgrade": true,
}

func dropped(name string) bool {
	if transport[name] {
		return true
	}
	lower := strings.ToLower(name)
	for _, word := range []string{"auth", "cookie", "token", "secret", "password", "api-key", "apikey"} {
		if strings.Contains(lower, word) {
			return true
		}
	}
	return false
}

const (
	mostHeaders     = 32 // names
	mostHeaderName  = 64
	mostHeaderValue = 256 // of all values of a name
)

// ShownHeader is what is kept of the header of a request that was refused, who may be anybody and
// may have put a secret anywhere: the values that help to find out who sent it and how, and of the
// others of KeptHeader that they were there. It is bounded.
func ShownHeader(h http.Header) http.Header {
	kept := KeptHeader(h)
	shown := make(http.Header, min(len(kept), mostHeaders))
	for _, name := range slices.Sorted(maps.Keys(kept)) {
		if len(shown) == mostHeaders {
			break
		}
		value := redacted
		if telling[name] {
			value = strings.Join(kept[name], ", ")
		}
		shown[clipped(name, mostHeaderName)] = []string{clipped(value, mostHeaderValue)}
	}
	return shown
}

// telling are headers whose values say who sent a request, by which way and in what form.
var telling = map[string]bool{
	"Content-Type": true, "Date": true, "Forwarded": true, "Traceparent": true, "User-Agent": true, "Via": true,
	"X-Correlation-Id": true, "X-Forwarded-For": true, "X-Forwarded-Host": true, "X-Forwarded-Proto": true,
	"X-Real-Ip": true, "X-Request-Id": true,
}
