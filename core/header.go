package core

import (
	"net/http"
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
