package script

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/jsonscan"
)

// keys are what a source may return.
var keys = []string{
	"action", "object", "objectId", "current", "previous", "meta", "occurredAt", "version", "attempt", "userId", "companyId", "changeSource", "key",
}

// mostText bounds the texts that are kept with an event.
const mostText = 256

// name fills in the event with what the script returned, all of it or nothing. An error names the key
// and never the value.
func name(ev *core.Event, value []byte) error {
	value = bytes.TrimSpace(value)
	if len(value) == 0 || string(value) == "null" {
		return nil
	}
	if jsonscan.Depth(value, jsonscan.MaxDepth) > jsonscan.MaxDepth {
		return fmt.Errorf("the source returned what is nested deeper than %d", jsonscan.MaxDepth)
	}
	var given map[string]json.RawMessage
	if err := json.Unmarshal(value, &given); err != nil {
		return fmt.Errorf("a source must return an object, and returned %s", jsonscan.What(value))
	}
	own := *ev
	for _, key := range slices.Sorted(maps.Keys(given)) {
		v := given[key]
		if string(v) == "null" && slices.Contains(keys, key) {
			continue // as if it were not there
		}
		if err := part(&own, key, v); err != nil {
			return fmt.Errorf("the source returned what it can't: %w", err)
		}
	}
	*ev = own
	return nil
}

func part(ev *core.Event, key string, v json.RawMessage) (err error) {
	switch key {
	case "action":
		if ev.Action, err = word(key, v, "*."); err == nil {
			ev.Action = core.CanonicalAction(ev.Action)
		}
	case "object":
		ev.Object, err = word(key, v, "*")
	case "objectId":
		ev.ObjectID, err = text(key, v)
	case "current":
		ev.Current = v
	case "previous":
		ev.Previous = v
	case "meta":
		ev.Meta = v
	case "occurredAt":
		ev.OccurredAt, err = moment(v)
	case "version":
		ev.Version, err = text(key, v)
	case "attempt":
		ev.Attempt, err = count(v)
	case "userId":
		ev.Facts.UserID, err = text(key, v)
	case "companyId":
		ev.Facts.CompanyID, err = text(key, v)
	case "changeSource":
		ev.Facts.ChangeSource, err = text(key, v)
	case "key":
		ev.Key, err = hashed(ev.Pipeline, v)
	default:
		err = fmt.Errorf("unknown key %q: a source may return %s", clip(key), strings.Join(keys, ", "))
	}
	return err
}

func word(key string, v json.RawMessage, not string) (string, error) {
	s, err := plainText(key, v)
	if err != nil {
		return "", err
	}
	return s, core.CheckWord(key, s, not)
}

// text takes a number too, as long as JavaScript has not rounded it.
func text(key string, v json.RawMessage) (string, error) {
	if jsonscan.What(v) == "a number" {
		n, err := strconv.ParseInt(string(v), 10, 64)
		if err != nil || n >= 1<<53 || n <= -1<<53 {
			return "", fmt.Errorf("%s: is a number that JavaScript may have rounded: return it as text", key)
		}
		return strconv.FormatInt(n, 10), nil
	}
	s, err := plainText(key, v)
	if err != nil {
		return "", err
	}
	if len(s) > mostText || strings.ContainsFunc(s, unicode.IsControl) {
		return "", fmt.Errorf("%s: must be text of at most %d bytes without control characters", key, mostText)
	}
	return s, nil
}

func plainText(key string, v json.RawMessage) (string, error) {
	var s string
	if jsonscan.What(v) != "text" || json.Unmarshal(v, &s) != nil {
		return "", fmt.Errorf("%s: must be text, is %s", key, jsonscan.What(v))
	}
	return s, nil
}

// moment takes what JavaScript makes of a Date, and milliseconds since 1970.
func moment(v json.RawMessage) (time.Time, error) {
	var t time.Time
	if jsonscan.What(v) == "a number" {
		ms, err := strconv.ParseFloat(string(v), 64)
		if err != nil || ms < -1e14 || ms > 2e14 {
			return t, fmt.Errorf("occurredAt: is a number that is no time: give milliseconds since 1970")
		}
		t = time.UnixMicro(int64(ms * 1000)).UTC()
	} else {
		s, err := plainText("occurredAt", v)
		if err != nil {
			return t, err
		}
		if t, err = time.Parse(time.RFC3339Nano, s); err != nil {
			return t, fmt.Errorf("occurredAt: must be a time with its zone, such as 2026-01-05T09:00:00Z")
		}
		t = t.UTC()
	}
	if t.Year() < 1 || t.Year() > 9999 {
		return time.Time{}, fmt.Errorf("occurredAt: is not between the years 1 and 9999")
	}
	return t, nil
}

func count(v json.RawMessage) (int, error) {
	n, err := strconv.ParseInt(string(v), 10, 32)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("attempt: must be a whole number from 0")
	}
	return int(n), nil
}

// hashed makes a key of a text that the sender repeats with a repetition.
func hashed(pipeline string, v json.RawMessage) ([]byte, error) {
	key := string(v)
	if jsonscan.What(v) != "a number" {
		var err error
		if key, err = plainText("key", v); err != nil || key == "" {
			return nil, err
		}
	}
	buf := binary.AppendUvarint(nil, uint64(len(pipeline)))
	sum := sha256.Sum256(append(append(buf, pipeline...), key...))
	return sum[:24], nil
}

func clip(s string) string {
	const most = 64
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
