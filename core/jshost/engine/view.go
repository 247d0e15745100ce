package engine

import (
	"math"
	"slices"
	"strconv"

	"github.com/dop251/goja"
)

// jsonValue is a JSON value for scripts. Objects and arrays are views that read the text where they
// are asked: parsing all of a body costs many times what a usual handler looks at. The text must
// not change afterwards.
func (rt *runtime) jsonValue(doc []byte) goja.Value {
	i := skipSpace(doc, 0)
	if i == len(doc) || len(doc) > math.MaxInt32 { // absent; no body is that long
		return goja.Null()
	}
	doc = doc[i:skipValue(doc, i)]
	if len(doc) == 0 {
		return goja.Null()
	}
	switch doc[0] {
	case '{':
		return rt.vm.NewDynamicObject(&objectView{rt: rt, doc: doc})
	case '[':
		return rt.vm.NewDynamicArray(&arrayView{rt: rt, doc: doc})
	case '"':
		return stringValue(rt.vm, doc[1:max(len(doc)-1, 1)])
	case 't', 'f':
		return rt.vm.ToValue(doc[0] == 't')
	case 'n':
		return goja.Null()
	default:
		return numberValue(rt.vm, doc)
	}
}

// readOnly throws: a change that silently did nothing would be worse.
func (rt *runtime) readOnly(what, instead string) bool {
	panic(rt.vm.NewTypeError("%s can't be changed: make a copy, such as %s", what, instead))
}

// objectView is a JSON object that is taken apart when it is first looked into. It can't be changed.
type objectView struct {
	rt      *runtime
	doc     []byte
	indexed bool
	members []member         // in the order of the text
	byName  map[string]int32 // the last of each name; nil while few are searched one by one
}

type member struct {
	name, value span
	made        goja.Value // nil until it is asked for
}

// few members are searched one by one; for more a map is worth making. A body with very many
// must not cost quadratic time.
const few = 48

func (v *objectView) index() {
	if v.indexed {
		return
	}
	v.indexed = true
	members, literals := v.rt.scratch[:0], true
	eachMember(v.doc, func(name, value span) {
		members = append(members, member{name: name, value: value})
		literals = literals && literal(name.of(v.doc))
	})
	v.members, v.rt.scratch = slices.Clone(members), members[:0]
	if literals && len(members) <= few {
		return
	}
	v.byName = make(map[string]int32, len(members))
	for i := range v.members {
		v.byName[v.name(i)] = int32(i)
	}
}

func (v *objectView) name(i int) string {
	text := v.members[i].name.of(v.doc)
	if literal(text) {
		return string(text)
	}
	return stringValue(v.rt.vm, text).String()
}

// find is the index of the last member of the name, as the last counts in JSON.parse, or -1.
func (v *objectView) find(name string) int {
	v.index()
	if v.byName != nil {
		if i, ok := v.byName[name]; ok {
			return int(i)
		}
		return -1
	}
	for i := len(v.members) - 1; i >= 0; i-- {
		if string(v.members[i].name.of(v.doc)) == name {
			return i
		}
	}
	return -1
}

func (v *objectView) Get(name string) goja.Value {
	i := v.find(name)
	if i < 0 {
		return nil
	}
	m := &v.members[i]
	if m.made == nil {
		m.made = v.rt.jsonValue(m.value.of(v.doc))
	}
	return m.made
}

func (v *objectView) Has(name string) bool { return v.find(name) >= 0 }

// Keys lists each name once, in the order that objects have: indexes first, by size.
func (v *objectView) Keys() []string {
	v.index()
	names := make([]string, 0, len(v.members))
	var indexes []uint64
	seen := make(map[string]bool, len(v.members))
	for i := range v.members {
		name := v.name(i)
		if seen[name] {
			continue
		}
		seen[name] = true
		if n, ok := arrayIndex(name); ok {
			indexes = append(indexes, n)
		} else {
			names = append(names, name)
		}
	}
	if indexes == nil {
		return names
	}
	slices.Sort(indexes)
	all := make([]string, 0, len(v.members))
	for _, n := range indexes {
		all = append(all, strconv.FormatUint(n, 10))
	}
	return append(all, names...)
}

// arrayIndex reports whether a name is a number that JavaScript sorts before other names.
func arrayIndex(name string) (uint64, bool) {
	if name == "" || len(name) > 10 || name[0] < '0' || name[0] > '9' || name[0] == '0' && len(name) > 1 {
		return 0, false
	}
	n, err := strconv.ParseUint(name, 10, 64)
	return n, err == nil && n < math.MaxUint32
}

func (v *objectView) Set(string, goja.Value) bool {
	return v.rt.readOnly("the event's data", "{ ...event.current }")
}

func (v *objectView) Delete(string) bool {
	return v.rt.readOnly("the event's data", "{ ...event.current }")
}

// arrayView is a JSON array, as lazy as objectView.
type arrayView struct {
	rt       *runtime
	doc      []byte
	indexed  bool
	elements []element
}

type element struct {
	value span
	made  goja.Value
}

func (v *arrayView) Len() int {
	if !v.indexed {
		v.indexed = true
		eachElement(v.doc, func(value span) { v.elements = append(v.elements, element{value: value}) })
	}
	return len(v.elements)
}

func (v *arrayView) Get(i int) goja.Value {
	if i < 0 || i >= v.Len() {
		return nil
	}
	e := &v.elements[i]
	if e.made == nil {
		e.made = v.rt.jsonValue(e.value.of(v.doc))
	}
	return e.made
}

func (v *arrayView) Set(int, goja.Value) bool {
	return v.rt.readOnly("the event's data", "[...list]")
}

func (v *arrayView) SetLen(int) bool { return v.rt.readOnly("the event's data", "[...list]") }
