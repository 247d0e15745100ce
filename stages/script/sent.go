package script

import (
	"bytes"
	"encoding/json"
	"strconv"

	"github.com/pipehook/pipehook/core/jsonscan"
)

// asSent gives what a script returned the digits that the sender wrote, wherever the value is the one
// that the script was shown: JavaScript writes 1.50 as 1.5, and is shown 9007199254740993 as text. Else
// a field that nobody touched would look changed. Both are JSON; a value of the script's own stays.
func asSent(sent, returned json.RawMessage) json.RawMessage {
	sent, returned = bytes.TrimSpace(sent), bytes.TrimSpace(returned)
	if len(sent) == 0 || len(returned) == 0 || bytes.Equal(sent, returned) {
		return returned
	}
	switch {
	case sent[0] == '{' && returned[0] == '{':
		return objectAsSent(sent, returned)
	case sent[0] == '[' && returned[0] == '[':
		return arrayAsSent(sent, returned)
	case shown(sent, returned):
		return sent
	default:
		return returned
	}
}

func objectAsSent(sent, returned json.RawMessage) json.RawMessage {
	var before, after map[string]json.RawMessage
	if json.Unmarshal(sent, &before) != nil || json.Unmarshal(returned, &after) != nil {
		return returned
	}
	for name, v := range after {
		if was, ok := before[name]; ok {
			after[name] = asSent(was, v)
		}
	}
	return encoded(after, returned)
}

// arrayAsSent compares by place: what was moved keeps the digits it came with.
func arrayAsSent(sent, returned json.RawMessage) json.RawMessage {
	var before, after []json.RawMessage
	if json.Unmarshal(sent, &before) != nil || json.Unmarshal(returned, &after) != nil {
		return returned
	}
	for i := range min(len(before), len(after)) {
		after[i] = asSent(before[i], after[i])
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

// shown reports whether returned is how a script sees the number sent.
func shown(sent, returned json.RawMessage) bool {
	if jsonscan.What(sent) != "a number" {
		return false
	}
	switch jsonscan.What(returned) {
	case "text": // only numbers that JavaScript would round are shown so
		n, err := strconv.ParseInt(string(sent), 10, 64)
		rounded := !bytes.ContainsAny(sent, ".eE") && (err != nil || n >= 1<<53 || n <= -1<<53)
		var s string
		return rounded && json.Unmarshal(returned, &s) == nil && s == string(sent)
	case "a number":
		x, errX := strconv.ParseFloat(string(sent), 64)
		y, errY := strconv.ParseFloat(string(returned), 64)
		return errX == nil && errY == nil && x == y
	default:
		return false
	}
}
