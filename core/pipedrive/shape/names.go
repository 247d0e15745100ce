package shape

// kind is how a value is written in the normal form.
type kind uint8

const (
	asIs    kind = iota
	whole        // an id or a level, a number wherever it is one
	moment       // a time of a day, as RFC 3339
	clock        // a time of day or a length of time; a webhook says {timezone_id, value}
	flag         // true or false, which version 1 also takes as 1 and 0
	inverse      // true where the other says false
	ids          // a list of ids; once a single one, or text with commas
	ways         // emails and phones; once one without a value stood for none
	place        // an address, of which version 1 has the parts beside it
	typed        // custom fields
)

// rule says what a key of any of the shapes is in the normal form.
type rule struct {
	to   string
	kind kind
}

// form is what is particular to an object. Keys that it does not name keep their names, and their values
// are told by their names' ends.
type form struct {
	in      map[string]rule
	out     map[string]rule // in a webhook of version 2; only what is another there
	address string          // the key of the address whose parts stand beside it in version 1
	textID  bool            // ids are UUIDs
}

func formOf(object string) *form {
	if f, ok := forms[object]; ok {
		return f
	}
	return &plainForm
}

// common holds for every object.
var common = map[string]rule{
	"id":          {"id", whole},
	"visible_to":  {"visible_to", whole},
	"label_ids":   {"label_ids", ids},
	"active_flag": {"is_deleted", inverse},
	"done":        {"done", flag},
	customFields:  {customFields, typed},
}

var (
	activeOut = map[string]rule{"is_deleted": {"active_flag", inverse}}
	plainForm = form{}
)

// What is said here of names is from the migration guides for webhooks and for the API's version 2.
var forms = map[string]*form{
	"deal": {
		in: map[string]rule{"user_id": {"owner_id", asIs}, "label": {"label_ids", ids}, "deleted": {"is_deleted", flag}},
	},
	"person": {
		in: map[string]rule{
			"email": {"emails", ways}, "phone": {"phones", ways}, "emails": {"emails", ways}, "phones": {"phones", ways},
			"label": {"label_ids", ids},
		},
	},
	"organization": {
		in:      map[string]rule{"label": {"label_ids", ids}, "address": {"address", place}},
		address: "address",
	},
	"activity": {
		in: map[string]rule{
			"user_id": {"owner_id", asIs}, "busy_flag": {"busy", flag}, "created_by_user_id": {"creator_user_id", asIs},
			"due_time": {"due_time", clock}, "duration": {"duration", clock}, "location": {"location", place},
		},
		out: map[string]rule{
			"busy": {"busy_flag", asIs}, "is_deleted": {"active_flag", inverse}, "due_time": {"due_time", clock}, "duration": {"duration", clock},
		},
		address: "location",
	},
	"lead": {
		in:     map[string]rule{"organization_id": {"org_id", asIs}},
		out:    map[string]rule{"org_id": {"organization_id", asIs}},
		textID: true,
	},
	"product": {
		in:  map[string]rule{"selectable": {"is_linkable", flag}, "category": {"category", whole}},
		out: map[string]rule{"is_linkable": {"selectable", asIs}, "category": {"category", whole}},
	},
	"pipeline": {
		in:  map[string]rule{"active": {"is_deleted", inverse}, "deal_probability": {"is_deal_probability_enabled", flag}},
		out: map[string]rule{"is_deleted": {"active_flag", inverse}, "is_deal_probability_enabled": {"deal_probability", asIs}},
	},
	"stage": {
		in:  map[string]rule{"rotten_days": {"days_to_rotten", asIs}, "rotten_flag": {"is_deal_rot_enabled", flag}},
		out: map[string]rule{"is_deleted": {"active_flag", inverse}, "days_to_rotten": {"rotten_days", asIs}, "is_deal_rot_enabled": {"rotten_flag", asIs}},
	},
	"note": {out: activeOut},
	"file": {out: activeOut},
	"user": {
		// Somebody who is not active is a user still.
		in: map[string]rule{
			"active_flag": {"active_flag", flag}, "created": {"add_time", moment}, "modified": {"update_time", moment}, "last_login": {"last_login", moment},
		},
		out: map[string]rule{"id": {"id", whole}, "add_time": {"created", moment}, "update_time": {"modified", moment}, "last_login": {"last_login", moment}},
	},
	"goal": {textID: true},
}
