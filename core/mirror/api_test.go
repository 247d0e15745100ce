package mirror_test

import (
	"cmp"
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pipehook/pipehook/core/mirror"
	"github.com/pipehook/pipehook/core/pipedrive"
	"github.com/pipehook/pipehook/core/pipedrive/shape"
)

// account is an API in memory: lists sorted and cut as asked for.
type account struct {
	mu      sync.Mutex
	objects map[string]map[string]map[string]any // path, id
	calls   int
	limit   int                                            // records on a page; as many as asked for when 0
	fail    func(list pipedrive.List, from int) error      // before a page; may be nil
	between func(list pipedrive.List, page pipedrive.Page) // after a page; may be nil
}

func newAccount() *account { return &account{objects: map[string]map[string]map[string]any{}} }

func pathOf(object string) string {
	o, _ := shape.Find(object)
	return o.Path
}

// put sets a record as of a time.
func (a *account) put(object, id string, updated time.Time, values map[string]any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := a.objects[pathOf(object)]
	if all == nil {
		all = map[string]map[string]any{}
		a.objects[pathOf(object)] = all
	}
	r := all[id]
	if r == nil {
		r = map[string]any{"id": json.Number(id), "add_time": updated.Format(time.RFC3339)}
		all[id] = r
	}
	r["update_time"] = updated.Format(time.RFC3339)
	for key, v := range values {
		r[key] = v
	}
}

func (a *account) remove(object, id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.objects[pathOf(object)], id)
}

// archive puts a record where only the list of the archived ones has it.
func (a *account) archive(object, id string, at time.Time) {
	a.put(object, id, at, map[string]any{"is_archived": true})
}

func (a *account) listed(l pipedrive.List) []map[string]any {
	way, archived := strings.CutSuffix(l.Path, "/archived")
	since, ids := l.Query.Get("updated_since"), l.Query.Get("ids")
	status, deals := l.Query.Get("status"), l.Query.Get("deal_ids")
	var all []map[string]any
	for id, r := range a.objects[way] {
		updated := changed(r)
		gone := r["status"] == "deleted"
		switch {
		case archived != (r["is_archived"] == true), since != "" && updated < since, ids != "" && !slices.Contains(strings.Split(ids, ","), id),
			gone && !strings.Contains(status, "deleted"),
			deals != "" && !slices.Contains(strings.Split(deals, ","), string(r["deal_id"].(json.Number))):
			continue
		}
		all = append(all, r)
	}
	slices.SortFunc(all, func(x, y map[string]any) int {
		byID := compareNumbers(x["id"], y["id"])
		if l.Query.Get("sort_by") == "update_time" {
			return cmp.Or(cmp.Compare(changed(x), changed(y)), byID)
		}
		return byID
	})
	return all
}

// changed is when a record was edited, or else added.
func changed(r map[string]any) string {
	if updated, _ := r["update_time"].(string); updated != "" {
		return updated
	}
	return r["add_time"].(string)
}

func compareNumbers(a, b any) int {
	x, _ := a.(json.Number).Int64()
	y, _ := b.(json.Number).Int64()
	return cmp.Compare(x, y)
}

func (a *account) page(l pipedrive.List, from int) (pipedrive.Page, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls++
	if a.fail != nil {
		if err := a.fail(l, from); err != nil {
			return pipedrive.Page{}, err
		}
	}
	all := a.listed(l)
	n := l.Limit
	if a.limit > 0 {
		n = a.limit
	}
	if l.Paging == shape.Whole {
		n = len(all)
	}
	var p pipedrive.Page
	for _, r := range all[min(from, len(all)):min(from+n, len(all))] {
		text, _ := json.Marshal(r)
		p.Items = append(p.Items, text)
	}
	if from+n < len(all) {
		p.Next = strconv.Itoa(from + n)
	}
	return p, nil
}

func (a *account) Pages(ctx context.Context, l pipedrive.List) iter.Seq2[pipedrive.Page, error] {
	return func(yield func(pipedrive.Page, error) bool) {
		from, _ := strconv.Atoi(l.From)
		for {
			p, err := a.page(l, from)
			if err == nil && a.between != nil {
				a.between(l, p)
			}
			if ctx.Err() != nil {
				err = &pipedrive.Error{Reason: pipedrive.Canceled, Err: ctx.Err()}
			}
			if !yield(p, err) || err != nil || p.Next == "" {
				return
			}
			from, _ = strconv.Atoi(p.Next)
		}
	}
}

func (a *account) Do(_ context.Context, req pipedrive.Request) (*pipedrive.Response, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls++
	r := a.objects[path.Dir(req.Path)][path.Base(req.Path)]
	if r == nil {
		return nil, &pipedrive.Error{Method: http.MethodGet, Path: req.Path, Status: http.StatusNotFound, Reason: pipedrive.NotFound}
	}
	text, err := json.Marshal(r)
	return &pipedrive.Response{Status: http.StatusOK, Data: text}, err
}

var _ mirror.API = (*account)(nil)

func jsonNumber(text string) json.Number { return json.Number(text) }
