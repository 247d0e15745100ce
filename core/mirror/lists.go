package mirror

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"net/http"
	"net/url"
	"time"

	"github.com/tidwall/gjson"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/pipedrive"
	"github.com/pipehook/pipehook/core/pipedrive/shape"
)

// API is what is asked of Pipedrive. It is used from several goroutines at a time.
type API interface {
	Pages(ctx context.Context, list pipedrive.List) iter.Seq2[pipedrive.Page, error]
	Do(ctx context.Context, req pipedrive.Request) (*pipedrive.Response, error)
}

// mostIDs is how many records a list can be asked for by their ids, and how many parents a list of their children.
const mostIDs = 100

// byIDs are the objects whose lists take ids. Pipedrive leaves out without a word which of them it does not have, or
// does not show.
var byIDs = map[string]bool{"deal": true, "person": true, "organization": true, "product": true, "activity": true}

// unsorted are the objects whose lists take no order.
var unsorted = map[string]bool{"user": true, "board": true, "phase": true, "project": true, "task": true, "goal": true}

// archives are the objects whose archived records are in a list of their own.
var archives = map[string]bool{"deal": true, "lead": true, "project": true}

// listing says which of an object's records are listed.
type listing struct {
	object shape.Object
	since  time.Time // those that changed from then on; all when zero, or when Pipedrive offers no such list
	newest bool      // of files: the ones that changed last come first
	gone   bool      // with those that were deleted, where they can be listed
	old    bool      // the archived ones
	from   string    // where a list that was broken off goes on
	parent []string  // whose records they are
}

// ask is the listing as the API is asked for it. A list by offset is sorted by id: by time, a record that is changed
// while the list is read would move behind, and push another over the edge of a page that was read.
func (l listing) ask() pipedrive.List {
	o, query, path := l.object, url.Values{}, l.object.Path
	if l.old {
		path += "/archived"
	}
	if !l.since.IsZero() && o.Since && !(l.old && o.Name == "lead") {
		query.Set("updated_since", l.since.UTC().Truncate(time.Second).Format(time.RFC3339))
	}
	switch {
	case unsorted[o.Name]:
	case l.newest:
		query.Set("sort", "update_time DESC")
	case o.Paging == shape.Offset:
		query.Set("sort", "id ASC")
	default:
		query.Set("sort_by", "id")
		if query.Has("updated_since") {
			query.Set("sort_by", "update_time")
		}
		query.Set("sort_direction", "asc")
	}
	if more := onRequest(o); more != nil {
		query["include_fields"] = more
	}
	if l.gone && o.Name == "deal" {
		query.Set("status", "open,won,lost,deleted")
	}
	switch {
	case o.Parent == "deal":
		for _, id := range l.parent {
			query.Add("deal_ids", id)
		}
		query.Set("deal_ids", joined(query["deal_ids"]))
	case o.Parent != "":
		query.Set(o.Parent+"_id", joined(l.parent))
	}
	return pipedrive.List{Path: path, Query: query, Paging: o.Paging, Limit: o.Limit, From: l.from}
}

// onRequest is what webhooks carry of an object and its lists only have when they are asked for it by this name.
func onRequest(o shape.Object) []string {
	if o.Name == "deal" {
		return []string{"first_won_time"}
	}
	return nil
}

// perList is how many parents one list is for.
func perList(o shape.Object) int {
	if o.Parent == "deal" {
		return mostIDs
	}
	return 1
}

func joined(ids []string) string {
	out := make([]byte, 0, 8*len(ids))
	for i, id := range ids {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, id...)
	}
	return string(out)
}

// fetched is a page, and when it was asked for.
type fetched struct {
	pipedrive.Page
	asked time.Time
}

// ahead reads a list and has the next page fetched while the last one is worked on.
func (w *work) ahead(ctx context.Context, l listing) iter.Seq2[fetched, error] {
	type result struct {
		page fetched
		err  error
	}
	return func(yield func(fetched, error) bool) {
		reading, end := context.WithCancel(ctx)
		results := make(chan result)
		go func() { // owned here: its channel is read until it is closed
			defer close(results)
			asked, last := w.now(), l.from
			for page, err := range w.api.Pages(reading, l.ask()) {
				if err == nil && page.Next != "" && page.Next == last {
					err = &pipedrive.Error{Op: "list", Method: http.MethodGet, Path: l.object.Path, Reason: pipedrive.Repeated}
				}
				select {
				case results <- result{fetched{page, asked}, err}:
				case <-reading.Done():
					return
				}
				if err != nil {
					return
				}
				asked, last = w.now(), page.Next
			}
		}()
		defer func() {
			end()
			for range results {
			}
		}()
		for r := range results {
			if r.err == nil {
				w.calls.Add(1)
				r.page.Items, r.err = w.cleared(ctx, l.object, r.page.Items)
			}
			if !yield(r.page, r.err) || r.err != nil {
				return
			}
		}
	}
}

// cleared adds to leads the custom fields of which their rows have a value and the answer says nothing: they have none any more.
// Pipedrive leaves out those that have no value, of leads alone (its API reference of leads: "it won't appear in the response").
// One that the definitions lack was deleted, and says nothing of a lead: all that had it would differ.
func (w *work) cleared(ctx context.Context, o shape.Object, items []json.RawMessage) ([]json.RawMessage, error) {
	if o.Name != "lead" {
		return items, nil
	}
	ids := make([]string, len(items))
	for i, item := range items {
		ids[i] = gjson.GetBytes(item, "id").String()
	}
	rows, err := w.m.Rows(ctx, o.Name, ids)
	if err != nil {
		return nil, err
	}
	defined := len(w.fields.Of(o.Name)) > 0
	for i, id := range ids {
		had, _ := rows[id].Values[customFields].(map[string]any)
		var lead map[string]json.RawMessage
		if len(had) == 0 || json.Unmarshal(items[i], &lead) != nil { // what is no record is refused with all others
			continue
		}
		said := len(lead)
		for key, v := range had {
			_, there := lead[key]
			if _, is := w.fields.ByKey(o.Name, key); !there && v != nil && (is || !defined) {
				lead[key] = json.RawMessage("null")
			}
		}
		if len(lead) == said {
			continue
		}
		if items[i], err = json.Marshal(lead); err != nil {
			return nil, err
		}
	}
	return items, nil
}

// records brings a page into the normal form. Of two that are one record the later counts.
func (w *work) records(object string, items []json.RawMessage) ([]shape.Record, error) {
	at := make(map[string]int, len(items))
	all := make([]shape.Record, 0, len(items))
	for _, item := range items {
		r, err := shape.FromAPI(object, item, w.fields)
		if err != nil {
			return nil, err
		}
		if i, twice := at[r.ID]; twice {
			all[i] = r
			continue
		}
		at[r.ID] = len(all)
		all = append(all, r)
	}
	return all, nil
}

// one asks for a record by its id. It is not there when Pipedrive does not know it, or says that it is deleted.
func (w *work) one(ctx context.Context, o shape.Object, id string) (r shape.Record, there bool, err error) {
	w.calls.Add(1)
	query := url.Values{}
	if more := onRequest(o); more != nil {
		query["include_fields"] = more
	}
	resp, err := w.api.Do(ctx, pipedrive.Request{Method: http.MethodGet, Path: o.Path + "/" + url.PathEscape(id), Query: query})
	if e, ok := errors.AsType[*pipedrive.Error](err); ok && (e.Reason == pipedrive.NotFound || e.Reason == pipedrive.Gone) {
		return r, false, nil
	}
	if err != nil {
		return r, false, err
	}
	data := resp.Data
	if many := []json.RawMessage(nil); json.Unmarshal(data, &many) == nil && len(many) == 1 {
		data = many[0]
	}
	if len(data) == 0 || string(data) == "null" {
		return r, false, nil
	}
	items, err := w.cleared(ctx, o, []json.RawMessage{data})
	if err != nil {
		return r, false, err
	}
	if r, err = shape.FromAPI(o.Name, items[0], w.fields); err != nil {
		return r, false, err
	}
	return r, !r.Deleted, nil
}

// expired reports whether a list can't go on where it was broken off.
func expired(err error) bool {
	e, ok := errors.AsType[*pipedrive.Error](err)
	return ok && (e.Reason == pipedrive.Invalid || e.Reason == pipedrive.NotFound || e.Reason == pipedrive.Gone)
}

// absent reports whether the account does not have the object, or does not show it, by its features, its plan or the token's
// scopes. A closed account says the same of all objects.
func absent(err error) bool {
	e, ok := errors.AsType[*pipedrive.Error](err)
	return ok && (e.Reason == pipedrive.Forbidden || e.Reason == pipedrive.FeatureOff || e.Reason == pipedrive.Closed)
}

// hopeless reports whether the other objects would fail in the same way.
func hopeless(ctx context.Context, err error) bool {
	if ctx.Err() != nil {
		return true
	}
	e, ok := errors.AsType[*pipedrive.Error](err)
	if !ok {
		return core.KindOf(err) == core.Unavailable // our own tables, or the store
	}
	switch e.Reason {
	case pipedrive.Unauthorized, pipedrive.Disconnected, pipedrive.Blocked, pipedrive.DailySpent, pipedrive.Open, pipedrive.Switched:
		return true
	}
	return false
}
