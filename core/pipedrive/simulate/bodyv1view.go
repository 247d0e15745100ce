package simulate

import (
	"strings"
	"time"

	"slices"
)

// columnsV1 are the keys of a record in the order of captured deliveries: of 2023, and of 2017 for note,
// stage and pipeline, to which came lead_id, project_id and deal_probability since, as the API's version 1
// has them. Those of a user are the API's.
var columnsV1 = map[string][]string{
	"deal": strings.Fields("email_messages_count cc_email products_count next_activity_date next_activity_type " +
		"next_activity_duration id person_id creator_user_id expected_close_date owner_name participants_count stage_id " +
		"probability undone_activities_count renewal_type active person_name last_activity_date close_time org_hidden " +
		"next_activity_id weighted_value_currency stage_order_nr next_activity_subject rotten_time user_id visible_to " +
		"org_id notes_count next_activity_time formatted_value status formatted_weighted_value first_won_time " +
		"last_outgoing_mail_time title last_activity_id update_time activities_count pipeline_id lost_time currency " +
		"weighted_value org_name value person_hidden next_activity_note files_count last_incoming_mail_time label " +
		"lost_reason deleted won_time followers_count stage_change_time add_time done_activities_count"),
	"person": strings.Fields("related_closed_deals_count delete_time email_messages_count cc_email owner_id " +
		"open_deals_count last_outgoing_mail_time active_flag picture_id last_activity_id next_activity_date update_time " +
		"participant_open_deals_count activities_count id org_name first_name email won_deals_count owner_name " +
		"files_count company_id related_won_deals_count last_incoming_mail_time first_char undone_activities_count " +
		"closed_deals_count last_name last_activity_date label next_activity_id related_lost_deals_count " +
		"related_open_deals_count phone visible_to org_id notes_count followers_count name " +
		"participant_closed_deals_count primary_email lost_deals_count next_activity_time add_time done_activities_count"),
	"organization": strings.Fields("address_route related_closed_deals_count email_messages_count cc_email owner_id " +
		"open_deals_count people_count next_activity_date id address_admin_area_level_2 address_admin_area_level_1 " +
		"owner_name address_formatted_address related_won_deals_count undone_activities_count address_subpremise " +
		"last_activity_date next_activity_id country_code visible_to notes_count name address_locality lost_deals_count " +
		"next_activity_time delete_time active_flag picture_id last_activity_id update_time category_id " +
		"activities_count won_deals_count address_street_number address edit_name files_count company_id " +
		"address_postal_code address_country first_char closed_deals_count label related_lost_deals_count " +
		"related_open_deals_count followers_count address_sublocality add_time done_activities_count"),
	"activity": strings.Fields("last_notification_time location_street_number type_name reference_id location_route " +
		"public_description notification_language_id subject updates_story_id type project_id deal_title " +
		"original_start_time id deal_id busy_flag person_id owner_name attendees person_name project_title " +
		"rec_rule_extension done created_by_user_id location_sublocality rec_rule location_admin_area_level_2 user_id " +
		"location_admin_area_level_1 org_id conference_meeting_client note due_time rec_master_activity_id " +
		"location_country active_flag duration location_postal_code update_time update_user_id lead_title " +
		"source_timezone person_dropbox_bcc conference_meeting_id org_name location_locality assigned_to_user_id " +
		"lead_id is_recurring participants location_subpremise company_id due_date lead reference_type " +
		"last_notification_user_id calendar_sync_include_context marked_as_done_time location_formatted_address series " +
		"conference_meeting_url location deal_dropbox_bcc add_time"),
	"product": strings.Fields("code files_count company_id owner_id first_char selectable description tax active_flag " +
		"unit update_time visible_to followers_count name product_variations id prices category add_time"),
	"note": strings.Fields("id user_id deal_id person_id org_id lead_id project_id content add_time update_time " +
		"active_flag pinned_to_deal_flag pinned_to_person_flag pinned_to_organization_flag last_update_user_id " +
		"organization person deal user"),
	"stage": strings.Fields("id order_nr name active_flag deal_probability pipeline_id rotten_flag rotten_days " +
		"add_time update_time"),
	"pipeline": strings.Fields("id name url_title order_nr active deal_probability add_time update_time"),
	"user": strings.Fields("id name default_currency locale lang email phone activated last_login created modified " +
		"has_created_company access active_flag timezone_name timezone_offset role_id icon_url is_you"),
}

// v1 makes the values of one record.
type v1 struct {
	name string
	rec  Record
	a    *Account
}

// viewV1 is a record as version 1 carries it.
func viewV1(name string, rec Record, a *Account) object {
	columns := columnsV1[name]
	out := make(object, 0, len(columns)+8)
	v := v1{name, rec, a}
	for _, key := range columns {
		out = append(out, member{key, v.value(key)})
	}
	return append(out, flat(rec, a.fields(name))...)
}

var timesV1 = append(slices.Clone(timesV2), "delete_time", "created", "modified", "last_login")

func (v v1) value(key string) any {
	switch {
	case slices.Contains(timesV1, key):
		return timeAs(v.rec[key], time.DateTime)
	case strings.HasSuffix(key, "_count"):
		return v.count(key)
	}
	if made, ok := v.common(key); ok {
		return made
	}
	switch v.name {
	case "deal":
		return v.deal(key)
	case "person":
		return v.person(key)
	case "organization":
		return v.organization(key)
	case "activity":
		return v.activity(key)
	case "product":
		return v.product(key)
	case "note":
		return v.note(key)
	case "pipeline", "stage":
		return v.pipeline(key)
	}
	return v.rec[key]
}

func (v v1) count(key string) any {
	if n, ok := v.rec[key]; ok || v.name == "product" && key == "files_count" { // null in the captures
		return n
	}
	return 0
}

// common are the keys that mean the same wherever they are.
func (v v1) common(key string) (any, bool) {
	switch key {
	case "visible_to":
		return textOrNil(v.rec[key]), true
	case "active_flag":
		return flag(v.rec, key, !truth(v.rec["is_deleted"])), true
	case "company_id":
		return v.a.CompanyID, true
	case "owner_name":
		return v.nameOf("user", "owner_id"), true
	case "person_name":
		return v.nameOf("person", "person_id"), true
	case "org_name":
		return v.nameOf("organization", "org_id"), true
	case "first_char":
		for _, c := range plainText(orEmpty(v.rec["name"])) {
			return strings.ToLower(string(c)), true
		}
		return nil, true
	case "cc_email":
		company, _, _ := strings.Cut(v.a.Host, ".")
		if v.name == "deal" {
			company += "+deal" + plainText(v.rec["id"])
		}
		return company + "@pipedrivemail.com", true
	}
	return nil, false
}

func (v v1) nameOf(object, key string) any { return v.a.find(object, v.rec[key])["name"] }

func (v v1) deal(key string) any {
	switch key {
	case "user_id":
		return v.rec["owner_id"]
	case "active":
		return v.rec["status"] == "open" && !truth(v.rec["is_deleted"])
	case "deleted":
		return truth(v.rec["is_deleted"]) || v.rec["status"] == "deleted"
	case "label":
		return joined(v.rec["label_ids"])
	case "org_hidden", "person_hidden":
		return false
	case "renewal_type":
		return "one_time"
	case "stage_order_nr":
		return v.a.find("stage", v.rec["stage_id"])["order_nr"]
	case "weighted_value_currency":
		return v.rec["currency"]
	case "weighted_value":
		return v.rec["value"]
	case "formatted_value", "formatted_weighted_value": // in the user's language; this is one of them
		return plainText(orEmpty(v.rec["currency"])) + " " + plainText(v.rec["value"])
	}
	return v.rec[key]
}

func (v v1) person(key string) any {
	switch key {
	case "email", "phone":
		list, _ := listOf(key+"s", v.rec).([]any)
		if len(list) == 0 { // so in a capture of 2017
			return []any{object{{"value", ""}, {"primary", true}}}
		}
		return list
	case "primary_email":
		for _, m := range entries(v.rec["emails"]) {
			if truth(m["primary"]) {
				return m["value"]
			}
		}
		return nil
	case "label":
		return first(v.rec, key, "label_ids")
	}
	return v.rec[key]
}

func entries(v any) []map[string]any {
	var out []map[string]any
	list, _ := v.([]any)
	for _, item := range list {
		if m, ok := item.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}

func (v v1) organization(key string) any {
	switch key {
	case "label":
		return first(v.rec, key, "label_ids")
	case "edit_name":
		return true
	}
	return v.place("address", key)
}

// place is an address, which version 1 has in parts beside each other.
func (v v1) place(whole, key string) any {
	parts, split := v.rec[whole].(map[string]any)
	if part, ok := strings.CutPrefix(key, whole+"_"); ok {
		return parts[part]
	}
	if key == whole && split {
		return parts["value"]
	}
	return v.rec[key]
}

func (v v1) activity(key string) any {
	switch key {
	case "user_id", "assigned_to_user_id":
		return v.rec["owner_id"]
	case "created_by_user_id":
		return v.rec["creator_user_id"]
	case "busy_flag":
		return either(v.rec, key, "busy")
	case "done":
		return truth(v.rec[key])
	case "due_time", "duration", "public_description":
		return orEmpty(v.rec[key])
	case "marked_as_done_time":
		return orEmpty(timeAs(v.rec[key], time.DateTime))
	case "type_name":
		if s := plainText(orEmpty(v.rec["type"])); s != "" {
			return strings.ToUpper(s[:1]) + s[1:]
		}
		return nil
	case "deal_title":
		return v.a.find("deal", v.rec["deal_id"])["title"]
	case "lead_title":
		return v.a.find("lead", v.rec["lead_id"])["title"]
	case "person_dropbox_bcc":
		if v.rec["person_id"] == nil {
			return nil
		}
		company, _, _ := strings.Cut(v.a.Host, ".")
		return company + "@pipedrivemail.com"
	case "participants":
		return participants(v.rec)
	}
	return v.place("location", key)
}

func participants(rec Record) any {
	list := entries(rec["participants"])
	if list == nil && rec["person_id"] != nil {
		list = []map[string]any{{"person_id": rec["person_id"], "primary": true}}
	}
	if list == nil {
		return nil
	}
	out := make([]any, len(list))
	for i, p := range list {
		out[i] = object{{"primary_flag", truth(either(p, "primary_flag", "primary"))}, {"person_id", p["person_id"]}}
	}
	return out
}

func (v v1) product(key string) any {
	switch key {
	case "category":
		return textOrNil(v.rec[key])
	case "selectable":
		return flag(v.rec, key, truth(v.rec["is_linkable"]))
	case "product_variations":
		return []any{}
	case "prices":
		out := []any{}
		for _, p := range entries(v.rec[key]) {
			out = append(out, object{{"cost", p["cost"]}, {"price", p["price"]}, {"product_id", p["product_id"]},
				{"overhead_cost", either(p, "overhead_cost", "direct_cost")}, {"currency", p["currency"]}, {"id", p["product_id"]}})
		}
		return out
	}
	return v.rec[key]
}

func (v v1) note(key string) any {
	switch key {
	case "organization":
		return v.named("organization", "org_id", "name")
	case "person":
		return v.named("person", "person_id", "name")
	case "deal":
		return v.named("deal", "deal_id", "title")
	case "user":
		user := v.a.find("user", v.rec["user_id"])
		return object{{"email", user["email"]}, {"name", user["name"]}, {"icon_url", user["icon_url"]}, {"is_you", true}}
	case "pinned_to_deal_flag", "pinned_to_person_flag", "pinned_to_organization_flag":
		return truth(v.rec[key])
	}
	return v.rec[key]
}

func (v v1) named(name, id, key string) any {
	if v.rec[id] == nil {
		return nil
	}
	return object{{key, v.a.find(name, v.rec[id])[key]}}
}

func (v v1) pipeline(key string) any {
	switch key {
	case "active":
		return flag(v.rec, key, !truth(v.rec["is_deleted"]))
	case "deal_probability":
		if v.name == "pipeline" {
			return flag(v.rec, key, truth(v.rec["is_deal_probability_enabled"]))
		}
	}
	return pipelineV2(v.name, key, v.rec)
}
