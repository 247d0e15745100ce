package web

import (
	"fmt"
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/dop251/goja"
)

var (
	bufferType = reflect.TypeFor[goja.ArrayBuffer]()
	proxyType  = reflect.TypeFor[goja.Proxy]()
)

// text is a string of at most so many UTF-16 units; a lone surrogate has become U+FFFD. The
// JavaScript around a native function has made a string of what it was given.
func (w *World) text(v goja.Value, most int) string {
	s, ok := v.(goja.String)
	if !ok {
		panic(w.vm.NewTypeError("text is wanted"))
	}
	if s.Length() > most {
		panic(w.tooMuch("text", s.Length(), most))
	}
	return s.String()
}

func (w *World) tooMuch(what string, n, most int) *goja.Object {
	return w.failure("RangeError", fmt.Sprintf("the %s has a length of %d; at most %d is taken", what, n, most))
}

// failure is an error of one of the language's classes.
func (w *World) failure(class, msg string) *goja.Object {
	e, err := w.vm.New(w.vm.Get(class), w.vm.ToValue(msg))
	must(err)
	return e
}

// buffer is what an ArrayBuffer holds.
func buffer(v goja.Value) (data []byte, ok bool) {
	object, ok := v.(*goja.Object)
	if !ok || object.ExportType() != bufferType {
		return nil, false
	}
	b, ok := object.Export().(goja.ArrayBuffer)
	if !ok {
		return nil, false
	}
	return b.Bytes(), true
}

// isBytes reports whether v is an ArrayBuffer, a typed array or a DataView. A proxy of one is none.
func (w *World) isBytes(v goja.Value) bool {
	object, ok := v.(*goja.Object)
	if !ok {
		return false
	}
	if object.ExportType() == bufferType {
		return true
	}
	is, err := w.isView(goja.Undefined(), object)
	must(err)
	return is.ToBoolean()
}

// bytes is the memory behind v, which the script can change. It looks at the buffer's length itself:
// a script may shadow the properties of its array, and a detached buffer has no memory.
func (w *World) bytes(v goja.Value, most int) []byte {
	data, ok := buffer(v)
	if !ok {
		if !w.isBytes(v) {
			panic(w.vm.NewTypeError("bytes are wanted: an ArrayBuffer, a Uint8Array or another typed array, or a DataView"))
		}
		view := v.(*goja.Object)
		whole, ok := buffer(view.Get("buffer"))
		from, length := view.Get("byteOffset").ToInteger(), view.Get("byteLength").ToInteger()
		if !ok || from < 0 || length < 0 || from > int64(len(whole)) || length > int64(len(whole))-from {
			panic(w.vm.NewTypeError("the array's buffer is detached or too short"))
		}
		data = whole[from : from+length]
	}
	if len(data) > most {
		panic(w.tooMuch("data", len(data), most))
	}
	return data
}

// data is the UTF-8 of text, or the memory behind bytes.
func (w *World) data(v goja.Value, most int) []byte {
	if _, ok := v.(goja.String); !ok {
		if !w.isBytes(v) {
			panic(w.vm.NewTypeError("text or bytes are wanted"))
		}
		return w.bytes(v, most)
	}
	text := []byte(w.text(v, most))
	if len(text) > most {
		panic(w.tooMuch("text", len(text), most))
	}
	return text
}

func (w *World) newBuffer(data []byte) goja.Value { return w.vm.ToValue(w.vm.NewArrayBuffer(data)) }

// strings is a JavaScript array of texts.
func (w *World) strings(texts ...string) goja.Value {
	values := make([]any, len(texts))
	for i, text := range texts {
		values[i] = w.vm.ToValue(text)
	}
	return w.vm.NewArray(values...)
}

// decodeUTF8 replaces what is not UTF-8 as browsers do: the longest beginning of a character counts
// as one. With more to come, the beginning of a character at the end is left over.
func decodeUTF8(data []byte, more bool) (text string, left []byte, valid bool) {
	if utf8.Valid(data) {
		return string(data), nil, true
	}
	var b strings.Builder
	valid = true
	for len(data) > 0 {
		r, size := utf8.DecodeRune(data)
		if r != utf8.RuneError || size > 1 {
			b.WriteRune(r)
			data = data[size:]
			continue
		}
		n, cut := beginning(data)
		if cut && more {
			return b.String(), data, valid
		}
		b.WriteRune(utf8.RuneError)
		data, valid = data[n:], false
	}
	return b.String(), nil, valid
}

// beginning is how many bytes of broken data begin a character, at least one, and whether only the
// rest of the character is missing.
func beginning(data []byte) (n int, cut bool) {
	need, low, high := 0, byte(0x80), byte(0xBF)
	switch first := data[0]; {
	case first >= 0xC2 && first <= 0xDF:
		need = 1
	case first >= 0xE0 && first <= 0xEF:
		need = 2
		if first == 0xE0 {
			low = 0xA0
		} else if first == 0xED {
			high = 0x9F
		}
	case first >= 0xF0 && first <= 0xF4:
		need = 3
		if first == 0xF0 {
			low = 0x90
		} else if first == 0xF4 {
			high = 0x8F
		}
	}
	for n = 1; n <= need; n++ {
		if n == len(data) {
			return n, true
		}
		if data[n] < low || data[n] > high {
			return n, false
		}
		low, high = 0x80, 0xBF
	}
	return 1, false
}
