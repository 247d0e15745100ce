package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Mistake is one thing that is wrong with a configuration. It never holds a value that could be a
// secret.
type Mistake struct {
	File   string `json:"file"`
	Line   int    `json:"line"` // 0 when the place is not in the file
	Column int    `json:"column"`
	Key    string `json:"key"`
	Msg    string `json:"message"`
	Hint   string `json:"hint,omitempty"`
}

func (m Mistake) Error() string {
	place := m.File
	if m.Line > 0 {
		place = fmt.Sprintf("%s:%d:%d", m.File, m.Line, m.Column)
	}
	text := m.Msg
	if m.Key != "" {
		text = m.Key + ": " + m.Msg
	}
	if m.Hint != "" {
		text += "; " + m.Hint
	}
	return place + ": " + text
}

// Mistakes are all that was found, by place.
type Mistakes []Mistake

func (ms Mistakes) Error() string {
	lines := make([]string, len(ms))
	for i, m := range ms {
		lines[i] = m.Error()
	}
	return strings.Join(lines, "\n")
}

// Collect adds err's mistakes to ms. An error that is no mistake becomes one at the key.
func (c *Config) Collect(ms Mistakes, key string, err error) Mistakes {
	if err == nil {
		return ms
	}
	if more, ok := errors.AsType[Mistakes](err); ok {
		return append(ms, more...)
	}
	if one, ok := errors.AsType[Mistake](err); ok {
		return append(ms, one)
	}
	return append(ms, c.Mistake(key, err.Error(), ""))
}

// Err is ms in order of place, or nil when there are none.
func (ms Mistakes) Err() error {
	if len(ms) == 0 {
		return nil
	}
	slices.SortStableFunc(ms, func(a, b Mistake) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Key, b.Key))
	})
	return slices.CompactFunc(ms, func(a, b Mistake) bool { return a == b })
}
