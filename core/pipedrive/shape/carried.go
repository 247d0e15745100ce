package shape

import "strings"

// carried are the keys of which webhooks of version 2 tell, by the names of the normal form, as the guides' examples
// and captured deliveries have them. Of an object that is not here no body is known.
var carried = func() map[string]map[string]bool {
	all := map[string]map[string]bool{}
	for object, keys := range map[string]string{
		"deal": "channel channel_id close_time creator_user_id currency custom_fields expected_close_date first_won_time label_ids lost_reason " +
			"lost_time org_id origin origin_id owner_id person_id pipeline_id probability stage_change_time stage_id status title value visible_to " +
			"won_time is_archived archive_time",
		"person": "custom_fields emails first_name label_ids last_name name org_id owner_id phones visible_to",
		"organization": "address country_code custom_fields label_ids name owner_id picture_id visible_to website linkedin industry annual_revenue " +
			"employee_count",
		"activity": "is_deleted busy custom_fields deal_id done due_date due_time duration lead_id location org_id owner_id person_id public_description " +
			"subject type update_user_id",
		"lead": "channel channel_id creator_id custom_fields expected_close_date is_archived label_ids next_activity_id org_id origin origin_id owner_id " +
			"person_id source_name title was_seen value",
		"note": "user_id deal_id person_id org_id lead_id project_id is_deleted content pinned_to_deal_flag pinned_to_person_flag " +
			"pinned_to_organization_flag",
		"product":  "category code custom_fields description name owner_id is_linkable tax unit visible_to prices",
		"pipeline": "name url_title order_nr is_deleted is_deal_probability_enabled",
		"stage":    "name is_deleted days_to_rotten order_nr deal_probability is_deal_rot_enabled pipeline_id",
		"user":     "default_currency name email phone locale lang active_flag last_login timezone_name icon_url access",
	} {
		all[object] = map[string]bool{"id": true, "add_time": true, "update_time": true}
		for key := range strings.FieldsSeq(keys) {
			all[object][key] = true
		}
	}
	return all
}()

// Carried reports whether webhooks tell of a key of an object's records: it is one of the normal form, or a custom field as
// custom_fields.KEY. They tell less than the API has. Of an object whose webhooks nobody has seen they may tell anything.
func Carried(object, key string) bool {
	known := carried[object]
	key, _, _ = strings.Cut(key, ".")
	return known == nil || known[key]
}
