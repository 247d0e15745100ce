package simulate

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// columnsV2 are the keys of data for each object, in the order of the guide's examples and of captured
// deliveries. They are fewer than the API's, and some have other names.
var columnsV2 = map[string][]string{
	"deal": strings.Fields("add_time channel channel_id close_time creator_user_id currency custom_fields " +
		"expected_close_date first_won_time id label_ids lost_reason lost_time org_id origin origin_id owner_id " +
		"person_id pipeline_id probability stage_change_time stage_id status title update_time value visible_to " +
		"won_time is_archived archive_time"),
	"person": strings.Fields("add_time custom_fields emails first_name id label label_ids last_name name org_id " +
		"owner_id phones update_time visible_to"),
	"organization": strings.Fields("add_time address country_code custom_fields id label name owner_id picture_id " +
		"update_time visible_to"),
	"activity": strings.Fields("active_flag add_time busy_flag custom_fields deal_id done due_date due_time duration " +
		"id lead_id location org_id owner_id person_id public_description subject type update_time update_user_id"),
	"lead": strings.Fields("add_time channel channel_id creator_id custom_fields expected_close_date id is_archived " +
		"label_ids next_activity_id organization_id origin origin_id owner_id person_id source_name title " +
		"update_time was_seen value"),
	"note": strings.Fields("id user_id deal_id person_id org_id lead_id project_id active_flag content add_time " +
		"update_time pinned_to_deal_flag pinned_to_person_flag pinned_to_organization_flag"),
	"product": strings.Fields("add_time category code custom_fields description id name owner_id selectable tax unit " +
		"update_time visible_to prices"),
	"pipeline": strings.Fields("id name url_title order_nr active_flag deal_probability add_time update_time"),
	"stage": strings.Fields("id name active_flag rotten_days order_nr deal_probability rotten_flag add_time " +
		"pipeline_id update_time"),
	"user": strings.Fields("id default_currency name email phone locale lang active_flag last_login timezone_name " +
		"icon_url created modified access"),
}

// featured are keys of an organization that only accounts with the feature carry (changelog of May 2026).
var featured = strings.Fields("website linkedin industry annual_revenue employee_count")

// viewV2 is a record as version 2 carries it.
func viewV2(name string, rec Record, a *Account, create bool) object {
	columns, known := columnsV2[name]
	if !known {
		columns = unseen(rec)
	}
	out := make(object, 0, len(columns)+len(featured))
	for _, key := range columns {
		out = append(out, member{key, valueV2(name, key, rec, a)})
	}
	if name == "organization" {
		for _, key := range featured {
			if v, ok := rec[key]; ok {
				out = append(out, member{key, v})
			}
		}
	}
	if create && name == "deal" { // so in the guide and in a capture of 2026
		for i := range out {
			if out[i].key == "update_time" {
				out[i].value = nil
			}
		}
	}
	return out
}

// unseen are the keys of an object of which no webhook is known: the API's, which is a guess.
func unseen(rec Record) []string {
	keys := slices.Sorted(maps.Keys(rec))
	if i := slices.Index(keys, "id"); i > 0 {
		keys = slices.Insert(slices.Delete(keys, i, i+1), 0, "id")
	}
	return keys
}

// timesV2 are keys whose value is a time.
var timesV2 = strings.Fields("add_time update_time close_time first_won_time lost_time stage_change_time won_time archive_time")

func valueV2(name, key string, rec Record, a *Account) any {
	if slices.Contains(timesV2, key) {
		if name == "lead" { // the only object with milliseconds
			return timeAs(rec[key], "2006-01-02T15:04:05.000Z")
		}
		return timeAs(rec[key], time.RFC3339)
	}
	switch key {
	case "custom_fields":
		return typed(rec, a.fields(name))
	case "visible_to":
		return textOrNil(rec[key])
	case "active_flag":
		return flag(rec, key, !truth(rec["is_deleted"]))
	case "label":
		return first(rec, key, "label_ids")
	case "label_ids", "emails", "phones", "prices":
		return listOf(key, rec)
	case "is_archived", "was_seen", "done", "pinned_to_deal_flag", "pinned_to_person_flag", "pinned_to_organization_flag":
		return truth(rec[key])
	}
	switch name {
	case "activity":
		return activityV2(key, rec)
	case "product":
		return productV2(key, rec)
	case "pipeline", "stage":
		return pipelineV2(name, key, rec)
	case "user":
		return userV2(key, rec)
	}
	return rec[key]
}

func activityV2(key string, rec Record) any {
	switch key {
	case "busy_flag":
		return either(rec, key, "busy")
	case "due_time", "duration":
		// The examples show null for one never set and empty text for one taken away. What stands in value
		// when it is set is a guess: what the API has.
		if s, ok := rec[key].(string); ok && s != "" {
			return object{{"timezone_id", nil}, {"value", s}}
		}
		return nil
	case "public_description":
		return orEmpty(rec[key])
	}
	return rec[key] // a location is the API's object, which is a guess: the examples have none
}

func productV2(key string, rec Record) any {
	switch key {
	case "category":
		return textOrNil(rec[key])
	case "selectable":
		return flag(rec, key, truth(rec["is_linkable"]))
	}
	return rec[key]
}

func pipelineV2(name, key string, rec Record) any {
	switch {
	case key == "url_title" && rec[key] == nil:
		return strings.ReplaceAll(plainText(orEmpty(rec["name"])), " ", "-")
	case key == "deal_probability" && name == "pipeline":
		return flag(rec, key, truth(rec["is_deal_probability_enabled"]))
	case key == "rotten_days":
		return either(rec, key, "days_to_rotten")
	case key == "rotten_flag":
		return flag(rec, key, truth(rec["is_deal_rot_enabled"]))
	}
	return rec[key]
}

func userV2(key string, rec Record) any {
	switch key {
	case "id":
		return textOrNil(rec[key])
	case "created", "modified", "last_login":
		return timeAs(rec[key], time.DateTime)
	case "lang":
		if _, text := rec[key].(string); !text { // the API has a number
			return "en-US"
		}
	}
	return rec[key]
}

// priceKeys are in the order of the guide's example.
var priceKeys = strings.Fields("cost notes price product_id currency direct_cost")

func listOf(key string, rec Record) any {
	list, ok := rec[key].([]any)
	if !ok {
		return []any{}
	}
	out := make([]any, len(list))
	for i, v := range list {
		parts, ok := v.(map[string]any)
		switch {
		case ok && key == "prices":
			out[i] = picked(parts, priceKeys)
		case ok:
			out[i] = picked(parts, []string{"label", "value", "primary"})
		default:
			out[i] = v
		}
	}
	return out
}

func picked(values map[string]any, keys []string) object {
	o := make(object, len(keys))
	for i, key := range keys {
		o[i] = member{key, values[key]}
	}
	return o
}

func truth(v any) bool {
	switch v := v.(type) {
	case bool:
		return v
	case int64:
		return v != 0
	case float64:
		return v != 0
	}
	return false
}

// flag is the record's own key when it has it, and else what another key says.
func flag(rec Record, key string, other bool) bool {
	if v, ok := rec[key]; ok && v != nil {
		return truth(v)
	}
	return other
}

func either(rec Record, keys ...string) any {
	for _, key := range keys {
		if v, ok := rec[key]; ok {
			return v
		}
	}
	return nil
}

// first is one value where the record has a list: version 1 and webhooks know one label.
func first(rec Record, key, list string) any {
	if v, ok := rec[key]; ok {
		return v
	}
	if all, ok := rec[list].([]any); ok && len(all) > 0 {
		return all[0]
	}
	return nil
}
