package jsonscan_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/pipehook/pipehook/core/jsonscan"
)

func TestDepthCountsNesting(t *testing.T) {
	for text, want := range map[string]int{
		``: 0, `1`: 0, `{}`: 1, `[[]]`: 2, `{"a":[{"b":1}]}`: 3, `{"a":"[[[["}`: 1, `{"a":"\"[[["}`: 1, `{"a":"\\"}[[`: 2,
		`[[],[[]]]`: 3, `]]][`: 0, `"open [[`: 0,
	} {
		if got := jsonscan.Depth([]byte(text), 100); got != want {
			t.Errorf("%s: %d, want %d", text, got, want)
		}
	}
}

func TestDepthStopsAtTheLimit(t *testing.T) {
	if got := jsonscan.Depth([]byte(strings.Repeat("[", 1<<20)), 64); got != 65 {
		t.Errorf("got %d, want 65", got)
	}
}

func FuzzDepthAgreesWithAParser(f *testing.F) {
	f.Add([]byte(`{"a":["\\\"[",{"b":[]}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		got := jsonscan.Depth(text, 1<<20)
		if !json.Valid(text) {
			return
		}
		dec := json.NewDecoder(bytes.NewReader(text))
		depth, deepest := 0, 0
		for {
			token, err := dec.Token()
			if err != nil {
				break
			}
			switch token {
			case json.Delim('{'), json.Delim('['):
				depth++
				deepest = max(deepest, depth)
			case json.Delim('}'), json.Delim(']'):
				depth--
			}
		}
		if got != deepest {
			t.Errorf("depth %d, want %d of %q", got, deepest, text)
		}
	})
}
