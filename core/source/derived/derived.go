// Package derived makes events of what a listener says while it handles another, and names them
// again when they come from the store. It knows neither scripts nor how events are stored.
package derived

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/jsonscan"
)

// SourceName is what derived events have as their Source. No pipeline can have it.
const SourceName = "derived"

// The limits of derived events.
const (
	MaxDepth    = 8       // events that were derived from each other: the ninth is refused
	MaxBody     = 1 << 20 // bytes of the envelope
	MaxObjectID = 256     // bytes
	MaxKey      = 512     // bytes
)

// Cause is where a derived event comes from.
type Cause struct {
	Event    string `json:"event"`    // the id of the event that was handled
	Listener string `json:"listener"` // by whom
	Depth    int    `json:"depth"`    // 1 when that event came from a sender
}

// Envelope is a derived event's body. Current, Previous and Meta are objects, or absent.
type Envelope struct {
	Action     string          `json:"action"`
	Object     string          `json:"object"`
	ObjectID   string          `json:"objectId,omitempty"`
	Current    json.RawMessage `json:"current,omitempty"`
	Previous   json.RawMessage `json:"previous,omitempty"`
	Meta       json.RawMessage `json:"meta,omitempty"`
	OccurredAt time.Time       `json:"occurredAt"`
	Cause      Cause           `json:"cause"`
}

// Derivation is what a listener says.
type Derivation struct {
	Action, Object, ObjectID string
	Current, Previous, Meta  json.RawMessage // null counts as absent

	// Key tells what one listener derives from one event apart, and Ordinal does where it is empty.
	Key     string
	Ordinal int
}

// LoopError is the refusal of an event that was derived too often.
type LoopError struct{ Cause Cause }

func (e *LoopError) Error() string {
	return fmt.Sprintf("this would be the %dth event derived from one another, and %d are allowed: a listener probably receives what it emits itself; narrow its match, or check event.source", e.Cause.Depth, MaxDepth)
}

var word = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)

// New makes the event that the listener derives from cause, ready to be routed and committed: its plan
// has the key under which the same derivation counts once. The error is a LoopError, or an Error of
// Kind Invalid or TooLarge that may be shown.
func New(cause *core.Event, listener string, d Derivation, now time.Time) (*core.Event, error) {
	env := Envelope{
		Action: core.CanonicalAction(d.Action), Object: d.Object, ObjectID: d.ObjectID, OccurredAt: now.UTC(),
		Cause: Cause{Event: cause.ID, Listener: listener, Depth: 1},
	}
	if before, ok := CauseOf(cause.Source, cause.Body); ok {
		env.Cause.Depth = before.Depth + 1
	}
	if env.Cause.Depth > MaxDepth {
		return nil, &LoopError{env.Cause}
	}
	if err := env.fill(&d); err != nil {
		return nil, err
	}
	body, err := env.encode()
	if err != nil {
		return nil, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("make an id: %w", err)
	}
	ev := &core.Event{ID: id.String(), Pipeline: cause.Pipeline, Source: SourceName, ReceivedAt: now, Body: body}
	if err := (Source{}).Name(ev); err != nil {
		return nil, err
	}
	ev.Plan = core.Plan{Store: true, Key: key(cause, listener, &d)}
	return ev, nil
}

func (env *Envelope) fill(d *Derivation) error {
	switch {
	case !word.MatchString(d.Action) || !word.MatchString(d.Object):
		return invalid("an event is named action.object, such as added.invoice: letters, digits, - and _, at most 64 of them on each side")
	case len(d.ObjectID) > MaxObjectID || !utf8.ValidString(d.ObjectID) || strings.Contains(d.ObjectID, "\x00"):
		return invalid("objectId is text of at most %d bytes", MaxObjectID)
	case len(d.Key) > MaxKey:
		return invalid("key has %d bytes and may have %d", len(d.Key), MaxKey)
	}
	for _, part := range []struct {
		name string
		from json.RawMessage
		into *json.RawMessage
	}{{"current", d.Current, &env.Current}, {"previous", d.Previous, &env.Previous}, {"meta", d.Meta, &env.Meta}} {
		text := bytes.TrimSpace(part.from)
		switch {
		case len(text) == 0 || string(text) == "null":
			continue
		case len(text) > MaxBody:
			return tooLarge()
		case text[0] != '{' || jsonscan.Depth(text, jsonscan.MaxDepth-1) >= jsonscan.MaxDepth || !json.Valid(text):
			return invalid("%s is an object, nested less than %d deep, or null", part.name, jsonscan.MaxDepth)
		}
		*part.into = text
	}
	return nil
}

func (env *Envelope) encode() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(env); err != nil {
		return nil, fmt.Errorf("write a derived event: %w", err)
	}
	body := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	if len(body) > MaxBody {
		return nil, tooLarge()
	}
	return body, nil
}

func tooLarge() error {
	return &core.Error{Kind: core.TooLarge, Msg: fmt.Sprintf("an event that is emitted may have %d bytes as JSON", MaxBody)}
}

func invalid(format string, args ...any) error {
	return &core.Error{Kind: core.Invalid, Msg: fmt.Sprintf(format, args...)}
}

// key is equal for what an attempt derives and what the next attempt of the same delivery does, and
// has a length that no other source's keys have. It begins with a time, as theirs do, so that the
// index grows at its end.
func key(cause *core.Event, listener string, d *Derivation) []byte {
	own := "key " + d.Key
	if d.Key == "" {
		own = fmt.Sprint("ordinal ", d.Ordinal)
	}
	var parts []byte
	for _, p := range []string{cause.ID, listener, own} {
		parts = append(binary.AppendUvarint(parts, uint64(len(p))), p...)
	}
	sum := sha256.Sum256(parts)
	k := binary.BigEndian.AppendUint64(make([]byte, 0, 32), uint64(cause.ReceivedAt.UnixMilli()))
	return append(k, sum[:24]...)
}

// Source names derived events again. Their Meta has the Cause under "cause".
type Source struct{}

// Name is part of core.Source.
func (Source) Name(ev *core.Event) error {
	var env Envelope
	if err := json.Unmarshal(ev.Body, &env); err != nil || len(env.Meta) > 0 && env.Meta[0] != '{' {
		return &core.Error{Kind: core.Malformed, Msg: "the body is not that of a derived event", Err: err}
	}
	ev.Action, ev.Object, ev.ObjectID = env.Action, env.Object, env.ObjectID
	ev.Current, ev.Previous, ev.OccurredAt = env.Current, env.Previous, env.OccurredAt
	var err error
	ev.Meta, err = env.meta()
	return err
}

// meta is what was said of the event, and its cause, which nobody can say otherwise: of two fields of
// one name the last counts.
func (env *Envelope) meta() (json.RawMessage, error) {
	cause, err := json.Marshal(env.Cause)
	if err != nil {
		return nil, fmt.Errorf("write a cause: %w", err)
	}
	said := bytes.TrimSpace(bytes.TrimSuffix(bytes.TrimSpace(env.Meta), []byte("}")))
	if len(said) == 0 {
		said = []byte("{")
	}
	meta := slices.Clone(said)
	if len(said) > 1 {
		meta = append(meta, ',')
	}
	return slices.Concat(meta, []byte(`"cause":`), cause, []byte("}")), nil
}

// CauseOf is the cause of an event with this source and body, if it was derived.
func CauseOf(source string, body []byte) (Cause, bool) {
	if source != SourceName {
		return Cause{}, false
	}
	var env struct {
		Cause Cause `json:"cause"`
	}
	err := json.Unmarshal(body, &env)
	return env.Cause, err == nil && env.Cause.Event != ""
}
