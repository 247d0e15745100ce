package simulate

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/pipehook/pipehook/core/pipedrive/shape"
)

// endpoint is a list of the API, and the records below it.
type endpoint struct {
	object       string
	version      int
	since, until bool
	sorts        []string
	page, most   int // records on a page, and how many there may be; 0 for all at once
	list, one    int64
	create       int64 // tokens
	change       int64
	remove       int64
	needs        string // a parameter that must be given
}

var (
	usual   = []string{"id", "update_time", "add_time"}
	noSorts = []string{"id"}
)

// The endpoints, their parameters and costs as the OpenAPI files of August 2026 have them.
var endpoints = map[string]endpoint{
	"2/deals":         {"deal", 2, true, true, usual, 100, 500, 10, 1, 5, 5, 3, ""},
	"2/persons":       {"person", 2, true, true, usual, 100, 500, 10, 1, 5, 5, 3, ""},
	"2/organizations": {"organization", 2, true, true, usual, 100, 500, 10, 1, 5, 5, 3, ""},
	"2/activities":    {"activity", 2, true, true, append(usual[:3:3], "due_date"), 100, 500, 10, 1, 5, 5, 3, ""},
	"2/products":      {"product", 2, true, false, append(usual[:3:3], "name"), 100, 500, 10, 1, 5, 5, 3, ""},
	"2/pipelines":     {"pipeline", 2, false, false, usual, 100, 500, 5, 1, 5, 5, 3, ""},
	"2/stages":        {"stage", 2, false, false, append(usual[:3:3], "order_nr"), 100, 500, 5, 1, 5, 5, 3, ""},
	"2/projects":      {"project", 2, false, false, noSorts, 100, 500, 10, 1, 5, 5, 3, ""},
	"2/tasks":         {"task", 2, false, false, noSorts, 100, 500, 10, 1, 5, 5, 3, ""},
	"2/boards":        {"board", 2, false, false, noSorts, 0, 0, 10, 10, 5, 5, 3, ""},
	"2/phases":        {"phase", 2, false, false, noSorts, 0, 0, 10, 10, 5, 5, 3, "board_id"},

	"1/users":         {"user", 1, false, false, noSorts, 0, 0, 20, 2, 10, 10, 6, ""},
	"1/notes":         {"note", 1, true, false, append(usual[:3:3], "content"), 100, 500, 20, 2, 10, 10, 6, ""},
	"1/leads":         {"lead", 1, true, false, append(usual[:3:3], "title"), 100, 500, 20, 2, 10, 10, 6, ""},
	"1/files":         {"file", 1, false, false, usual, 100, 100, 20, 2, 10, 10, 6, ""},
	"1/deals":         {"deal", 1, false, false, usual, 100, 500, 20, 2, 10, 10, 6, ""},
	"1/persons":       {"person", 1, false, false, usual, 100, 500, 20, 2, 10, 10, 6, ""},
	"1/organizations": {"organization", 1, false, false, usual, 100, 500, 20, 2, 10, 10, 6, ""},
}

// call is a request to the API, taken apart.
type call struct {
	*http.Request
	s       *Server
	version int
	path    []string // below the version
	by      who
	cost    int64
	do      func() *reply
}

// serveAPI answers a request to the API.
func (s *Server) serveAPI(w http.ResponseWriter, r *http.Request) {
	c := &call{Request: r, s: s}
	version, rest := apiPath(r.URL.Path)
	c.version, c.path = version, strings.Split(strings.Trim(rest, "/"), "/")
	if s.wait(r.Context(), s.o.Latency) != nil {
		return
	}
	fault := s.faults.take(r.Method, r.URL.Path)
	if a := s.faultBefore(r.Context(), fault); a != nil {
		s.send(w, a)
		return
	}
	by, known := s.authenticate(r)
	if !known {
		s.send(w, unauthorized())
		return
	}
	c.by = by
	c.route()
	if a := s.limits.admit(by, r.Method, c.cost, w.Header()); a != nil {
		s.send(w, a)
		return
	}
	if fault.repeats() {
		c.repeat()
	}
	if fault.cuts() {
		w = cutter{w}
	}
	a := c.do()
	if a.serve != nil {
		a.serve.ServeHTTP(w, r)
		return
	}
	s.send(w, a)
}

// apiPath tells the API's version from a path: /api/v1 and /v1, or /api/v2.
func apiPath(path string) (version int, rest string) {
	for _, prefix := range []struct {
		text    string
		version int
	}{{"/api/v1/", 1}, {"/v1/", 1}, {"/api/v2/", 2}} {
		if rest, is := strings.CutPrefix(path, prefix.text); is {
			return prefix.version, rest
		}
	}
	return 0, ""
}

// route finds out what a request is for and what it costs.
func (c *call) route() {
	c.cost, c.do = 1, func() *reply { return failed(http.StatusNotFound, "Unknown method .", "") }
	if c.special() {
		return
	}
	e, there := endpoints[string(rune('0'+c.version))+"/"+c.path[0]]
	switch {
	case !there:
	case len(c.path) == 1 && c.Method == http.MethodGet:
		c.does(e.list, func() *reply { return c.list(e, nil) })
	case len(c.path) == 1 && c.Method == http.MethodPost:
		c.does(e.create, func() *reply { return c.create(e, nil) })
	case len(c.path) == 2:
		c.routeOne(e, c.path[1])
	case len(c.path) == 3 && c.path[2] == "merge" && c.Method == http.MethodPut && c.version == 1:
		c.does(40, func() *reply { return c.merge(e, c.path[1]) })
	}
}

func (c *call) does(cost int64, f func() *reply) { c.cost, c.do = cost, f }

func (c *call) routeOne(e endpoint, id string) {
	switch c.Method {
	case http.MethodGet:
		c.does(e.one, func() *reply { return c.one(e, id) })
	case http.MethodPatch, http.MethodPut:
		c.does(e.change, func() *reply { return c.change(e, id) })
	case http.MethodDelete:
		c.does(e.remove, func() *reply { return c.remove(e, id) })
	}
}

// special are the paths that are not a list and the records below it.
func (c *call) special() bool {
	get := c.Method == http.MethodGet
	p := c.path
	switch path := strings.Join(p, "/"); {
	case c.version == 1 && p[0] == "webhooks":
		cost := int64(10)
		if c.Method == http.MethodDelete {
			cost = 6
		}
		c.does(cost, func() *reply { return &reply{serve: c.s.hooks} })
	case strings.HasSuffix(p[0], "Fields"):
		return c.routeFields()
	case c.version == 2 && path == "deals/archived" && get:
		c.does(20, func() *reply { return c.list(endpoints["2/deals"], archived) })
	case c.version == 2 && path == "projects/archived" && get:
		c.does(20, func() *reply {
			return c.list(endpoints["2/projects"], func(r Record) bool { return r["archive_time"] != nil })
		})
	case c.version == 2 && p[0] == "deals" && len(p) > 1 && (p[1] == "products" || p[1] == "installments"),
		c.version == 2 && p[0] == "deals" && len(p) > 2 && (p[2] == "products" || p[2] == "installments"):
		return c.routeBelowDeals()
	case c.version == 1 && path == "users/me" && get:
		c.does(2, c.me)
	case c.version == 1 && path == "leads/archived" && get:
		c.does(40, func() *reply { return c.list(endpoints["1/leads"], archived) })
	case c.version == 1 && path == "goals/find" && get:
		c.does(20, func() *reply { return ok(map[string]any{"goals": nonNil(c.s.crm.List("goal"))}) })
	case c.version == 1 && path == "recents" && get:
		c.does(20, c.recents)
	case c.version == 1 && path == "filters" && get:
		c.does(20, func() *reply { return ok([]any{}) })
	default:
		return false
	}
	return true
}

func archived(r Record) bool { return r["is_archived"] == true }

func nonNil(list []Record) []Record {
	if list == nil {
		return []Record{}
	}
	return list
}

// me is the user whose token it is.
func (c *call) me() *reply {
	rec, _ := c.s.crm.Get("user", idText(c.by.userID))
	me := view1("user", rec, c.s.crm)
	for name, value := range map[string]any{
		"company_id": c.s.o.CompanyID, "company_name": c.s.o.Company, "company_domain": c.s.o.Company,
		"company_country": "EE", "company_industry": nil, "is_you": true,
		"language": map[string]any{"language_code": "en", "country_code": "US"},
	} {
		me[name] = value
	}
	return ok(me)
}

// one is a record by id.
func (c *call) one(e endpoint, id string) *reply {
	rec, there := c.s.crm.Get(e.object, id)
	if !there {
		return c.missing(e.object)
	}
	// A guess: a deleted record can be read by its id until it is purged.
	return ok(c.view(e, rec))
}

// view is a record as the request's version shows it.
func (c *call) view(e endpoint, rec Record) Record {
	if e.version == 1 {
		return view1(e.object, rec, c.s.crm)
	}
	return view2(e.object, rec, c.words("include_fields"), c.words("custom_fields"))
}

// words are a parameter's values, which stand there with commas or several times.
func (c *call) words(name string) []string {
	var words []string
	for _, text := range append(c.URL.Query()[name], c.URL.Query()[name+"[]"]...) {
		for word := range strings.SplitSeq(text, ",") {
			if word = strings.TrimSpace(word); word != "" {
				words = append(words, word)
			}
		}
	}
	return words
}

// create makes a record of the request's body and what the path says.
func (c *call) create(e endpoint, given Record) *reply {
	values, err := c.values(e)
	if err != nil {
		return c.problem(e.object, err)
	}
	for name, value := range given {
		values[name] = value
	}
	rec, err := c.s.crm.Create(e.object, values, c.author())
	if err != nil {
		return c.problem(e.object, err)
	}
	a := ok(c.view(e, rec))
	if e.version == 1 || slices.Contains([]string{"product", "deal_product", "project", "task"}, e.object) {
		a.status = http.StatusCreated
	}
	return a
}

func (c *call) change(e endpoint, id string) *reply {
	values, err := c.values(e)
	if err != nil {
		return c.problem(e.object, err)
	}
	rec, err := c.s.crm.Update(e.object, id, values, c.author())
	if err != nil {
		return c.problem(e.object, err)
	}
	return ok(c.view(e, rec))
}

func (c *call) remove(e endpoint, id string) *reply {
	rec, there := c.s.crm.Get(e.object, id)
	if !there {
		return c.missing(e.object)
	}
	if err := c.s.crm.Delete(e.object, id, c.author()); err != nil {
		return c.problem(e.object, err)
	}
	if e.object == "note" {
		return ok(true)
	}
	return ok(map[string]any{"id": rec["id"]})
}

func (c *call) merge(e endpoint, id string) *reply {
	var body struct {
		With int64 `json:"merge_with_id"`
	}
	if err := json.NewDecoder(c.Body).Decode(&body); err != nil || body.With == 0 {
		return c.problem(e.object, invalidf("merge_with_id: required"))
	}
	// The record that merge_with_id names is the one that stays.
	rec, err := c.s.crm.Merge(e.object, id, idText(body.With), c.author())
	if err != nil {
		return c.problem(e.object, err)
	}
	view := view1(e.object, rec, c.s.crm)
	view["merge_what_id"] = plain(json.Number(id))
	return ok(view)
}

func (c *call) author() By { return By{UserID: c.by.userID, Source: "api"} }

// values are those of the request's body.
func (c *call) values(e endpoint) (Record, error) {
	dec := json.NewDecoder(io.LimitReader(c.Body, 1<<20))
	dec.UseNumber()
	var body map[string]any
	if err := dec.Decode(&body); err != nil {
		return nil, invalidf("the body is not a JSON object")
	}
	if e.version == 1 {
		body = fromVersion1(e.object, body, c.s.crm.Fields(e.object))
	}
	s := schemas[e.object]
	for name := range body {
		k := s.byName[name]
		if k == nil {
			return nil, invalidf("%s: is not allowed", name)
		}
		if k.fixed {
			return nil, invalidf("%s: can't be written", name)
		}
	}
	return body, nil
}

// problem is the answer to an error of the CRM.
func (c *call) problem(object string, err error) *reply {
	if errors.Is(err, ErrNotFound) {
		return c.missing(object)
	}
	a := failed(http.StatusBadRequest, "Validation failed: "+err.Error(), "Please check developers.pipedrive.com")
	if c.version == 2 {
		a.body.(map[string]any)["code"] = "ERR_SCHEMA_VALIDATION_FAILED"
	}
	return a
}

func (c *call) missing(object string) *reply {
	name := strings.ToUpper(object[:1]) + strings.ReplaceAll(object[1:], "_", " ")
	a := failed(http.StatusNotFound, name+" not found", "Please check developers.pipedrive.com")
	if c.version == 2 {
		a.body.(map[string]any)["code"] = "ERR_NOT_FOUND"
	}
	return a
}

// routeBelowDeals is for the products and installments of deals.
func (c *call) routeBelowDeals() bool {
	at := 1
	if c.path[1] != "products" && c.path[1] != "installments" {
		at = 2
	}
	e := endpoint{"deal_product", 2, false, false, []string{"id", "deal_id", "add_time", "update_time", "order_nr"}, 100, 500, 10, 1, 5, 5, 3, ""}
	if c.path[at] == "installments" {
		e.object, e.sorts = "deal_installment", []string{"id", "deal_id", "billing_date"}
	}
	switch deal := c.path[1]; {
	case at == 1 && len(c.path) == 2 && c.Method == http.MethodGet:
		e.needs = "deal_ids"
		c.does(e.list, func() *reply { return c.list(e, nil) })
	case at == 2 && len(c.path) == 3 && c.Method == http.MethodGet:
		c.does(e.list, func() *reply {
			return c.list(e, func(r Record) bool { return idText(r["deal_id"]) == deal })
		})
	case at == 2 && len(c.path) == 3 && c.Method == http.MethodPost:
		c.does(e.create, func() *reply { return c.create(e, Record{"deal_id": json.Number(deal)}) })
	case at == 2 && len(c.path) == 4:
		c.routeOne(e, c.path[3])
	}
	return true
}

// objectOf is the object whose fields a path such as dealFields is about.
func objectOf(path string) string {
	object := strings.TrimSuffix(path, "Fields")
	if _, there := shape.Find(object); !there {
		return ""
	}
	return object
}
