package shape

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/pipehook/pipehook/core"
)

// Field is the definition of a field of an object.
type Field struct {
	Key     string   `json:"key"`   // as the API names it; 40 hexadecimal digits when custom
	Name    string   `json:"name"`  // as code names it: contract_end; unique within its object
	Label   string   `json:"label"` // as people name it: Contract end
	Type    string   `json:"type"`  // varchar, enum, set, monetary, date, …
	Custom  bool     `json:"custom,omitempty"`
	Options []Option `json:"options,omitempty"`
}

// Option is a choice of a field of type enum or set.
type Option struct {
	ID    int64  `json:"id"`
	Label string `json:"label"`
}

// Fields are the definitions of an account's fields. They are not changed once made and may be used by many at
// once. A nil *Fields knows nothing.
type Fields struct {
	company string
	pulled  time.Time
	objects map[string]*known
}

// known are the fields of one object.
type known struct {
	list   []Field
	byKey  map[string]int
	byName map[string]int
}

// NewFields makes definitions of what the API has, and gives each field a name: a built-in one its key, a custom
// one its label in lower case with underscores. A name that is set already stays, if no other field has it.
// What a name would be twice gets _2 at the second, and so does a word of JavaScript.
func NewFields(company string, byObject map[string][]Field) *Fields {
	f := &Fields{company: company, objects: make(map[string]*known, len(byObject))}
	for object, list := range byObject {
		f.objects[object] = index(named(list))
	}
	return f
}

func index(list []Field) *known {
	k := &known{list: list, byKey: make(map[string]int, len(list)), byName: make(map[string]int, len(list))}
	for i, field := range list {
		k.byKey[field.Key] = i
		k.byName[field.Name] = i
	}
	return k
}

// PulledAt are the same definitions with the time at which they were read.
func (f *Fields) PulledAt(t time.Time) *Fields {
	if f == nil {
		return nil
	}
	g := *f
	g.pulled = t.UTC().Truncate(time.Second)
	return &g
}

// Pulled is when the definitions were read from the API; zero when that is not known.
func (f *Fields) Pulled() time.Time {
	if f == nil {
		return time.Time{}
	}
	return f.pulled
}

// Company is whose definitions they are; it may be empty.
func (f *Fields) Company() string {
	if f == nil {
		return ""
	}
	return f.company
}

// Keep are the same definitions with the names that old has for fields whose labels are still the same,
// so that a new field takes no name that code uses already.
func (f *Fields) Keep(old *Fields) *Fields {
	if f == nil || old == nil {
		return f
	}
	byObject := make(map[string][]Field, len(f.objects))
	for object, k := range f.objects {
		list := slices.Clone(k.list)
		for i := range list {
			list[i].Name = ""
			if was, ok := old.own(object, list[i].Key); ok && was.Label == list[i].Label {
				list[i].Name = was.Name
			}
		}
		byObject[object] = list
	}
	g := NewFields(f.company, byObject)
	g.pulled = f.pulled
	return g
}

// fieldsFile is how the definitions are written down.
type fieldsFile struct {
	Company string             `json:"company"`
	Pulled  time.Time          `json:"pulled,omitzero"`
	Objects map[string][]Field `json:"objects"`
}

// ParseFields reads the definitions as Text writes them, the content of pipedrive.fields.json. Names that are
// missing are given. An error is of Kind Invalid.
func ParseFields(text []byte) (*Fields, error) {
	var file fieldsFile
	if err := json.Unmarshal(text, &file); err != nil {
		if e, ok := errors.AsType[*json.SyntaxError](err); ok {
			return nil, invalid("definitions of fields: not valid JSON at byte %d of %d", e.Offset, len(text))
		}
		return nil, &core.Error{Kind: core.Invalid, Msg: "definitions of fields", Err: err}
	}
	if file.Objects == nil {
		return nil, invalid("definitions of fields: objects is required")
	}
	for object, list := range file.Objects {
		seen := make(map[string]bool, len(list))
		for i, field := range list {
			switch at := fmt.Sprintf("definitions of fields: %s[%d]", object, i); {
			case field.Key == "":
				return nil, invalid("%s: key is required", at)
			case seen[field.Key]:
				return nil, invalid("%s: key %q stands twice", at, field.Key)
			}
			seen[field.Key] = true
		}
	}
	f := NewFields(file.Company, file.Objects)
	f.pulled = file.Pulled
	return f, nil
}

// Text is the definitions as a file has them: objects by name, fields in their order, indented.
func (f *Fields) Text() []byte {
	file := fieldsFile{Objects: map[string][]Field{}}
	if f != nil {
		file.Company, file.Pulled = f.company, f.pulled
		for object, k := range f.objects {
			file.Objects[object] = k.list
		}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(file); err != nil {
		panic(err) // it holds text and numbers
	}
	return b.Bytes()
}

// Objects are the objects of which fields are known, by name.
func (f *Fields) Objects() []string {
	if f == nil {
		return nil
	}
	var names []string
	for _, o := range objects {
		if len(f.Of(o.Name)) > 0 {
			names = append(names, o.Name)
		}
	}
	for object := range f.objects {
		if !slices.Contains(names, object) && len(f.objects[object].list) > 0 {
			names = append(names, object)
		}
	}
	slices.Sort(names)
	return names
}

// Of are the fields of an object. A lead has the custom fields of deals.
func (f *Fields) Of(object string) []Field {
	if f == nil {
		return nil
	}
	var list []Field
	if k := f.objects[object]; k != nil {
		list = slices.Clone(k.list)
	}
	if object != "lead" || f.objects["deal"] == nil {
		return list
	}
	for _, field := range f.objects["deal"].list {
		if _, own := f.own("lead", field.Key); field.Custom && !own {
			list = append(list, field)
		}
	}
	return list
}

// ByKey is the field with that key.
func (f *Fields) ByKey(object, key string) (Field, bool) {
	field, ok := f.own(object, key)
	if !ok && object == "lead" {
		field, ok = f.own("deal", key)
		ok = ok && field.Custom
	}
	if !ok {
		return Field{}, false
	}
	return field, true
}

func (f *Fields) own(object, key string) (Field, bool) {
	if f == nil || f.objects[object] == nil {
		return Field{}, false
	}
	k := f.objects[object]
	i, ok := k.byKey[key]
	if !ok {
		return Field{}, false
	}
	return k.list[i], true
}

// ByName is the field with that name.
func (f *Fields) ByName(object, name string) (Field, bool) {
	if f == nil {
		return Field{}, false
	}
	if k := f.objects[object]; k != nil {
		if i, ok := k.byName[name]; ok {
			return k.list[i], true
		}
	}
	if object == "lead" {
		if field, ok := f.ByName("deal", name); ok && field.Custom {
			return field, true
		}
	}
	return Field{}, false
}

// label is what people call an option; not ok when it is not known.
func (field *Field) label(id string) (string, bool) {
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil {
		return "", false
	}
	for _, o := range field.Options {
		if n == o.ID {
			return o.Label, true
		}
	}
	return "", false
}
