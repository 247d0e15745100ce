package script

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/jsonscan"
	"github.com/pipehook/pipehook/core/source/guest"
)

// keys are what a source may return.
var keys = []string{
	"action", "object", "objectId", "current", "previous", "meta", "occurredAt", "version", "attempt", "userId", "companyId", "changeSource", "key",
}

// read makes of what the script returned what a source can say. An error names the key and never the
// value.
func read(value []byte) (*guest.Said, error) {
	value = bytes.TrimSpace(value)
	if len(value) == 0 || string(value) == "null" {
		return nil, nil
	}
	if jsonscan.Depth(value, jsonscan.MaxDepth) > jsonscan.MaxDepth {
		return nil, fmt.Errorf("the source returned what is nested deeper than %d", jsonscan.MaxDepth)
	}
	var given map[string]json.RawMessage
	if err := json.Unmarshal(value, &given); err != nil {
		return nil, fmt.Errorf("a source must return an object, and returned %s", jsonscan.What(value))
	}
	said := &guest.Said{}
	for _, key := range slices.Sorted(maps.Keys(given)) {
		v := given[key]
		if string(v) == "null" && slices.Contains(keys, key) {
			continue // as if it were not there
		}
		if err := part(said, key, v); err != nil {
			return nil, guest.Unfit(err)
		}
	}
	return said, nil
}

func part(s *guest.Said, key string, v json.RawMessage) (err error) {
	switch key {
	case "action":
		s.Action, err = word(key, v)
	case "object":
		s.Object, err = word(key, v)
	case "objectId":
		s.ObjectID, err = text(key, v)
	case "current":
		s.Current = v
	case "previous":
		s.Previous = v
	case "meta":
		s.Meta = v
	case "occurredAt":
		s.OccurredAt, err = moment(v)
	case "version":
		s.Version, err = text(key, v)
	case "attempt":
		s.Attempt, err = count(v)
	case "userId":
		s.Facts.UserID, err = text(key, v)
	case "companyId":
		s.Facts.CompanyID, err = text(key, v)
	case "changeSource":
		s.Facts.ChangeSource, err = text(key, v)
	case "key":
		s.Key, err = repeated(v)
	default:
		err = fmt.Errorf("unknown key %q: a source may return %s", clip(key), strings.Join(keys, ", "))
	}
	return err
}

// word refuses an empty text too: what is not known is left out.
func word(key string, v json.RawMessage) (string, error) {
	s, err := plainText(key, v)
	if err == nil && s == "" {
		err = core.CheckWord(key, s, "*")
	}
	return s, err
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
	return plainText(key, v)
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

// repeated is the text that the sender repeats with a repetition.
func repeated(v json.RawMessage) ([]byte, error) {
	if jsonscan.What(v) == "a number" {
		return v, nil
	}
	key, err := plainText("key", v)
	return []byte(key), err
}

func clip(s string) string {
	const most = 64
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
