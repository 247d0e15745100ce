package ingress

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/pipehook/pipehook/core"
)

// checkContent takes JSON in UTF-8, and what else the hook's source reads, that is not compressed. A
// header given twice is refused: nobody can say which of the two the sender meant.
func checkContent(header http.Header, more []string) error {
	for _, encoding := range header["Content-Encoding"] {
		if !strings.EqualFold(encoding, "identity") {
			return &core.Error{Kind: core.UnsupportedMediaType, Msg: "send the body without a Content-Encoding"}
		}
	}
	given := header["Content-Type"]
	if len(given) == 1 && (given[0] == "application/json" || given[0] == "application/json; charset=utf-8") {
		return nil // what almost everybody sends
	}
	if len(given) == 1 && (isJSON(given[0]) || isOneOf(given[0], more)) {
		return nil
	}
	msg := "send the body as Content-Type: application/json, in UTF-8"
	if len(more) > 0 {
		msg += ", or as " + strings.Join(more, " or ")
	}
	return &core.Error{Kind: core.UnsupportedMediaType, Msg: msg}
}

// isOneOf leaves the charset and other parameters to whoever reads the body.
func isOneOf(contentType string, types []string) bool {
	media, _, err := mime.ParseMediaType(contentType)
	return err == nil && slices.Contains(types, media)
}

func isJSON(contentType string) bool {
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return false
	}
	subtype, ok := strings.CutPrefix(media, "application/")
	if !ok || subtype != "json" && (!strings.HasSuffix(subtype, "+json") || subtype == "+json") {
		return false
	}
	charset, given := params["charset"]
	return !given || strings.EqualFold(charset, "utf-8")
}

// firstPart is what a body may take before any of it is there: about what its connection takes.
const firstPart = 16 << 10

// readBody reads the whole body or fails; it never returns a part of one. The memory it takes
// follows what has arrived, not what was announced, so that announcing much costs a stranger as
// much as sending it.
func readBody(r *http.Request, limit int64, s *share) ([]byte, error) {
	known := r.ContentLength >= 0
	most := limit + 1 // one more byte tells a body at the limit from one above it
	if known {
		most = r.ContentLength
	}
	var body []byte
	for ended := false; !ended && int64(len(body)) < most; {
		if len(body) == cap(body) {
			size := min(most, max(firstPart, 4*int64(cap(body))))
			if err := s.grow(size); err != nil {
				return nil, err
			}
			body = append(make([]byte, 0, size), body...)
		}
		n, err := r.Body.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		ended = err == io.EOF
		if err != nil && !ended {
			return nil, cutShort(err)
		}
	}
	switch {
	case int64(len(body)) > limit:
		return nil, tooLarge(limit)
	case known && int64(len(body)) < most:
		return nil, cutShort(io.ErrUnexpectedEOF)
	case len(body) == 0:
		return nil, &core.Error{Kind: core.Malformed, Msg: "the body is empty"}
	}
	return body, nil
}

func cutShort(err error) error {
	msg := "the body ended before it was complete"
	if errors.Is(err, os.ErrDeadlineExceeded) {
		msg = "the body did not arrive in time"
	}
	return &core.Error{Kind: core.Malformed, Msg: msg, Err: err}
}

func tooLarge(limit int64) error {
	return &core.Error{Kind: core.TooLarge, Msg: fmt.Sprintf("the body is larger than %d bytes", limit)}
}

// budget bounds the bytes of all bodies together.
type budget struct {
	limit int64
	used  atomic.Int64
}

var errOverBudget = errors.New("the bodies in flight are at their limit")

// share is one request's part of a budget.
type share struct {
	of   *budget
	held int64
}

// grow makes the share that large, or fails.
func (s *share) grow(size int64) error {
	more := size - s.held
	if s.of.used.Add(more) > s.of.limit {
		s.of.used.Add(-more)
		return &core.Error{Kind: core.Unavailable, Msg: "too much is being received at once", Err: errOverBudget}
	}
	s.held = size
	return nil
}

func (s *share) release() {
	s.of.used.Add(-s.held)
	s.held = 0
}
