// Package shape knows what Pipedrive's records look like: in a webhook of version 1 or 2, and in an answer
// of the API's version 1 or 2. It brings all of them into one normal form, and names custom fields as
// people do. It asks nobody for anything and keeps nothing.
//
// What is said here of Pipedrive is from its guides for webhooks, its migration guides and its published
// OpenAPI files of August 2026.
package shape

// Paging is how a list is read to its end.
type Paging uint8

// The ways of paging.
const (
	Whole  Paging = iota // in one answer
	Cursor               // additional_data.next_cursor goes back as cursor
	Offset               // additional_data.pagination says where to go on with start
)

// Object is a kind of record.
type Object struct {
	Name   string // as events and listeners name it
	Path   string // of its list in the API
	Paging Paging
	Limit  int    // records on a page, at most
	Tokens int    // what a page costs of the daily budget
	Since  bool   // the list can be asked for what changed since a time
	Hooks  bool   // Pipedrive sends webhooks for it
	Custom bool   // it has custom fields
	Merges bool   // two of them can be merged
	Parent string // a list is for so many of this object's ids, given as PARENT_ids (deal) or PARENT_id (board)
}

// Objects are all that pipehook keeps in step, in an order in which what others refer to comes first.
func Objects() []Object { return objects[:] }

// Find is the object of a name.
func Find(name string) (Object, bool) {
	for _, o := range objects {
		if o.Name == name {
			return o, true
		}
	}
	return Object{}, false
}

var objects = [...]Object{
	{Name: "user", Path: "/api/v1/users", Paging: Whole, Tokens: 20, Hooks: true},
	{Name: "pipeline", Path: "/api/v2/pipelines", Paging: Cursor, Limit: 500, Tokens: 5, Hooks: true},
	{Name: "stage", Path: "/api/v2/stages", Paging: Cursor, Limit: 500, Tokens: 5, Hooks: true},
	{Name: "organization", Path: "/api/v2/organizations", Paging: Cursor, Limit: 500, Tokens: 10, Since: true, Hooks: true, Custom: true, Merges: true},
	{Name: "person", Path: "/api/v2/persons", Paging: Cursor, Limit: 500, Tokens: 10, Since: true, Hooks: true, Custom: true, Merges: true},
	{Name: "product", Path: "/api/v2/products", Paging: Cursor, Limit: 500, Tokens: 10, Since: true, Hooks: true, Custom: true},
	{Name: "deal", Path: "/api/v2/deals", Paging: Cursor, Limit: 500, Tokens: 10, Since: true, Hooks: true, Custom: true, Merges: true},
	{Name: "deal_product", Path: "/api/v2/deals/products", Paging: Cursor, Limit: 500, Tokens: 10, Hooks: true, Parent: "deal"},
	{Name: "deal_installment", Path: "/api/v2/deals/installments", Paging: Cursor, Limit: 500, Tokens: 10, Hooks: true, Parent: "deal"},
	{Name: "lead", Path: "/api/v1/leads", Paging: Offset, Limit: 500, Tokens: 20, Since: true, Hooks: true, Custom: true},
	{Name: "activity", Path: "/api/v2/activities", Paging: Cursor, Limit: 500, Tokens: 10, Since: true, Hooks: true, Custom: true},
	{Name: "note", Path: "/api/v1/notes", Paging: Offset, Limit: 500, Tokens: 20, Since: true, Hooks: true},
	{Name: "board", Path: "/api/v2/boards", Paging: Whole, Tokens: 10, Hooks: true},
	{Name: "phase", Path: "/api/v2/phases", Paging: Whole, Tokens: 10, Hooks: true, Parent: "board"},
	{Name: "project", Path: "/api/v2/projects", Paging: Cursor, Limit: 500, Tokens: 10, Hooks: true, Custom: true},
	{Name: "task", Path: "/api/v2/tasks", Paging: Cursor, Limit: 500, Tokens: 10, Hooks: true},
	{Name: "file", Path: "/api/v1/files", Paging: Offset, Limit: 100, Tokens: 20},
	{Name: "goal", Path: "/api/v1/goals/find", Paging: Whole, Tokens: 20},
}
