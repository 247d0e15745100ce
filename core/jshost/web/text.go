package web

import (
	"encoding/base64"
	"strings"
	"unicode/utf8"

	"github.com/dop251/goja"
)

func (w *World) textNatives() map[string]func(goja.FunctionCall) goja.Value {
	return map[string]func(goja.FunctionCall) goja.Value{
		"encode": func(call goja.FunctionCall) goja.Value {
			return w.newBuffer([]byte(w.text(call.Argument(0), MaxData)))
		},
		"encodeInto": func(call goja.FunctionCall) goja.Value {
			read, written := encodeInto(w.bytes(call.Argument(1), 1<<31-1), w.text(call.Argument(0), MaxData))
			return w.vm.NewArray(read, written)
		},
		"decode": w.decode,
		"atob": func(call goja.FunctionCall) goja.Value {
			data, ok := forgivingBase64(w.text(call.Argument(0), MaxData))
			if !ok {
				return goja.Null()
			}
			return w.vm.ToValue(latin1(data))
		},
		"btoa": func(call goja.FunctionCall) goja.Value {
			text := w.text(call.Argument(0), MaxData)
			data := make([]byte, 0, len(text))
			for _, r := range text {
				if r > 0xFF {
					return goja.Null()
				}
				data = append(data, byte(r))
			}
			return w.vm.ToValue(base64.StdEncoding.EncodeToString(data))
		},
	}
}

// decode(rest, input, fatal, more) gives the text and the bytes that are left for the next time.
func (w *World) decode(call goja.FunctionCall) goja.Value {
	data := w.bytes(call.Argument(0), MaxData)
	if input := call.Argument(1); !goja.IsUndefined(input) {
		data = append(data[:len(data):len(data)], w.bytes(input, MaxData)...)
	}
	text, left, valid := decodeUTF8(data, call.Argument(3).ToBoolean())
	if !valid && call.Argument(2).ToBoolean() {
		panic(w.vm.NewTypeError("TextDecoder: the bytes are not UTF-8"))
	}
	return w.vm.NewArray(text, w.newBuffer([]byte(string(left))))
}

// encodeInto writes whole characters as long as there is room, and counts UTF-16 units and bytes.
func encodeInto(target []byte, text string) (read, written int) {
	for _, r := range text {
		if written+utf8.RuneLen(r) > len(target) {
			break
		}
		written += utf8.EncodeRune(target[written:], r)
		read++
		if r > 0xFFFF {
			read++
		}
	}
	return read, written
}

// latin1 is text with a character for each byte.
func latin1(data []byte) string {
	var b strings.Builder
	b.Grow(len(data))
	for _, c := range data {
		b.WriteRune(rune(c))
	}
	return b.String()
}

// forgivingBase64 decodes as atob does: white space is left out, padding may be missing, bits that
// are left over are ignored.
func forgivingBase64(text string) ([]byte, bool) {
	text = strings.Map(func(r rune) rune {
		if strings.ContainsRune("\t\n\f\r ", r) {
			return -1
		}
		return r
	}, text)
	if len(text)%4 == 0 {
		if cut, ok := strings.CutSuffix(text, "=="); ok {
			text = cut
		} else {
			text = strings.TrimSuffix(text, "=")
		}
	}
	data, err := base64.RawStdEncoding.DecodeString(text)
	return data, err == nil
}
