package pipedrive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"iter"
	"maps"
	"net/http"
	"net/url"
	"strconv"

	"github.com/pipehook/pipehook/core/pipedrive/shape"
)

// mostEmpty is how many empty pages in a row may have one after them.
const mostEmpty = 100

// List is a list to read.
type List struct {
	Op     string // what it is for, for errors
	Path   string
	Query  url.Values
	Paging shape.Paging
	Limit  int    // records on a page; 0 for as many as Pipedrive thinks
	From   string // a Page's Next, to go on there
	Cost   int    // tokens of a page; 0 for what the path costs
	Urgent bool   // somebody waits for it; otherwise it lets all other calls go first
}

// Page is a part of a list.
type Page struct {
	Items      []json.RawMessage
	Next       string          // where to go on; "" at the end
	Additional json.RawMessage // additional_data
}

// Pages reads a list to its end. A page may be empty and not the last. An error is the last thing it gives;
// the Next beside it is where to go on. A list that gives a page twice ends with the Reason Repeated; all of it is of
// one company, see Steady.
func (c *Client) Pages(ctx context.Context, l List) iter.Seq2[Page, error] {
	return func(yield func(Page, error) bool) {
		c := c.Steady()
		at, empty := l.From, 0
		seen := map[string]bool{at: true}
		bodies := map[[sha256.Size]byte]bool{}
		for {
			p, err := c.page(ctx, l, at)
			if err == nil && p.Next != "" && seen[p.Next] {
				err = &Error{Op: l.Op, Method: http.MethodGet, Path: l.Path, Reason: Repeated}
			}
			if err == nil && len(p.Items) > 0 {
				sum := sha256.Sum256(bytes.Join(raws(p.Items), nil))
				if bodies[sum] {
					err = &Error{Op: l.Op, Method: http.MethodGet, Path: l.Path, Reason: Repeated}
				}
				bodies[sum] = true
				empty = 0
			} else if empty++; err == nil && empty > mostEmpty {
				err = &Error{Op: l.Op, Method: http.MethodGet, Path: l.Path, Reason: Repeated, Msg: "and all of them are empty"}
			}
			if err != nil {
				yield(Page{Next: at}, err)
				return
			}
			if !yield(p, nil) || p.Next == "" {
				return
			}
			at = p.Next
			seen[at] = true
		}
	}
}

func raws(items []json.RawMessage) [][]byte {
	all := make([][]byte, len(items))
	for i, item := range items {
		all[i] = item
	}
	return all
}

func (c *Client) page(ctx context.Context, l List, at string) (Page, error) {
	query := maps.Clone(l.Query)
	if query == nil {
		query = url.Values{}
	}
	if l.Paging != shape.Whole && l.Limit > 0 {
		query.Set("limit", strconv.Itoa(l.Limit))
	}
	start := 0
	if at != "" {
		switch l.Paging {
		case shape.Cursor:
			query.Set("cursor", at)
		case shape.Offset:
			var err error
			if start, err = strconv.Atoi(at); err != nil || start < 0 {
				return Page{}, &Error{Op: l.Op, Method: http.MethodGet, Path: l.Path, Reason: Invalid, Msg: "the place to go on is no number: begin from the start"}
			}
			query.Set("start", at)
		}
	}
	r, err := c.Do(ctx, Request{Op: l.Op, Path: l.Path, Query: query, Cost: l.Cost, Background: !l.Urgent})
	if err != nil {
		return Page{}, err
	}
	p := Page{Additional: r.Additional}
	var ok bool
	if p.Items, ok = items(r.Data); ok {
		p.Next, ok = next(l.Paging, r.Additional, start, len(p.Items))
	}
	if !ok {
		return Page{}, &Error{Op: l.Op, Method: http.MethodGet, Path: l.Path, Status: r.Status, Reason: Garbled, Msg: "this is no list"}
	}
	return p, nil
}

// items are the records of a page: a list, an object whose only member is one (goals), or nothing.
func items(data json.RawMessage) ([]json.RawMessage, bool) {
	var list []json.RawMessage
	if len(data) == 0 || json.Unmarshal(data, &list) == nil {
		return list, true
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(data, &object) != nil || len(object) != 1 {
		return nil, false
	}
	for _, member := range object {
		if json.Unmarshal(member, &list) != nil {
			return nil, false
		}
	}
	return list, true
}

// next is where a list goes on. additional_data may be missing or null, which is the end.
func next(paging shape.Paging, additional json.RawMessage, start, count int) (string, bool) {
	if len(additional) == 0 || paging == shape.Whole {
		return "", true
	}
	var a struct {
		NextCursor *string `json:"next_cursor"`
		Pagination *struct {
			More bool `json:"more_items_in_collection"`
			Next *int `json:"next_start"`
		} `json:"pagination"`
	}
	if json.Unmarshal(additional, &a) != nil {
		return "", false
	}
	switch {
	case paging == shape.Cursor && a.NextCursor != nil:
		return *a.NextCursor, true
	case paging == shape.Offset && a.Pagination != nil && a.Pagination.More:
		if a.Pagination.Next != nil {
			return strconv.Itoa(*a.Pagination.Next), true
		}
		return strconv.Itoa(start + count), true
	default:
		return "", true
	}
}
