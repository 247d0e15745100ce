package simulate

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// kind is what a key of a record holds.
type kind string

// The kinds.
const (
	aText    kind = "text"
	anInt    kind = "int"
	aNumber  kind = "number"
	aBool    kind = "bool"
	aDate    kind = "date" // 2026-11-26
	aTime    kind = "time" // RFC 3339, UTC
	aList    kind = "list"
	aMap     kind = "map"
	anything kind = "any"
)

// key is a key of an object's records.
type key struct {
	name  string
	kind  kind
	ref   string // the object whose id it holds
	fixed bool   // only Pipedrive itself writes it
	need  bool   // a record can't be created without it
}

// schema is the keys of an object's records, and what they hold when nothing is said.
type schema struct {
	keys     []key
	byName   map[string]*key
	defaults Record
	custom   bool
}

// The records' keys as the OpenAPI files of August 2026 have them, in the form name:kind[.object][!][*]. With ! nobody
// may write it, with * it is needed.
var schemas = map[string]*schema{
	"user": parse(`id:int! name:text* default_currency:text locale:text lang:int email:text* phone:text activated:bool!
		last_login:time! created:time! modified:time! has_created_company:bool! access:list active_flag:bool timezone_name:text
		timezone_offset:text role_id:int icon_url:text! is_you:bool! is_admin:int is_deleted:bool!`,
		Record{"default_currency": "EUR", "locale": "en_US", "lang": int64(1), "activated": true, "has_created_company": false,
			"active_flag": true, "timezone_name": "Europe/Tallinn", "timezone_offset": "+02:00", "role_id": int64(1),
			"is_you": false, "is_admin": int64(0), "is_deleted": false,
			"access": []any{map[string]any{"app": "sales", "admin": false, "permission_set_id": "62cc4d7f-4038-4352-abf3-a8c1c822b631"}}}),
	"pipeline": parse(`id:int! name:text* order_nr:int! is_selected:bool! is_deleted:bool! is_deal_probability_enabled:bool
		add_time:time! update_time:time!`,
		Record{"is_selected": false, "is_deal_probability_enabled": false}),
	"stage": parse(`id:int! order_nr:int name:text* is_deleted:bool! deal_probability:int pipeline_id:int.pipeline*
		is_deal_rot_enabled:bool days_to_rotten:int add_time:time! update_time:time!`,
		Record{"deal_probability": int64(100), "is_deal_rot_enabled": false}),
	"organization": parse(`id:int! name:text* owner_id:int.user add_time:time update_time:time is_deleted:bool! visible_to:int
		picture_id:int! label_ids:list address:map website:text linkedin:text industry:int annual_revenue:number employee_count:int
		country_code:text! custom_fields:map`,
		Record{"visible_to": int64(3), "label_ids": []any{}}),
	"person": parse(`id:int! name:text first_name:text last_name:text owner_id:int.user org_id:int.organization add_time:time
		update_time:time emails:list phones:list is_deleted:bool! visible_to:int label_ids:list picture_id:int! marketing_status:text
		custom_fields:map`,
		Record{"emails": []any{}, "phones": []any{}, "visible_to": int64(3), "label_ids": []any{}, "marketing_status": "no_consent"}),
	"product": parse(`id:int! name:text* code:text description:text unit:text tax:number category:any is_linkable:bool
		is_deleted:bool! visible_to:int owner_id:int.user add_time:time! update_time:time! billing_frequency:text
		billing_frequency_cycles:int prices:list custom_fields:map`,
		Record{"tax": int64(0), "is_linkable": true, "visible_to": int64(3), "billing_frequency": "one-time", "prices": []any{}}),
	"deal": parse(`id:int! title:text* creator_user_id:int.user! owner_id:int.user value:number person_id:int.person
		org_id:int.organization stage_id:int.stage pipeline_id:int.pipeline currency:text is_archived:bool archive_time:time
		add_time:time update_time:time stage_change_time:time! status:text is_deleted:bool! probability:number lost_reason:text
		visible_to:int close_time:time won_time:time lost_time:time first_won_time:time! local_won_date:date! local_lost_date:date!
		local_close_date:date! expected_close_date:date label_ids:list origin:text! origin_id:text channel:int channel_id:text
		acv:number! arr:number! mrr:number! custom_fields:map`,
		Record{"value": int64(0), "currency": "EUR", "is_archived": false, "status": "open", "visible_to": int64(3),
			"label_ids": []any{}, "origin": "ManuallyCreated"}),
	"deal_product": parse(`id:int! deal_id:int.deal* product_id:int.product* product_variation_id:int name:text! item_price:number*
		quantity:number* discount:number discount_type:text tax:number tax_method:text currency:text! comments:text is_enabled:bool
		billing_frequency:text billing_frequency_cycles:int billing_start_date:date sum:number! order_nr:int! add_time:time! update_time:time!`,
		Record{"discount": int64(0), "discount_type": "percentage", "tax": int64(0), "tax_method": "inclusive", "currency": "EUR",
			"comments": "", "is_enabled": true, "billing_frequency": "one-time"}),
	"deal_installment": parse(`id:int! deal_id:int.deal* description:text* amount:number* billing_date:date*`, nil),
	"lead": parse(`id:text! title:text* owner_id:int.user creator_id:int.user! label_ids:list person_id:int.person
		organization_id:int.organization source_name:text! origin:text! origin_id:text channel:int channel_id:text is_archived:bool
		was_seen:bool value:map expected_close_date:date next_activity_id:int! add_time:time! update_time:time! visible_to:text
		cc_email:text! custom_fields:map`,
		Record{"label_ids": []any{}, "source_name": "Manually created", "origin": "ManuallyCreated", "is_archived": false,
			"was_seen": true, "visible_to": "3"}),
	"activity": parse(`id:int! subject:text type:text owner_id:int.user creator_user_id:int.user! is_deleted:bool! add_time:time!
		update_time:time! deal_id:int.deal lead_id:text.lead person_id:int.person org_id:int.organization project_id:int.project
		due_date:date due_time:text duration:text busy:bool done:bool marked_as_done_time:time! location:map participants:list
		attendees:list public_description:text priority:int note:text custom_fields:map`,
		Record{"subject": "Call", "type": "call", "busy": false, "done": false, "participants": []any{}, "public_description": ""}),
	"note": parse(`id:int! user_id:int.user deal_id:int.deal person_id:int.person org_id:int.organization lead_id:text.lead
		project_id:int.project active_flag:bool! content:text* add_time:time update_time:time! pinned_to_deal_flag:any
		pinned_to_person_flag:any pinned_to_organization_flag:any pinned_to_lead_flag:any last_update_user_id:int.user!`,
		Record{"active_flag": true, "pinned_to_deal_flag": false, "pinned_to_person_flag": false,
			"pinned_to_organization_flag": false, "pinned_to_lead_flag": false}),
	"board": parse(`id:int! name:text* order_nr:int add_time:time! update_time:time!`, nil),
	"phase": parse(`id:int! name:text* board_id:int.board* order_nr:int add_time:time! update_time:time!`, nil),
	"project": parse(`id:int! title:text* description:text status:text status_change_time:time! add_time:time! update_time:time!
		start_date:date end_date:date owner_id:int.user board_id:int.board phase_id:int.phase archive_time:time! label_ids:list
		deal_ids:list person_ids:list org_ids:list health_status:text custom_fields:map`,
		Record{"status": "open", "label_ids": []any{}, "deal_ids": []any{}, "person_ids": []any{}, "org_ids": []any{}}),
	"task": parse(`id:int! title:text* creator_id:int.user! description:text is_done:bool is_milestone:bool is_deleted:bool!
		due_date:date start_date:date parent_task_id:int.task project_id:int.project* assignee_ids:list priority:int
		add_time:time! update_time:time! marked_as_done_time:time!`,
		Record{"is_done": false, "is_milestone": false, "assignee_ids": []any{}}),
	"file": parse(`id:int! user_id:int.user! deal_id:int.deal person_id:int.person org_id:int.organization product_id:int.product
		activity_id:int.activity lead_id:text.lead add_time:time! update_time:time! file_name:text* file_type:text file_size:int
		active_flag:bool! inline_flag:bool remote_location:text remote_id:text cid:text s3_bucket:text mail_message_id:text
		mail_template_id:text name:text description:text url:text!`,
		Record{"active_flag": true, "inline_flag": false, "remote_location": "s3", "file_type": "txt", "file_size": int64(0)}),
	"goal": parse(`id:text! owner_id:int.user! title:text* type:map assignee:map interval:text duration:map expected_outcome:map
		is_active:bool report_ids:list`,
		Record{"interval": "monthly", "is_active": true, "report_ids": []any{}}),
}

func parse(text string, defaults Record) *schema {
	s := &schema{byName: map[string]*key{}, defaults: Record{}}
	for word := range strings.FieldsSeq(text) {
		name, rest, _ := strings.Cut(word, ":")
		k := key{name: name, fixed: strings.Contains(rest, "!"), need: strings.Contains(rest, "*")}
		what, ref, _ := strings.Cut(strings.TrimRight(rest, "!*"), ".")
		k.kind, k.ref = kind(what), ref
		s.keys = append(s.keys, k)
		s.defaults[name] = nil
	}
	for i, k := range s.keys {
		s.byName[k.name] = &s.keys[i]
		if k.name == "is_deleted" {
			s.defaults[k.name] = false
		}
	}
	for name, value := range defaults {
		s.defaults[name] = value
	}
	s.custom = s.byName["custom_fields"] != nil
	return s
}

// check says what is wrong with a value for the key, or brings it into the form in which records hold it.
func (k *key) check(value any) (any, error) {
	value = plain(value)
	if value == nil {
		if k.need {
			return nil, fmt.Errorf("%s: must not be null", k.name)
		}
		return nil, nil
	}
	good := false
	switch v := value.(type) {
	case string:
		good = slices.Contains([]kind{aText, anything, aDate, aTime}, k.kind)
		if k.kind == aTime {
			t, err := time.Parse(time.RFC3339, v)
			if err != nil {
				return nil, fmt.Errorf("%s: must be a time as RFC 3339 has it", k.name)
			}
			return stamp(t), nil
		}
		if _, err := time.Parse(time.DateOnly, v); k.kind == aDate && err != nil {
			return nil, fmt.Errorf("%s: must be a date such as 2026-11-26", k.name)
		}
	case int64:
		good = slices.Contains([]kind{anInt, aNumber, anything}, k.kind)
	case float64:
		good = k.kind == aNumber || k.kind == anything
	case bool:
		good = k.kind == aBool || k.kind == anything
	case []any:
		good = k.kind == aList || k.kind == anything
	case map[string]any:
		good = k.kind == aMap || k.kind == anything
	}
	if !good {
		return nil, fmt.Errorf("%s: must be of the kind %s", k.name, k.kind)
	}
	return value, nil
}

// plain brings a value into the form in which records hold it: int64, float64, text, bool, nil, lists and maps.
func plain(value any) any {
	switch v := value.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		f, _ := v.Float64()
		return f
	case int:
		return int64(v)
	case float64:
		if n := int64(v); float64(n) == v {
			return n
		}
	case []any:
		list := make([]any, len(v))
		for i, one := range v {
			list[i] = plain(one)
		}
		return list
	case []int64:
		list := make([]any, len(v))
		for i, one := range v {
			list[i] = one
		}
		return list
	case map[string]any:
		m := make(map[string]any, len(v))
		for name, one := range v {
			m[name] = plain(one)
		}
		return m
	}
	return value
}

// stamp is a time as records hold it.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
