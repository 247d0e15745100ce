package jshost

import (
	"strconv"
	"strings"

	"github.com/dop251/goja"
	"github.com/tidwall/gjson"
)

// jsonValue is a JSON value for scripts. Objects are views that read the text when they are asked:
// parsing all of a body costs many times what a usual handler looks at.
func (rt *runtime) jsonValue(text []byte) goja.Value {
	if text == nil {
		return goja.Null()
	}
	return rt.resultValue(gjson.ParseBytes(text))
}

func (rt *runtime) resultValue(r gjson.Result) goja.Value {
	switch r.Type {
	case gjson.String:
		return rt.vm.ToValue(r.Str)
	case gjson.Number:
		return rt.numberValue(r.Raw)
	case gjson.True, gjson.False:
		return rt.vm.ToValue(r.Type == gjson.True)
	case gjson.JSON:
		if r.IsArray() {
			return rt.arrayValue(r)
		}
		return rt.vm.NewDynamicObject(&jsonView{rt: rt, raw: r})
	default:
		return goja.Null()
	}
}

// numberValue keeps every digit: a whole number that JavaScript would round becomes text.
func (rt *runtime) numberValue(text string) goja.Value {
	if !strings.ContainsAny(text, ".eE") {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || !safe(n) {
			return rt.vm.ToValue(text)
		}
		if n != 0 || text == "0" {
			return rt.vm.ToValue(n)
		}
	}
	f, _ := strconv.ParseFloat(text, 64) // out of range is infinite, as in JSON.parse
	return rt.vm.ToValue(f)
}

// arrayValue is a real array, so that everything arrays can do works; its objects are views.
func (rt *runtime) arrayValue(r gjson.Result) goja.Value {
	var elems []any
	r.ForEach(func(_, v gjson.Result) bool {
		elems = append(elems, rt.resultValue(v))
		return true
	})
	return rt.vm.NewArray(elems...)
}

// jsonView is a JSON object that is taken apart when it is first looked into. It can't be changed.
type jsonView struct {
	rt     *runtime
	raw    gjson.Result
	fields []field        // in the order of the text, each name once; nil until asked
	byName map[string]int // of many fields
}

// few fields are searched one by one; for more a map is worth making.
const few = 32

type field struct {
	name, raw string
	value     goja.Value // nil until it is asked for
}

func (v *jsonView) find(name string) *field {
	if v.fields == nil {
		v.fields = make([]field, 0, 32)
		v.raw.ForEach(func(key, value gjson.Result) bool {
			v.add(key.Str, value.Raw)
			return true
		})
	}
	if i := v.at(name); i >= 0 {
		return &v.fields[i]
	}
	return nil
}

func (v *jsonView) at(name string) int {
	if v.byName != nil {
		if i, ok := v.byName[name]; ok {
			return i
		}
		return -1
	}
	for i := range v.fields {
		if v.fields[i].name == name {
			return i
		}
	}
	return -1
}

// add keeps the last of two equal names, as JSON.parse does.
func (v *jsonView) add(name, raw string) {
	if i := v.at(name); i >= 0 {
		v.fields[i].raw = raw
		return
	}
	v.fields = append(v.fields, field{name: name, raw: raw})
	if v.byName != nil {
		v.byName[name] = len(v.fields) - 1
	} else if len(v.fields) == few {
		v.byName = make(map[string]int, 4*few)
		for i := range v.fields {
			v.byName[v.fields[i].name] = i
		}
	}
}

func (v *jsonView) Get(key string) goja.Value {
	f := v.find(key)
	if f == nil {
		return nil
	}
	if f.value == nil {
		f.value = v.rt.resultValue(gjson.Parse(f.raw))
	}
	return f.value
}

func (v *jsonView) Has(key string) bool { return v.find(key) != nil }

func (v *jsonView) Keys() []string {
	v.find("")
	names := make([]string, len(v.fields))
	for i := range v.fields {
		names[i] = v.fields[i].name
	}
	return names
}

func (v *jsonView) Set(string, goja.Value) bool { return v.rt.readOnly("event's data") }
func (v *jsonView) Delete(string) bool          { return v.rt.readOnly("event's data") }
