package engine

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/dop251/goja"
)

const (
	maxResult = 1 << 20 // bytes of JSON that a function returns
	maxDepth  = 200     // of objects in objects, of all that leaves a script
)

// encoder writes a value as JSON.stringify does. That one has no bounds: a few objects that hold each
// other often can be written as gigabytes, and its recursion is Go's.
type encoder struct {
	out  []byte
	most int
}

var errTooLong = errors.New("it is too long")

// encode is v as JSON, nil for what JSON does not have, such as undefined and functions. What the
// value's own code throws comes back as a goja.Exception; what stops a script goes through.
func (rt *runtime) encode(v goja.Value, most int) (text []byte, err error) {
	e := encoder{most: most}
	if thrown := rt.vm.Try(func() { _, err = e.value(rt.vm, v, "", 0) }); thrown != nil {
		return nil, thrown
	}
	if errors.Is(err, errTooLong) {
		err = fmt.Errorf("as JSON it is longer than %s", bytesText(most))
	}
	if err != nil {
		return nil, err
	}
	return e.out, nil
}

func bytesText(n int) string {
	if n%(1<<20) == 0 {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d KiB", n>>10)
}

func (e *encoder) text(s string) error {
	if e.out = append(e.out, s...); len(e.out) > e.most {
		return errTooLong
	}
	return nil
}

// value writes v unless JSON has no such thing, and reports whether it did. key is where v was found.
func (e *encoder) value(vm *goja.Runtime, v goja.Value, key string, depth int) (bool, error) {
	switch x := v.(type) {
	case nil:
		return false, nil
	case *goja.Object:
		return e.object(vm, x, key, depth)
	case goja.String:
		return true, e.quote(x)
	case *goja.Symbol:
		return false, nil
	}
	switch {
	case goja.IsUndefined(v):
		return false, nil
	case goja.IsNull(v):
		return true, e.text("null")
	case goja.IsBigInt(v):
		return false, errors.New("JSON has no BigInt: keep it as text, such as String(n)")
	case goja.IsNumber(v):
		return true, e.number(v)
	default:
		return true, e.text(v.String()) // true or false
	}
}

func (e *encoder) number(v goja.Value) error {
	switch f := v.ToFloat(); {
	case math.IsNaN(f) || math.IsInf(f, 0):
		return e.text("null")
	case f == 0:
		return e.text("0")
	}
	return e.text(v.String())
}

func (e *encoder) object(vm *goja.Runtime, o *goja.Object, key string, depth int) (bool, error) {
	if depth >= maxDepth {
		return false, fmt.Errorf("it is nested deeper than %d, or leads in a circle", maxDepth)
	}
	if convert, ok := goja.AssertFunction(o.Get("toJSON")); ok {
		v, err := convert(o, vm.ToValue(key))
		if err != nil {
			return false, err
		}
		inner, ok := v.(*goja.Object)
		if !ok {
			return e.value(vm, v, key, depth+1)
		}
		o = inner
	}
	if _, callable := goja.AssertFunction(o); callable {
		return false, nil
	}
	switch o.ClassName() {
	case "Array":
		return true, e.array(vm, o, depth)
	case "Number":
		return true, e.number(o.ToNumber())
	case "String":
		if s, ok := o.ToString().(goja.String); ok {
			return true, e.quote(s)
		}
	case "Boolean":
		return true, e.text(strconv.FormatBool(o.Export() == true))
	}
	return true, e.members(vm, o, depth)
}

func (e *encoder) array(vm *goja.Runtime, o *goja.Object, depth int) error {
	if err := e.text("["); err != nil {
		return err
	}
	for i, n := int64(0), o.Get("length").ToInteger(); i < n; i++ {
		if i > 0 {
			if err := e.text(","); err != nil {
				return err
			}
		}
		index := strconv.FormatInt(i, 10)
		written, err := e.value(vm, o.Get(index), index, depth+1)
		if err == nil && !written {
			err = e.text("null")
		}
		if err != nil {
			return err
		}
	}
	return e.text("]")
}

func (e *encoder) members(vm *goja.Runtime, o *goja.Object, depth int) error {
	if err := e.text("{"); err != nil {
		return err
	}
	first := true
	for _, name := range o.Keys() {
		before := len(e.out)
		if !first {
			e.out = append(e.out, ',')
		}
		s, ok := vm.ToValue(name).(goja.String)
		if !ok {
			continue
		}
		if err := e.quote(s); err != nil {
			return err
		}
		e.out = append(e.out, ':')
		written, err := e.value(vm, o.Get(name), name, depth+1)
		if err != nil {
			return err
		}
		if !written {
			e.out = e.out[:before]
			continue
		}
		first = false
	}
	return e.text("}")
}

const hexDigits = "0123456789abcdef"

// quote writes every UTF-16 unit: halves of surrogates, which Go's strings can't hold, as escapes.
func (e *encoder) quote(s goja.String) error {
	n := s.Length()
	e.out = append(e.out, '"')
	for i := 0; i < n; i++ {
		if len(e.out) > e.most {
			return errTooLong
		}
		switch c := s.CharAt(i); {
		case c == '"' || c == '\\':
			e.out = append(e.out, '\\', byte(c))
		case c == '\n':
			e.out = append(e.out, `\n`...)
		case c == '\r':
			e.out = append(e.out, `\r`...)
		case c == '\t':
			e.out = append(e.out, `\t`...)
		case c < ' ':
			e.out = append(e.out, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		case c < utf8.RuneSelf:
			e.out = append(e.out, byte(c))
		case c < 0xd800 || c > 0xdfff:
			e.out = utf8.AppendRune(e.out, rune(c))
		case c < 0xdc00 && i+1 < n && s.CharAt(i+1)>>10 == 0xdc00>>10:
			i++
			e.out = utf8.AppendRune(e.out, (rune(c)-0xd800)<<10+rune(s.CharAt(i))-0xdc00+0x10000)
		default:
			e.out = append(e.out, '\\', 'u', hexDigits[c>>12], hexDigits[c>>8&15], hexDigits[c>>4&15], hexDigits[c&15])
		}
	}
	e.out = append(e.out, '"')
	return e.text("")
}

// decode is the value of a JSON text, as a copy that the script may change. Whole numbers that
// JavaScript would round are text, as in an event. It throws what JSON.parse throws.
func (rt *runtime) decode(doc []byte) goja.Value {
	v, err := rt.parse(goja.Undefined(), rt.vm.ToValue(string(quoteLarge(doc))))
	if err != nil {
		panic(err)
	}
	return v
}

// quoteLarge makes text of the whole numbers that JavaScript would round. doc itself is returned
// when it has none.
func quoteLarge(doc []byte) []byte {
	var out []byte
	from := 0
	for i := 0; i < len(doc); {
		switch c := doc[i]; {
		case c == '"':
			i = skipString(doc, i)
		case c == '-' || '0' <= c && c <= '9':
			end := i + 1
			for end < len(doc) && bytes.IndexByte([]byte("0123456789.eE+-"), doc[end]) >= 0 {
				end++
			}
			if large(doc[i:end]) {
				out = append(out, doc[from:i]...)
				out = append(append(append(out, '"'), doc[i:end]...), '"')
				from = end
			}
			i = end
		default:
			i++
		}
	}
	if out == nil {
		return doc
	}
	return append(out, doc[from:]...)
}

func large(number []byte) bool {
	if len(number) < 16 || bytes.ContainsAny(number, ".eE") {
		return false
	}
	n, err := strconv.ParseInt(string(number), 10, 64)
	return errors.Is(err, strconv.ErrRange) || err == nil && !safe(n)
}
