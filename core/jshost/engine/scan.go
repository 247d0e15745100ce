package engine

import (
	"bytes"
	"math"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/dop251/goja"
)

// The scanner finds where values begin and end and decodes only what a script asks for. It is
// written for text that a Source has read as JSON; of anything else it makes some view or other,
// but it always ends and stays inside the text.

// span is a part of a JSON text, spaces around it left out.
type span struct{ from, to int32 }

func (s span) of(doc []byte) []byte { return doc[s.from:s.to] }

func skipSpace(doc []byte, i int) int {
	for i < len(doc) && (doc[i] == ' ' || doc[i] == '\n' || doc[i] == '\t' || doc[i] == '\r') {
		i++
	}
	return i
}

// skipString returns the index after the string that begins at i.
func skipString(doc []byte, i int) int {
	for i++; i < len(doc); {
		quote := bytes.IndexByte(doc[i:], '"')
		if quote < 0 {
			break
		}
		escape := bytes.IndexByte(doc[i:i+quote], '\\')
		if escape < 0 {
			return i + quote + 1
		}
		i += escape + 2
	}
	return len(doc)
}

// skipValue returns the index after the value that begins at i.
func skipValue(doc []byte, i int) int {
	depth := 0
	for i < len(doc) {
		switch doc[i] {
		case '"':
			i = skipString(doc, i)
			if depth == 0 {
				return i
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth <= 0 {
				if depth < 0 { // the end of what holds a number or a word
					return i
				}
				return i + 1
			}
		case ',', ':', ' ', '\n', '\t', '\r':
			if depth == 0 {
				return i
			}
		}
		i++
	}
	return i
}

// eachElement calls f for each value of an array.
func eachElement(doc []byte, f func(value span)) {
	for i := skipSpace(doc, 1); i < len(doc) && doc[i] != ']'; {
		end := skipValue(doc, i)
		f(span{int32(i), int32(end)})
		if i = skipSpace(doc, end); i >= len(doc) || doc[i] != ',' {
			return
		}
		i = skipSpace(doc, i+1)
	}
}

// eachMember calls f for each name, quotes left out, and value of an object.
func eachMember(doc []byte, f func(name, value span)) {
	for i := skipSpace(doc, 1); i < len(doc) && doc[i] == '"'; {
		end := skipString(doc, i)
		name := span{int32(i + 1), int32(max(end-1, i+1))}
		if i = skipSpace(doc, end); i >= len(doc) || doc[i] != ':' {
			return
		}
		i = skipSpace(doc, i+1)
		end = skipValue(doc, i)
		f(name, span{int32(i), int32(end)})
		if i = skipSpace(doc, end); i >= len(doc) || doc[i] != ',' {
			return
		}
		i = skipSpace(doc, i+1)
	}
}

// literal reports whether the inside of a string stands for itself.
func literal(text []byte) bool {
	ascii := true
	for _, c := range text {
		if c == '\\' {
			return false
		}
		ascii = ascii && c < utf8.RuneSelf
	}
	return ascii || utf8.Valid(text)
}

// stringValue is a string with every UTF-16 unit as written, also surrogates without their other
// half: JSON has them, and Go's own decoders lose them.
func stringValue(vm *goja.Runtime, text []byte) goja.Value {
	if literal(text) {
		return vm.ToValue(string(text))
	}
	units := make([]uint16, 0, len(text))
	for i := 0; i < len(text); {
		if text[i] == '\\' && i+1 < len(text) {
			unit, size := unescape(text[i:])
			units = append(units, unit)
			i += size
			continue
		}
		r, size := utf8.DecodeRune(text[i:])
		units = utf16.AppendRune(units, r)
		i += size
	}
	return goja.StringFromUTF16(units)
}

// unescape reads one escape, which has at least two bytes.
func unescape(text []byte) (unit uint16, size int) {
	switch text[1] {
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	case 'u':
		if len(text) < 6 {
			return utf8.RuneError, len(text)
		}
		n, err := strconv.ParseUint(string(text[2:6]), 16, 16)
		if err != nil {
			return utf8.RuneError, 2
		}
		return uint16(n), 6
	default:
		return uint16(text[1]), 2
	}
}

// numberValue keeps every digit of a whole number: one that JavaScript would round becomes text.
func numberValue(vm *goja.Runtime, text []byte) goja.Value {
	if bytes.ContainsAny(text, ".eE") {
		f, _ := strconv.ParseFloat(string(text), 64) // out of range is infinite, as in JSON.parse
		return vm.ToValue(f)
	}
	n, err := strconv.ParseInt(string(text), 10, 64)
	switch {
	case err != nil || !safe(n):
		return vm.ToValue(string(text))
	case n == 0 && text[0] == '-':
		return vm.ToValue(math.Copysign(0, -1))
	default:
		return vm.ToValue(n)
	}
}

// safe reports whether JavaScript's numbers hold n exactly, and none beside it.
func safe(n int64) bool { return -1<<53 < n && n < 1<<53 }
