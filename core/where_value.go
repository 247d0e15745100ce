package core

import (
	"bytes"
	"cmp"
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// valueOf says what sort of JSON value the text is. What is no value counts as missing.
func valueOf(raw json.RawMessage) value {
	if len(raw) == 0 {
		return value{}
	}
	switch raw[0] {
	case '"':
		if len(raw) > 1 && raw[len(raw)-1] == '"' {
			return value{text, raw}
		}
	case '{', '[':
		return value{nested, raw}
	case 't', 'f':
		if string(raw) == "true" || string(raw) == "false" {
			return value{boolean, raw}
		}
	case 'n':
		if string(raw) == "null" {
			return value{null, raw}
		}
	default:
		if _, ok := parseDecimal(raw); ok {
			return value{number, raw}
		}
	}
	return value{}
}

// text is what a text says, without its escapes.
func (v value) text() string {
	inner := v.raw[1 : len(v.raw)-1]
	if bytes.IndexByte(inner, '\\') < 0 && utf8.Valid(inner) {
		return string(inner)
	}
	var s string
	if json.Unmarshal(v.raw, &s) != nil {
		return ""
	}
	return s
}

func (v value) equals(l literal) bool {
	switch {
	case l.kind == moment:
		order, ok := v.compare(l)
		return ok && order == 0
	case v.kind != l.kind:
		return false
	case v.kind == text:
		return v.text() == l.text
	case v.kind == boolean:
		return (v.raw[0] == 't') == l.yes
	default:
		order, ok := v.compare(l)
		return ok && order == 0
	}
}

// compare orders two numbers by value, two texts by their bytes, and a text that is a time with a
// time. Everything else has no order.
func (v value) compare(l literal) (order int, ok bool) {
	switch {
	case l.kind == number && v.kind == number:
		d, _ := parseDecimal(v.raw)
		return d.compare(l.num), true
	case l.kind == text && v.kind == text:
		return strings.Compare(v.text(), l.text), true
	case l.kind == moment && v.kind == text:
		at, ok := parseMoment(v.text())
		return at.Compare(l.at), ok
	}
	return 0, false
}

// momentForms are dates and times as senders write them. What has no zone is UTC, and a date is its
// first instant.
var momentForms = []string{time.RFC3339, "2006-01-02 15:04:05Z07:00", "2006-01-02T15:04:05", "2006-01-02 15:04:05"}

// parseMoment reads an ISO date, or a date and time with seconds.
func parseMoment(s string) (time.Time, bool) {
	if len(s) < len(time.DateOnly) || len(s) > 64 || s[4] != '-' || s[7] != '-' {
		return time.Time{}, false
	}
	if len(s) == len(time.DateOnly) {
		at, err := time.Parse(time.DateOnly, s)
		return at, err == nil
	}
	// The parser of times takes hours of one digit and a comma before the fraction.
	if len(s) < len(time.DateTime) || s[13] != ':' || s[16] != ':' || strings.Contains(s, ",") {
		return time.Time{}, false
	}
	for _, form := range momentForms {
		if at, err := time.Parse(form, s); err == nil {
			return at.UTC(), true
		}
	}
	return time.Time{}, false
}

// decimal is a number of JSON by its digits, so that none is lost and none is made up: the digits
// stand behind the point, moved by shift. A dot among them is skipped. Without digits it is 0.
type decimal struct {
	negative bool
	digits   []byte
	shift    int64
}

// farShift is beyond every exponent of a number that differs from others in its digits.
const farShift = 1 << 40

// parseDecimal reads a number as JSON writes it.
func parseDecimal(s []byte) (d decimal, ok bool) {
	if len(s) > 0 && s[0] == '-' {
		d.negative, s = true, s[1:]
	}
	whole := countDigits(s)
	if whole == 0 || whole > 1 && s[0] == '0' {
		return decimal{}, false
	}
	end := whole
	if end < len(s) && s[end] == '.' {
		fraction := countDigits(s[end+1:])
		if fraction == 0 {
			return decimal{}, false
		}
		end += 1 + fraction
	}
	d.digits, d.shift = s[:end], int64(whole)
	for len(d.digits) > 0 && (d.digits[0] == '0' || d.digits[0] == '.') {
		if d.digits[0] == '0' {
			d.shift--
		}
		d.digits = d.digits[1:]
	}
	if end == len(s) {
		return d, true
	}
	exponent, ok := parseExponent(s[end:])
	d.shift += exponent
	return d, ok
}

func countDigits(s []byte) int {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}

// parseExponent stops counting where the number is beyond every other anyway.
func parseExponent(s []byte) (n int64, ok bool) {
	if s[0] != 'e' && s[0] != 'E' {
		return 0, false
	}
	s = s[1:]
	negative := len(s) > 0 && s[0] == '-'
	if negative || len(s) > 0 && s[0] == '+' {
		s = s[1:]
	}
	if len(s) == 0 || countDigits(s) != len(s) {
		return 0, false
	}
	for _, c := range s {
		n = min(n*10+int64(c-'0'), farShift)
	}
	if negative {
		n = -n
	}
	return n, true
}

func (d decimal) sign() int {
	switch {
	case len(d.digits) == 0:
		return 0
	case d.negative:
		return -1
	default:
		return 1
	}
}

func (d decimal) compare(e decimal) int {
	sign := d.sign()
	if order := cmp.Compare(sign, e.sign()); order != 0 || sign == 0 {
		return order
	}
	if order := cmp.Compare(d.shift, e.shift); order != 0 {
		return sign * order
	}
	return sign * compareDigits(d.digits, e.digits)
}

// compareDigits compares what stands behind the point; zeros may be missing at the end.
func compareDigits(a, b []byte) int {
	for i, j := 0, 0; i < len(a) || j < len(b); {
		if i < len(a) && a[i] == '.' {
			i++
			continue
		}
		if j < len(b) && b[j] == '.' {
			j++
			continue
		}
		x, y := byte('0'), byte('0')
		if i < len(a) {
			x = a[i]
		}
		if j < len(b) {
			y = b[j]
		}
		if x != y {
			return cmp.Compare(x, y)
		}
		i, j = i+1, j+1
	}
	return 0
}

// shownBytes is how much of a value a sentence shows.
const shownBytes = 80

// String shows the value to a person, on one line and not too long.
func (v value) String() string {
	switch v.kind {
	case missing:
		return "missing"
	case text:
		s := v.text()
		return clip(strconv.Quote(s[:min(len(s), shownBytes)]), len(s) > shownBytes)
	default:
		return clip(printable(v.raw), false)
	}
}

// String is the literal as a person would write it.
func (l literal) String() string {
	switch l.kind {
	case boolean:
		return strconv.FormatBool(l.yes)
	case number:
		return l.text
	case moment:
		if l.text != "" {
			return clip(strconv.Quote(l.text), false)
		}
		return l.at.Format(time.RFC3339Nano)
	default:
		return clip(strconv.Quote(l.text), false)
	}
}

// either lists literals, as many as can be shown.
func either(values []literal) string {
	if len(values) == 0 {
		return "one of an empty list"
	}
	var s strings.Builder
	for i, v := range values {
		if i > 0 {
			s.WriteString(" or ")
		}
		if s.WriteString(v.String()); s.Len() > shownBytes {
			break
		}
	}
	return clip(s.String(), false)
}

// printable shows an object or array in part: it may be large.
func printable(raw []byte) string {
	s := strings.ToValidUTF8(string(raw[:min(len(raw), 2*shownBytes)]), "�")
	return strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
}

// clip shortens a text to shownBytes at the end of a letter, and marks one that was cut before.
func clip(s string, cut bool) string {
	const mark = "…"
	if len(s) <= shownBytes && !cut {
		return s
	}
	end := min(len(s), shownBytes-len(mark))
	for end > 0 && end < len(s) && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + mark
}
