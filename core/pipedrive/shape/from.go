package shape

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/jsonscan"
)

// FromWebhook is the record that a named event is about: as it is now, or as it was last when it is
// deleted. Definitions are needed only for what version 1 brought without types. An error is of Kind Invalid:
// the event carries no record. It may be called from many goroutines at once.
func FromWebhook(ev *core.Event, f *Fields) (Record, error) {
	r := Record{Object: ev.Object, ID: ev.ObjectID, Deleted: ev.Action == core.Deleted, fields: f}
	raw := ev.Current
	if raw == nil {
		raw = ev.Previous
	}
	var err error
	if r.Values, err = read(ev.Object, raw, f); err != nil {
		return Record{}, err
	}
	r.finish()
	return r, nil
}

// FromAPI is the record in an answer of the API, of version 1 or 2: a record's keys say of themselves which
// it is. An error is of Kind Invalid: what came is no record, or has no id.
func FromAPI(object string, raw json.RawMessage, f *Fields) (Record, error) {
	r := Record{Object: object, fields: f}
	var err error
	if r.Values, err = read(object, raw, f); err != nil {
		return Record{}, err
	}
	if r.ID = idText(r.Values["id"]); r.ID == "" {
		return Record{}, invalid("a %s without an id", object)
	}
	r.finish()
	return r, nil
}

func idText(v any) string {
	switch id := v.(type) {
	case json.Number:
		return string(id)
	case string:
		return id
	}
	return ""
}

// read brings any of the four shapes into the normal form. One table serves them all, as no name means
// one thing here and another there.
func read(object string, raw json.RawMessage, f *Fields) (map[string]any, error) {
	switch {
	case len(raw) == 0:
		return nil, invalid("there is no %s in it", object)
	case jsonscan.Depth(raw, jsonscan.MaxDepth) > jsonscan.MaxDepth:
		return nil, invalid("a %s nested deeper than %d", object, jsonscan.MaxDepth)
	case !gjson.ValidBytes(raw):
		return nil, invalid("a %s that is not valid JSON", object)
	}
	doc := gjson.Parse(strings.ToValidUTF8(string(raw), "\uFFFD")) // nobody can keep what is no text
	if !doc.IsObject() {
		return nil, invalid("a %s that is %s", object, jsonscan.What(raw))
	}
	rd := reader{form: formOf(object), object: object, fields: f, values: make(map[string]any, 40)}
	doc.ForEach(func(key, value gjson.Result) bool {
		rd.take(key.Str, value)
		return true
	})
	rd.gather()
	return rd.values, nil
}

func invalid(format string, args ...any) error {
	return &core.Error{Kind: core.Invalid, Msg: fmt.Sprintf(format, args...)}
}
