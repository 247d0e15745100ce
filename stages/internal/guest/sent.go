package guest

import (
	"bytes"
	"encoding/json"
	"strconv"

	"github.com/pipehook/pipehook/core/jsonscan"
)

// digits compares numbers as the code sees them.
type digits struct{ largeAsText bool }

// asSent gives what a user's code said the digits that the sender wrote, wherever the value is the one
// that it was shown: most languages write 1.50 as 1.5, and a script is shown 9007199254740993 as text.
// Else a field that nobody touched would look changed. A value of the code's own stays.
func (d digits) asSent(sent, returned json.RawMessage) json.RawMessage {
	sent, returned = bytes.TrimSpace(sent), bytes.TrimSpace(returned)
	if len(sent) == 0 || len(returned) == 0 || bytes.Equal(sent, returned) {
		return returned
	}
	switch {
	case sent[0] == '{' && returned[0] == '{':
		return d.object(sent, returned)
	case sent[0] == '[' && returned[0] == '[':
		return d.array(sent, returned)
	case d.shown(sent, returned):
		return sent
	default:
		return returned
	}
}

func (d digits) object(sent, returned json.RawMessage) json.RawMessage {
	var before, after map[string]json.RawMessage
	if json.Unmarshal(sent, &before) != nil || json.Unmarshal(returned, &after) != nil {
		return returned
	}
	for name, v := range after {
		if was, ok := before[name]; ok {
			after[name] = d.asSent(was, v)
		}
	}
	return encoded(after, returned)
}

// array compares by place: what was moved keeps the digits it came with.
func (d digits) array(sent, returned json.RawMessage) json.RawMessage {
	var before, after []json.RawMessage
	if json.Unmarshal(sent, &before) != nil || json.Unmarshal(returned, &after) != nil {
		return returned
	}
	for i := range min(len(before), len(after)) {
		after[i] = d.asSent(before[i], after[i])
	}
	return encoded(after, returned)
}

func encoded(v any, otherwise json.RawMessage) json.RawMessage {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if enc.Encode(v) != nil {
		return otherwise
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// shown reports whether returned is how the code sees the number sent.
func (d digits) shown(sent, returned json.RawMessage) bool {
	if jsonscan.What(sent) != "a number" {
		return false
	}
	switch jsonscan.What(returned) {
	case "text": // only numbers that JavaScript would round are shown so
		n, err := strconv.ParseInt(string(sent), 10, 64)
		rounded := !bytes.ContainsAny(sent, ".eE") && (err != nil || n >= 1<<53 || n <= -1<<53)
		var s string
		return d.largeAsText && rounded && json.Unmarshal(returned, &s) == nil && s == string(sent)
	case "a number":
		x, errX := strconv.ParseFloat(string(sent), 64)
		y, errY := strconv.ParseFloat(string(returned), 64)
		return errX == nil && errY == nil && x == y
	default:
		return false
	}
}
