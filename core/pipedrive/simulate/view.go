package simulate

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pipehook/pipehook/core/pipedrive/shape"
)

// onRequest are the keys that the API's version 2 shows when include_fields names them.
var onRequest = map[string][]string{
	"deal": {"first_won_time"}, "person": {"marketing_status"}, "activity": {"attendees"},
}

// view2 is a record as the API's version 2 shows it.
func view2(object string, rec Record, include, custom []string) Record {
	view := make(Record, len(rec))
	for name, value := range rec {
		if slices.Contains(onRequest[object], name) && !slices.Contains(include, name) {
			continue
		}
		view[name] = value
	}
	if all, is := rec["custom_fields"].(map[string]any); is && len(custom) > 0 {
		some := map[string]any{}
		for _, key := range custom {
			if value, there := all[key]; there {
				some[key] = value
			}
		}
		view["custom_fields"] = some
	}
	return view
}

// view1 is a record as the API's version 1 shows it: custom fields among the others, times without a zone.
func view1(object string, rec Record, crm *CRM) Record {
	view := make(Record, len(rec)+8)
	for name, value := range rec {
		if k := schemas[object].byName[name]; k != nil && k.kind == aTime && object != "lead" {
			value = spaced(value)
		}
		view[name] = value
	}
	delete(view, "custom_fields")
	custom, _ := rec["custom_fields"].(map[string]any)
	for _, f := range crm.Fields(object) {
		if value := custom[f.Key]; value != nil || object != "lead" { // of leads those without a value are left out
			flatten(view, f, value)
		}
	}
	switch object {
	case "deal":
		rename(view, "owner_id", "user_id")
		delete(view, "is_deleted")
		view["deleted"], view["active"] = rec["is_deleted"], rec["status"] == "open"
		crm.expand(view, "user_id", "user")
		crm.expand(view, "creator_user_id", "user")
		crm.expand(view, "person_id", "person")
		crm.expand(view, "org_id", "organization")
		visible(view)
	case "person", "organization":
		rename(view, "emails", "email")
		rename(view, "phones", "phone")
		activeFlag(view)
		crm.expand(view, "owner_id", "user")
		crm.expand(view, "org_id", "organization")
		if parts, is := view["address"].(map[string]any); is {
			for part, value := range parts {
				view["address_"+part] = value
			}
			view["address"] = parts["value"]
			delete(view, "address_value")
		}
		visible(view)
	case "activity":
		rename(view, "owner_id", "user_id")
		rename(view, "busy", "busy_flag")
		activeFlag(view)
	case "product":
		rename(view, "is_linkable", "selectable")
		activeFlag(view)
		visible(view)
	case "pipeline", "stage":
		rename(view, "is_deal_probability_enabled", "deal_probability")
		rename(view, "days_to_rotten", "rotten_days")
		rename(view, "is_deal_rot_enabled", "rotten_flag")
		activeFlag(view)
	}
	return view
}

func rename(view Record, from, to string) {
	if value, there := view[from]; there {
		delete(view, from)
		view[to] = value
	}
}

func activeFlag(view Record) {
	view["active_flag"] = view["is_deleted"] != true
	delete(view, "is_deleted")
}

func visible(view Record) {
	if n, is := view["visible_to"].(int64); is {
		view["visible_to"] = strconv.FormatInt(n, 10)
	}
}

// expand puts what a record refers to in the place of its id.
func (c *CRM) expand(view Record, name, object string) {
	id, there := view[name]
	if !there || id == nil {
		return
	}
	rec, _ := c.Get(object, idText(id))
	one := map[string]any{"value": id, "name": rec["name"], "active_flag": rec["is_deleted"] != true}
	switch object {
	case "user":
		one["id"], one["email"], one["has_pic"], one["pic_hash"] = id, rec["email"], int64(0), nil
	case "person":
		one["email"], one["phone"], one["owner_id"] = rec["emails"], rec["phones"], rec["owner_id"]
	case "organization":
		one["people_count"], one["owner_id"], one["address"], one["cc_email"] = int64(0), rec["owner_id"], nil, "company@pipedrivemail.com"
	}
	view[name] = one
}

// spaced is a time as version 1 writes it.
func spaced(value any) any {
	text, _ := value.(string)
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return value
	}
	return t.UTC().Format(time.DateTime)
}

// flatten writes a custom field as version 1 does: its parts beside it.
func flatten(view Record, f shape.Field, value any) {
	view[f.Key] = value
	switch v := value.(type) {
	case int64:
		if f.Type == "enum" {
			view[f.Key] = strconv.FormatInt(v, 10)
		}
	case []any:
		words := make([]string, len(v))
		for i, one := range v {
			words[i] = idText(one)
		}
		view[f.Key] = strings.Join(words, ",")
	case map[string]any:
		view[f.Key] = v["value"]
		for part, value := range v {
			if part != "value" && part != "timezone_name" {
				view[f.Key+"_"+part] = value
			}
		}
	}
}

// fromVersion1 brings the body of a write of version 1 into the form of version 2.
func fromVersion1(object string, body map[string]any, fields []shape.Field) map[string]any {
	values, custom := map[string]any{}, map[string]any{}
	for name, value := range body {
		key, part, _ := strings.Cut(name, "_")
		i := slices.IndexFunc(fields, func(f shape.Field) bool { return f.Key == key })
		if i < 0 {
			values[name] = value
			continue
		}
		if parts, is := custom[key].(map[string]any); is || part != "" || composed(fields[i].Type) && value != nil {
			if parts == nil {
				parts = map[string]any{}
			}
			if part == "" {
				part = "value"
			}
			parts[part] = value
			custom[key] = parts
			continue
		}
		custom[key] = unflatten(fields[i], value)
	}
	if len(custom) > 0 {
		values["custom_fields"] = custom
	}
	switch object {
	case "deal":
		rename(values, "user_id", "owner_id")
	case "person":
		rename(values, "email", "emails")
		rename(values, "phone", "phones")
	}
	if text, is := values["visible_to"].(string); is && object != "lead" {
		values["visible_to"] = plain(number1(text))
	}
	return values
}

func composed(kind string) bool {
	return slices.Contains([]string{"monetary", "time", "timerange", "daterange", "address"}, kind)
}

// unflatten is a custom field's value of version 1 in the form of version 2.
func unflatten(f shape.Field, value any) any {
	text, is := value.(string)
	if !is {
		return value
	}
	switch f.Type {
	case "enum", "user", "org", "people", "double":
		return number1(text)
	case "set":
		list := []any{}
		for word := range strings.SplitSeq(text, ",") {
			list = append(list, number1(word))
		}
		return list
	}
	return value
}

// number1 is the number that a text is, or else the text.
func number1(text string) any {
	if n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64); err == nil {
		return n
	}
	if f, err := strconv.ParseFloat(text, 64); err == nil {
		return f
	}
	return text
}
