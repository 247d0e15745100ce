package pipedrive

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"unicode"

	"github.com/pipehook/pipehook/core"
)

// Response is an answer that says success.
type Response struct {
	Status     int
	Header     http.Header
	Data       json.RawMessage // nil when there is none, "null" when it says so
	Additional json.RawMessage // additional_data
	Raw        []byte          // all of it
}

// mostWords bounds what is quoted of Pipedrive's own words.
const mostWords = 300

// answer is what all answers of both versions have in common. What says why something failed has many
// forms: text, or an object of lists by the field that is wrong.
type answer struct {
	Success    *bool           `json:"success"`
	Data       json.RawMessage `json:"data"`
	Additional json.RawMessage `json:"additional_data"`
	Error      json.RawMessage `json:"error"`
	ErrorInfo  json.RawMessage `json:"error_info"`
	Message    json.RawMessage `json:"message"`
	Errors     json.RawMessage `json:"errors"`
}

// parse reads an answer. Its error has a Reason, a Status and Pipedrive's words without what is secret.
func parse(status int, header http.Header, body []byte, secrets *core.Redactor) (*Response, *Error) {
	var a answer
	isJSON := looksLikeObject(body) && json.Unmarshal(body, &a) == nil
	r := &Response{Status: status, Header: header, Data: a.Data, Additional: a.Additional, Raw: body}
	ok := status >= 200 && status < 300
	switch {
	case ok && len(bytes.TrimSpace(body)) == 0 && header.Get("Content-Length") == "0", status == http.StatusNoContent:
		return r, nil
	case ok && !isJSON:
		return nil, &Error{Status: status, Reason: Garbled}
	case ok && (a.Success == nil || *a.Success):
		return r, nil
	}
	e := &Error{Status: status, Reason: reason(status, isJSON)}
	if isJSON {
		e.Msg = words(secrets, a.Error, a.Message)
		if own := words(secrets, a.Errors); own != "" && own != e.Msg { // what is wrong, and not only that something is
			e.Msg = strings.TrimPrefix(e.Msg+": "+own, ": ")
		}
		e.Keys = keysOf(a.Errors)
		e.Info = words(secrets, a.ErrorInfo)
		if strings.HasPrefix(e.Info, "Please check developers.pipedrive.com") {
			e.Info = ""
		}
	}
	return nil, e
}

func looksLikeObject(body []byte) bool {
	trimmed := bytes.TrimLeft(body, " \t\r\n")
	return len(trimmed) > 0 && trimmed[0] == '{'
}

func reason(status int, isJSON bool) Reason {
	switch {
	case status >= 200 && status < 300:
		return Invalid // it says success: false
	case status >= 300 && status < 400:
		return Redirected
	case status == http.StatusForbidden && !isJSON:
		return Blocked
	case status >= 500, status == http.StatusRequestTimeout:
		return Unavailable
	}
	switch status {
	case http.StatusUnauthorized:
		return Unauthorized
	case http.StatusPaymentRequired:
		return Closed
	case http.StatusForbidden:
		return Forbidden
	case http.StatusNotFound:
		return NotFound
	case http.StatusGone:
		return Gone
	case http.StatusUnsupportedMediaType:
		return FeatureOff
	case http.StatusUnprocessableEntity:
		return Limit
	case http.StatusTooManyRequests:
		return RateLimited
	case http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusConflict, http.StatusRequestEntityTooLarge:
		return Invalid
	default:
		return Unexpected
	}
}

// keysOf are the keys of an object.
func keysOf(text json.RawMessage) []string {
	var parts map[string]json.RawMessage
	if json.Unmarshal(text, &parts) != nil {
		return nil
	}
	return slices.Sorted(maps.Keys(parts))
}

// words are the first of parts that say something, on one line. Secrets are taken out before it is cut: half of one is
// not known any more.
func words(secrets *core.Redactor, parts ...json.RawMessage) string {
	for _, part := range parts {
		var value any
		if len(part) == 0 || json.Unmarshal(part, &value) != nil {
			continue
		}
		if text := clean(secrets.Redact(flat(value))); text != "" {
			return text
		}
	}
	return ""
}

// flat is a value as text: {"url":["is bad"]} is "url: is bad".
func flat(value any) string {
	switch v := value.(type) {
	case string:
		return v
	case []any:
		var texts []string
		for _, one := range v {
			if text := flat(one); text != "" {
				texts = append(texts, text)
			}
		}
		return strings.Join(texts, ", ")
	case map[string]any:
		var texts []string
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if text := flat(v[key]); text != "" {
				texts = append(texts, key+": "+text)
			}
		}
		return strings.Join(texts, ", ")
	default:
		return ""
	}
}

// clean is text for one line of a log or terminal.
func clean(text string) string {
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " ")
	if len(text) > mostWords {
		text = strings.ToValidUTF8(text[:mostWords], "") + "…"
	}
	return strings.TrimSuffix(text, ".")
}
