package simulate

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// list answers with a page.
func (c *call) list(e endpoint, filter func(Record) bool) *reply {
	q, err := c.query(e, filter)
	if err != nil {
		return c.problem(e.object, err)
	}
	recs, next := c.s.crm.page(q)
	data := make([]Record, len(recs))
	for i, rec := range recs {
		data[i] = c.view(e, rec)
	}
	a := ok(data)
	body := a.body.(map[string]any)
	switch {
	case e.page == 0:
		body["additional_data"] = nil
	case e.version == 2:
		body["additional_data"] = map[string]any{"next_cursor": nil}
		if next != nil {
			body["additional_data"] = map[string]any{"next_cursor": next.String()}
		}
	default:
		paging := map[string]any{"start": q.start, "limit": q.limit, "more_items_in_collection": next != nil}
		if next != nil {
			paging["next_start"] = q.start + len(recs)
		}
		body["additional_data"] = map[string]any{"pagination": paging}
		if len(data) == 0 && e.object != "lead" {
			body["data"] = nil // version 1 has no empty lists, but of leads
		}
	}
	return a
}

// query is what the request's parameters ask for.
func (c *call) query(e endpoint, filter func(Record) bool) (query, error) {
	q := query{object: e.object, limit: e.page}
	params := c.URL.Query()
	if e.needs != "" && len(c.words(e.needs)) == 0 {
		return q, invalidf("%s: required", e.needs)
	}
	if err := c.pagePart(e, &q); err != nil {
		return q, err
	}
	var err error
	if e.since {
		if q.since, err = moment("updated_since", params.Get("updated_since")); err != nil {
			return q, err
		}
	}
	if e.until {
		if q.until, err = moment("updated_until", params.Get("updated_until")); err != nil {
			return q, err
		}
	}
	if ids := c.words("ids"); len(ids) > 0 {
		if len(ids) > 100 {
			return q, invalidf("ids: must be 100 at most")
		}
		q.ids = map[string]bool{}
		for _, id := range ids {
			q.ids[id] = true
		}
	}
	filters, err := c.filters(e)
	if err != nil {
		return q, err
	}
	if filter != nil {
		filters = append(filters, filter)
	} else if e.object == "deal" && e.version == 2 || e.object == "lead" {
		filters = append(filters, func(r Record) bool { return !archived(r) })
	}
	q.deleted = slices.Contains(c.words("status"), "deleted") && (e.object == "deal" || e.object == "project")
	q.filter = func(r Record) bool {
		for _, f := range filters {
			if !f(r) {
				return false
			}
		}
		return true
	}
	return q, nil
}

// pagePart reads where a page begins, how long it is and how it is sorted.
func (c *call) pagePart(e endpoint, q *query) error {
	params := c.URL.Query()
	if e.page == 0 {
		q.limit = 1 << 30
		return nil
	}
	if text := params.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > e.most && e.version == 2 {
			return invalidf("limit: must be from 1 to %d", e.most)
		}
		q.limit = min(n, e.most) // A guess: version 1 gives as many as it may
	}
	if text := params.Get("cursor"); text != "" && e.version == 2 {
		after, err := parseCursor(text)
		if err != nil {
			return err
		}
		q.after, q.sort = after, after.Sort
	}
	if text := params.Get("start"); text != "" && e.version == 1 {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return invalidf("start: must be a number from 0 on")
		}
		q.start = n
	}
	name, direction := params.Get("sort_by"), params.Get("sort_direction")
	if e.version == 1 {
		first, _, _ := strings.Cut(params.Get("sort"), ",") // the first key decides here
		name, direction, _ = strings.Cut(strings.TrimSpace(first), " ")
	}
	if name != "" && !slices.Contains(e.sorts, name) {
		return invalidf("sort_by: must be one of %s", strings.Join(e.sorts, ", "))
	}
	switch strings.ToLower(direction) {
	case "", "asc":
	case "desc":
		q.desc = true
	default:
		return invalidf("sort_direction: must be asc or desc")
	}
	if q.after == nil {
		q.sort = name
	} else if sortName(name) != sortName(q.after.Sort) {
		return invalidf("cursor: it is one of another order")
	}
	return nil
}

func sortName(name string) string {
	if name == "id" {
		return ""
	}
	return name
}

// moment is a time of a parameter. Fractions of seconds are refused, as callers of the API found.
func moment(name, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil || strings.Contains(text, ".") {
		return time.Time{}, invalidf("%s: %s is not a valid datetime", name, text)
	}
	return t, nil
}

// filters are the conditions that a record's values must meet.
func (c *call) filters(e endpoint) ([]func(Record) bool, error) {
	var filters []func(Record) bool
	if e.needs == "deal_ids" {
		ids := c.words("deal_ids")
		if len(ids) > 100 {
			return nil, invalidf("deal_ids: must be 100 at most")
		}
		filters = append(filters, func(r Record) bool { return slices.Contains(ids, idText(r["deal_id"])) })
	}
	for _, k := range schemas[e.object].keys {
		words := c.words(k.name)
		if len(words) == 0 || k.name == "custom_fields" || k.kind == aTime {
			continue
		}
		filters = append(filters, func(r Record) bool {
			switch v := r[k.name].(type) {
			case bool:
				return slices.Contains(words, strconv.FormatBool(v)) || slices.Contains(words, strconv.FormatInt(b2i(v), 10))
			case nil:
				return false
			default:
				return slices.Contains(words, idText(v))
			}
		})
	}
	return filters, nil
}

// recents are what changed since a time, of several objects.
func (c *call) recents() *reply {
	text := c.URL.Query().Get("since_timestamp")
	since, err := time.Parse(time.DateTime, text)
	if err != nil {
		return failed(http.StatusBadRequest, "since_timestamp: must be such as 2026-11-26 10:00:00", "")
	}
	if month := c.s.o.Now().Add(-purgeAfter); since.Before(month) {
		since = month // it reaches no further back, as a public client found
	}
	items := c.words("items")
	if len(items) == 0 {
		items = []string{"activity", "deal", "file", "note", "person", "organization", "pipeline", "product", "stage", "user"}
	}
	type recent struct {
		at   string
		item map[string]any
	}
	var all []recent
	for _, object := range items {
		if schemas[object] == nil {
			continue
		}
		recs, _ := c.s.crm.page(query{object: object, since: since, deleted: true, limit: 1 << 30})
		for _, rec := range recs {
			var data any = view1(object, rec, c.s.crm)
			if object == "user" {
				data = []any{data}
			}
			all = append(all, recent{updatedOf(rec, since).Format(time.DateTime), map[string]any{"item": object, "id": rec["id"], "data": data}})
		}
	}
	slices.SortStableFunc(all, func(a, b recent) int { return strings.Compare(a.at, b.at) })
	start, _ := strconv.Atoi(c.URL.Query().Get("start"))
	limit, _ := strconv.Atoi(c.URL.Query().Get("limit"))
	if limit < 1 || limit > 500 {
		limit = 100
	}
	start = min(max(start, 0), len(all))
	end := min(start+limit, len(all))
	data, last := []any{}, text
	for _, one := range all[start:end] {
		data, last = append(data, one.item), one.at
	}
	a := ok(data)
	a.body.(map[string]any)["additional_data"] = map[string]any{
		"since_timestamp": text, "last_timestamp_on_page": last,
		"pagination": map[string]any{"start": start, "limit": limit, "more_items_in_collection": end < len(all), "next_start": end},
	}
	return a
}
