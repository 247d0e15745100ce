package ingress

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/pipehook/pipehook/core"
)

// readBody reads the whole body or fails; it never returns a part of one.
func readBody(r *http.Request, limit int64) ([]byte, error) {
	var body []byte
	var err error
	if r.ContentLength >= 0 {
		body = make([]byte, r.ContentLength)
		_, err = io.ReadFull(r.Body, body)
	} else {
		body, err = io.ReadAll(io.LimitReader(r.Body, limit+1))
	}
	switch {
	case err != nil && !(errors.Is(err, io.EOF) && len(body) == 0):
		return nil, &core.Error{Kind: core.Malformed, Msg: "the body ended before it was complete", Err: err}
	case int64(len(body)) > limit:
		return nil, tooLarge(limit)
	case len(body) == 0:
		return nil, &core.Error{Kind: core.Malformed, Msg: "the body is empty"}
	}
	return body, nil
}

func tooLarge(limit int64) error {
	return &core.Error{Kind: core.TooLarge, Msg: fmt.Sprintf("the body is larger than %d bytes", limit)}
}

// quote is text as a JSON string.
func quote(text string) string {
	b, err := json.Marshal(text)
	if err != nil { // text always encodes
		return `""`
	}
	return string(b)
}
