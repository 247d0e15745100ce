package effect

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// APICall is a call of the API of the account that pipehook is connected with.
type APICall struct {
	Method string     `json:"method"` // GET, POST, PUT, PATCH or DELETE
	Path   string     `json:"path"`   // such as /api/v2/deals/1
	Query  url.Values `json:"query,omitempty"`
	Body   []byte     `json:"body,omitempty"` // JSON; nil for none
}

// APIAnswer is what the API answered, when it says success.
type APIAnswer struct {
	Status int    `json:"status"`
	Data   []byte `json:"data,omitempty"` // JSON; nil when there is none
	Next   string `json:"next,omitempty"` // of a list: where the next page begins; empty at its end
}

// The limits of a call.
const (
	MaxAPIPath = 2 << 10 // bytes
	MaxAPIBody = 1 << 20 // bytes of JSON
)

var apiMethods = []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}

// Writes reports whether the call changes something.
func (c *APICall) Writes() bool { return c.Method != http.MethodGet }

// Version2 reports whether the path is one of the API's version 2, whose lists are read on with cursor and
// not with start.
func (c *APICall) Version2() bool { return strings.HasPrefix(c.Path, "/api/v2/") }

// Check refuses a call that could go elsewhere than to the API.
func (c *APICall) Check() *Error {
	invalid := func(msg string) *Error { return &Error{Code: "EINVALID", Msg: msg} }
	switch {
	case !slices.Contains(apiMethods, c.Method):
		return invalid("the API knows the methods " + strings.Join(apiMethods, ", "))
	case len(c.Path) > MaxAPIPath:
		return invalid("the path is too long")
	case strings.ContainsAny(c.Path, "?#"):
		return invalid("the path has no ? or #: the query is an argument of its own")
	case strings.Contains(strings.ToLower(c.Path), "%2f"):
		return invalid("the path has no slash that is escaped: what is part of a name for one is a part of the path for another")
	case len(c.Body) > MaxAPIBody:
		return &Error{Code: "ETOOLARGE", Msg: "the body has more than 1 MiB"}
	case c.Body != nil && !json.Valid(c.Body):
		return invalid("the body is not JSON")
	}
	plain, err := url.PathUnescape(c.Path)
	if err != nil || !apiPath(plain) || !apiPath(c.Path) { // who reads it as it is written takes it for the same
		return invalid("the path must begin with /api/v2/ or /api/v1/, such as /api/v2/deals/1")
	}
	return nil
}

// apiPath looks at a path as a server would: no part of it leads up.
func apiPath(path string) bool {
	rest, ok := strings.CutPrefix(path, "/api")
	rest, second := strings.CutPrefix(rest, "/v2/")
	if !second {
		var first bool
		if rest, first = strings.CutPrefix(rest, "/v1/"); !first {
			return false
		}
	}
	if second && !ok || rest == "" || strings.ContainsFunc(path, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '\\' }) {
		return false
	}
	for part := range strings.SplitSeq(rest, "/") {
		if part == "" || part == "." || part == ".." {
			return false
		}
	}
	return true
}
