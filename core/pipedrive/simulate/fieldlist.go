package simulate

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/pipehook/pipehook/core/pipedrive/shape"
)

// routeFields is for the definitions of fields.
func (c *call) routeFields() bool {
	object := objectOf(c.path[0])
	v1Only := object == "lead" || object == "note"
	if object == "" || c.Method != http.MethodGet || c.version == 2 && (v1Only || !schemas[object].custom) {
		return false
	}
	cost := int64(10)
	if c.version == 1 {
		cost = 20
	}
	switch len(c.path) {
	case 1:
		c.does(cost, func() *reply { return c.fieldList(object) })
	case 2:
		c.does(1, func() *reply {
			for _, f := range c.s.allFields(object) {
				if f.Key == c.path[1] {
					return ok(c.fieldView(f, 0))
				}
			}
			return c.missing("field")
		})
	}
	return true
}

// allFields are an object's own fields and its custom ones.
func (s *Server) allFields(object string) []shape.Field {
	var all []shape.Field
	for _, k := range schemas[object].keys {
		if k.name == "custom_fields" {
			continue
		}
		label := strings.ReplaceAll(strings.TrimSuffix(k.name, "_id"), "_", " ")
		all = append(all, shape.Field{Key: k.name, Name: k.name, Label: strings.ToUpper(label[:1]) + label[1:], Type: fieldType(k)})
	}
	return append(all, s.crm.Fields(object)...)
}

// fieldType is the type that a field of Pipedrive's own has.
func fieldType(k key) string {
	switch k.ref {
	case "user":
		return "user"
	case "person":
		return "people"
	case "organization":
		return "org"
	case "stage", "pipeline", "deal", "project", "board", "phase":
		return k.ref
	}
	switch k.kind {
	case anInt:
		return "int"
	case aNumber:
		return "double"
	case aBool:
		return "boolean"
	case aDate:
		return "date"
	case aTime:
		return "date"
	}
	return "varchar"
}

func (c *call) fieldList(object string) *reply {
	all := c.s.allFields(object)
	start, _ := strconv.Atoi(c.URL.Query().Get("start"))
	if text := c.URL.Query().Get("cursor"); text != "" && c.version == 2 {
		after, err := parseCursor(text)
		if err != nil {
			return c.problem("field", err)
		}
		start = int(after.Num)
	}
	limit, _ := strconv.Atoi(c.URL.Query().Get("limit"))
	if limit < 1 || limit > 500 {
		limit = 100
	}
	start = min(max(start, 0), len(all))
	end := min(start+limit, len(all))
	data := make([]any, 0, end-start)
	for i, f := range all[start:end] {
		data = append(data, c.fieldView(f, start+i))
	}
	a := ok(data)
	more := end < len(all)
	body := a.body.(map[string]any)
	if c.version == 2 {
		body["additional_data"] = map[string]any{"next_cursor": nil}
		if more {
			body["additional_data"] = map[string]any{"next_cursor": (&cursor{Num: int64(end)}).String()}
		}
		return a
	}
	paging := map[string]any{"start": start, "limit": limit, "more_items_in_collection": more}
	if more {
		paging["next_start"] = end
	}
	body["additional_data"] = map[string]any{"pagination": paging}
	return a
}

// fieldView is a definition as the request's version shows it.
func (c *call) fieldView(f shape.Field, at int) map[string]any {
	var options any
	if f.Options != nil {
		list := []any{}
		for _, o := range f.Options {
			one := map[string]any{"id": o.ID, "label": o.Label}
			if c.version == 2 {
				one["color"], one["add_time"], one["update_time"] = nil, nil, nil
			}
			list = append(list, one)
		}
		options = list
	}
	if c.version == 2 {
		return map[string]any{
			"field_name": f.Label, "field_code": f.Key, "field_type": f.Type, "description": nil, "options": options,
			"subfields": subfields(f), "is_custom_field": f.Custom, "is_optional_response_field": false,
		}
	}
	view := map[string]any{
		"id": at + 1, "key": f.Key, "name": f.Label, "order_nr": at + 1, "field_type": f.Type, "edit_flag": f.Custom,
		"json_column_flag": false, "mandatory_flag": false, "active_flag": true, "bulk_edit_allowed": true,
	}
	if options != nil {
		view["options"] = options
	}
	return view
}

// subfields are the parts of a custom field that has some.
func subfields(f shape.Field) any {
	var parts map[string]string
	switch {
	case !f.Custom:
	case f.Type == "monetary":
		parts = map[string]string{"currency": "varchar"}
	case f.Type == "daterange":
		parts = map[string]string{"until": "date"}
	case f.Type == "timerange":
		parts = map[string]string{"until": "time"}
	}
	if parts == nil {
		return nil
	}
	var list []any
	for part, kind := range parts {
		list = append(list, map[string]any{"field_code": f.Key + "_" + part, "field_name": f.Label + " " + part, "field_type": kind})
	}
	return list
}
