package guest

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/jsonscan"
)

const (
	// mostText bounds the texts that are kept with an event.
	mostText = 256

	// mostFlaw bounds what a sender is told.
	mostFlaw = 1 << 10

	// mostAttempt is more than any sender tries.
	mostAttempt = 1<<31 - 1
)

// Unfit is the failure of code that said what a source can't.
func Unfit(err error) error { return fmt.Errorf("the source returned what it can't: %w", err) }

// name fills in the event with what was said, all of it or nothing. An error names the part and never
// the value.
func (s *Said) name(ev *core.Event) error {
	if err := s.check(); err != nil {
		return Unfit(err)
	}
	if s.Action != "" {
		ev.Action = core.CanonicalAction(s.Action)
	}
	if s.AlsoAction != "" {
		ev.AlsoAction = core.CanonicalAction(s.AlsoAction)
	}
	if s.Object != "" {
		ev.Object = s.Object
	}
	ev.ObjectID, ev.Current, ev.Previous, ev.Meta = s.ObjectID, present(s.Current), present(s.Previous), present(s.Meta)
	ev.OccurredAt, ev.Version, ev.Attempt, ev.Facts = utc(s.OccurredAt), s.Version, s.Attempt, s.Facts
	ev.Flaw, ev.Key = flaw(s.Flaw), hashed(ev.Pipeline, s.Key)
	return nil
}

func (s *Said) check() error {
	for _, w := range []struct{ name, is, not string }{{"action", s.Action, "*."}, {"alsoAction", s.AlsoAction, "*."}, {"object", s.Object, "*"}} {
		if w.is == "" {
			continue
		}
		if err := core.CheckWord(w.name, w.is, w.not); err != nil {
			return err
		}
	}
	for _, text := range []struct{ name, is string }{
		{"objectId", s.ObjectID}, {"version", s.Version}, {"userId", s.Facts.UserID}, {"companyId", s.Facts.CompanyID}, {"changeSource", s.Facts.ChangeSource},
	} {
		if len(text.is) > mostText || !utf8.ValidString(text.is) || strings.ContainsFunc(text.is, unicode.IsControl) {
			return fmt.Errorf("%s: must be text of at most %d bytes without control characters", text.name, mostText)
		}
	}
	for _, doc := range []struct {
		name string
		is   json.RawMessage
	}{{"current", s.Current}, {"previous", s.Previous}, {"meta", s.Meta}} {
		switch {
		case len(doc.is) == 0:
		case jsonscan.Depth(doc.is, jsonscan.MaxDepth) > jsonscan.MaxDepth:
			return fmt.Errorf("%s: is nested deeper than %d", doc.name, jsonscan.MaxDepth)
		case !json.Valid(doc.is):
			return fmt.Errorf("%s: is not JSON", doc.name)
		}
	}
	if s.Attempt < 0 || s.Attempt > mostAttempt {
		return fmt.Errorf("attempt: must be a whole number from 0")
	}
	if at := s.OccurredAt; !at.IsZero() && (at.UTC().Year() < 1 || at.UTC().Year() > 9999) {
		return fmt.Errorf("occurredAt: is not between the years 1 and 9999")
	}
	return nil
}

// present is nil for nothing.
func present(v json.RawMessage) json.RawMessage {
	if len(v) == 0 {
		return nil
	}
	return v
}

func utc(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC()
}

// flaw is as much of a text as its sender is told.
func flaw(msg string) string {
	msg = strings.ToValidUTF8(msg, "\uFFFD")
	if len(msg) > mostFlaw {
		msg = strings.ToValidUTF8(msg[:mostFlaw], "") + "…"
	}
	return msg
}

// hashed makes the key of a pipeline's event of one of its sender's.
func hashed(pipeline string, key []byte) []byte {
	if len(key) == 0 {
		return nil
	}
	buf := binary.AppendUvarint(nil, uint64(len(pipeline)))
	sum := sha256.Sum256(append(append(buf, pipeline...), key...))
	return sum[:24]
}
