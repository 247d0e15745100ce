package mirror

import (
	"slices"

	"github.com/pipehook/pipehook/core/pipedrive/shape"
)

// kind is what a column holds.
type kind uint8

const (
	number  kind = iota // whole
	decimal             // exact on PostgreSQL
	text
	flag
	date   // of a day
	moment // UTC; on SQLite RFC 3339 with seconds
	list   // JSON
)

// column is a value of a record that has a column of its own.
type column struct {
	name  string
	kind  kind
	from  string // its place in the record: keys with dots between; of a list its primary one, or the first. The name when empty
	of    string // the object that it names one of
	index bool
}

// table is where the records of an object are kept.
type table struct {
	object  string
	name    string
	id      kind
	columns []column
}

// key is the place of the column in a record.
func (c *column) key() string {
	if c.from != "" {
		return c.from
	}
	return c.name
}

func num(names ...string) []column    { return columns(number, names) }
func dec(names ...string) []column    { return columns(decimal, names) }
func txt(names ...string) []column    { return columns(text, names) }
func flags(names ...string) []column  { return columns(flag, names) }
func dates(names ...string) []column  { return columns(date, names) }
func times(names ...string) []column  { return columns(moment, names) }
func lists(names ...string) []column  { return columns(list, names) }
func status(names ...string) []column { return indexed(columns(text, names)) }

func columns(k kind, names []string) []column {
	all := make([]column, len(names))
	for i, name := range names {
		all[i] = column{name: name, kind: k}
	}
	return all
}

func indexed(all []column) []column {
	for i := range all {
		all[i].index = true
	}
	return all
}

// ref is a column that names another record.
func ref(name, object string) []column {
	k := number
	if idKind(object) == text {
		k = text
	}
	return []column{{name: name, kind: k, of: object, index: true}}
}

// refs is a list of other records' ids.
func refs(name, object string) []column { return []column{{name: name, kind: list, of: object}} }

// part is a column for a value within another.
func part(name string, k kind, from string) []column {
	return []column{{name: name, kind: k, from: from}}
}

// owner is who has the record.
func owner() []column { return ref("owner_id", "user") }

// idKind is how an object's ids are written.
func idKind(object string) kind {
	if object == "lead" || object == "goal" {
		return text
	}
	return number
}

// columnsOf are the columns of each object beside those that all have. The names are those of the API's version 2, and of
// what it does not have those of version 1, as of its OpenAPI files of August 2026.
var columnsOf = map[string][]column{
	"activity": slices.Concat(txt("subject", "type"), owner(), ref("deal_id", "deal"), ref("lead_id", "lead"), ref("person_id", "person"),
		ref("org_id", "organization"), ref("project_id", "project"), flags("done", "busy"), indexed(dates("due_date")), txt("due_time", "duration"),
		times("marked_as_done_time"), ref("creator_user_id", "user"), part("location", text, "location.value")),
	"board": slices.Concat(txt("name"), num("order_nr")),
	"deal": slices.Concat(txt("title"), status("status"), dec("value"), txt("currency"), owner(), ref("person_id", "person"), ref("org_id", "organization"),
		ref("pipeline_id", "pipeline"), ref("stage_id", "stage"), dec("probability"), dates("expected_close_date"), times("stage_change_time", "won_time", "lost_time", "close_time"),
		txt("lost_reason"), lists("label_ids"), flags("is_archived"), ref("creator_user_id", "user"), txt("origin")),
	"deal_installment": slices.Concat(ref("deal_id", "deal"), dec("amount"), indexed(dates("billing_date")), txt("description")),
	"deal_product": slices.Concat(ref("deal_id", "deal"), ref("product_id", "product"), num("product_variation_id"), txt("name"), dec("quantity", "item_price", "sum"), txt("currency"),
		dec("tax"), txt("tax_method"), dec("discount"), txt("discount_type"), flags("is_enabled"), txt("billing_frequency"), num("billing_frequency_cycles"), dates("billing_start_date"), txt("comments")),
	"file": slices.Concat(txt("name", "file_name", "file_type"), num("file_size"), ref("user_id", "user"), ref("deal_id", "deal"), ref("lead_id", "lead"), ref("person_id", "person"),
		ref("org_id", "organization"), ref("product_id", "product"), ref("activity_id", "activity"), txt("remote_location", "remote_id", "url", "description")),
	"goal": slices.Concat(txt("title"), owner(), part("type", text, "type.name"), part("assignee_id", number, "assignee.id"), part("assignee_type", text, "assignee.type"), txt("interval"),
		part("start_date", date, "duration.start"), part("end_date", date, "duration.end"), part("target", decimal, "expected_outcome.target"), flags("is_active")),
	"lead": slices.Concat(txt("title"), owner(), ref("creator_id", "user"), ref("person_id", "person"), ref("org_id", "organization"), part("amount", decimal, "value.amount"),
		part("currency", text, "value.currency"), dates("expected_close_date"), txt("source_name", "origin"), lists("label_ids"), flags("is_archived", "was_seen"), num("next_activity_id")),
	"note": slices.Concat(txt("content"), ref("user_id", "user"), ref("deal_id", "deal"), ref("lead_id", "lead"), ref("person_id", "person"), ref("org_id", "organization"),
		ref("project_id", "project"), flags("pinned_to_deal_flag", "pinned_to_person_flag", "pinned_to_organization_flag")),
	"organization": slices.Concat(status("name"), owner(), part("address", text, "address.value"), part("country", text, "address.country"), part("locality", text, "address.locality"), txt("website"),
		lists("label_ids"), num("industry", "employee_count"), dec("annual_revenue")),
	"person": slices.Concat(status("name"), txt("first_name", "last_name"), owner(), ref("org_id", "organization"), indexed(part("email", text, "emails.value")), part("phone", text, "phones.value"),
		lists("emails", "phones", "label_ids"), txt("job_title")),
	"phase":    slices.Concat(txt("name"), ref("board_id", "board"), num("order_nr")),
	"pipeline": slices.Concat(txt("name"), num("order_nr"), flags("is_deal_probability_enabled")),
	"product": slices.Concat(status("name", "code"), txt("description", "unit", "category"), dec("tax"), owner(), flags("is_linkable"), part("price", decimal, "prices.price"),
		part("currency", text, "prices.currency"), lists("prices")),
	"project": slices.Concat(txt("title"), status("status"), txt("description"), owner(), ref("board_id", "board"), ref("phase_id", "phase"), refs("deal_ids", "deal"), refs("person_ids", "person"),
		refs("org_ids", "organization"), dates("start_date", "end_date"), times("status_change_time", "archive_time"), lists("label_ids")),
	"stage": slices.Concat(txt("name"), ref("pipeline_id", "pipeline"), num("order_nr"), dec("deal_probability"), flags("is_deal_rot_enabled"), num("days_to_rotten")),
	"task": slices.Concat(txt("title"), ref("project_id", "project"), ref("parent_task_id", "task"), ref("creator_id", "user"), lists("assignee_ids"), flags("is_done", "is_milestone"),
		indexed(dates("due_date")), dates("start_date"), times("marked_as_done_time"), num("priority"), txt("description")),
	"user": slices.Concat(txt("name"), status("email"), txt("phone"), flags("active_flag", "is_admin"), num("role_id"), txt("default_currency", "locale", "lang", "timezone_name"), times("last_login")),
}

// tables are those of all objects, by the object's name; tableNames are in the order of shape.Objects.
var tables = func() map[string]*table {
	all := map[string]*table{}
	for _, o := range shape.Objects() {
		all[o.Name] = &table{object: o.Name, name: tableName(o.Name), id: idKind(o.Name), columns: columnsOf[o.Name]}
	}
	return all
}()

func tableName(object string) string {
	if object == "activity" {
		return "pipedrive_activities"
	}
	return "pipedrive_" + object + "s"
}

// common are the columns that every table ends with. They are not of the record but about it.
var common = []column{
	{name: "add_time", kind: moment},                 // when it was added, at Pipedrive
	{name: "update_time", kind: moment, index: true}, // and last changed, or added
	{name: "data", kind: list},                       // the whole record
	{name: "event_at", kind: moment},                 // of what last changed it, to the millisecond
	{name: "learned_from", kind: text},               // webhook, reconcile or sync
	{name: "event_id", kind: text},                   // pipehook's; empty for sync
	{name: "seen_at", kind: moment},                  // when it was last known not to be deleted
	{name: "deleted_at", kind: moment},               // NULL while it is not
	{name: "merged_into", kind: text},                // the id of the record that it became part of
	{name: "stored_at", kind: moment},                // when pipehook first wrote the row
	{name: "changed_at", kind: moment},               // and last changed it
}
