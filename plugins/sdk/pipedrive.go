package sdk

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strconv"

	"github.com/pipehook/pipehook/core/effect"
)

// Pipedrive is the API of the account that pipehook is connected with. A path is whole, such as
// "/api/v2/deals/1". Answers are read into what into points to; nil passes them over. Numbers that go into an
// any become a json.Number, which keeps all digits. Calls wait for the account's budget, which scripts and
// plugins share. What fails is an *Error, whose Status is that of Pipedrive's answer, and whose Code is
// "EUNAUTHORIZED", "EFORBIDDEN", "ENOTFOUND", "EINVALID", "ERATELIMIT", "EDAILYSPENT", "EUNAVAILABLE", "ENOTCONNECTED" (no
// account) or one of the usual ones.
type Pipedrive struct{ host *Host }

// The limits of List.
const (
	pipedrivePage = 500    // records on a page, unless the query says another limit
	mostListed    = 10_000 // records
)

// Pipedrive asks the account. Its calls need the context of a listener's or a stage's call.
func (h *Host) Pipedrive() Pipedrive { return Pipedrive{host: h} }

// Get reads a record, or whatever the path answers.
func (p Pipedrive) Get(ctx context.Context, path string, query url.Values, into any) error {
	_, err := p.do(ctx, http.MethodGet, path, query, nil, into)
	return err
}

// Page reads one page of a list into a slice. next is where the next page begins, for the query's cursor, or
// its start where the path is of version 1; empty at the end.
func (p Pipedrive) Page(ctx context.Context, path string, query url.Values, into any) (next string, err error) {
	return p.do(ctx, http.MethodGet, path, query, nil, into)
}

// List reads all of a list into a slice, page by page. Of more than 10,000 records it reads none: go through
// them with Page.
func (p Pipedrive) List(ctx context.Context, path string, query url.Values, into any) error {
	asked := maps.Clone(query)
	if asked == nil {
		asked = url.Values{}
	}
	if !asked.Has("limit") {
		asked.Set("limit", strconv.Itoa(pipedrivePage))
	}
	goOn := "start"
	if (&effect.APICall{Path: path}).Version2() {
		goOn = "cursor"
	}
	all := []json.RawMessage{}
	for {
		var items []json.RawMessage
		next, err := p.do(ctx, http.MethodGet, path, asked, nil, &items)
		if err != nil {
			return err
		}
		if all = append(all, items...); len(all) > mostListed {
			return &Error{Code: "ELIMIT", Msg: fmt.Sprintf("%s has more than %d records: narrow the query, or use Page", path, mostListed)}
		}
		if next == "" {
			break
		}
		asked.Set(goOn, next)
	}
	text, err := json.Marshal(all)
	if err != nil {
		return err
	}
	return readAnswer(path, text, into)
}

// Post creates something.
func (p Pipedrive) Post(ctx context.Context, path string, body, into any) error {
	_, err := p.do(ctx, http.MethodPost, path, nil, body, into)
	return err
}

// Put changes something, as most of version 1 does it.
func (p Pipedrive) Put(ctx context.Context, path string, body, into any) error {
	_, err := p.do(ctx, http.MethodPut, path, nil, body, into)
	return err
}

// Patch changes something, as version 2 does it.
func (p Pipedrive) Patch(ctx context.Context, path string, body, into any) error {
	_, err := p.do(ctx, http.MethodPatch, path, nil, body, into)
	return err
}

// Delete deletes something.
func (p Pipedrive) Delete(ctx context.Context, path string) error {
	_, err := p.do(ctx, http.MethodDelete, path, nil, nil, nil)
	return err
}

func (p Pipedrive) do(ctx context.Context, method, path string, query url.Values, body, into any) (next string, err error) {
	if p.host.client == nil {
		return "", errNoHost
	}
	c := &effect.APICall{Method: method, Path: path, Query: query}
	if body != nil {
		if c.Body, err = json.Marshal(body); err != nil {
			return "", fmt.Errorf("pipedrive: %s %s: %w", method, path, err)
		}
	}
	if refused := c.Check(); refused != nil {
		return "", refused
	}
	a, err := p.host.client.Pipedrive(ctx, callOf(ctx).ID, c)
	if err != nil {
		return "", err
	}
	return a.Next, readAnswer(path, a.Data, into)
}

func readAnswer(path string, data []byte, into any) error {
	if into == nil || len(data) == 0 {
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if err := dec.Decode(into); err != nil {
		return fmt.Errorf("pipedrive: the answer of %s: %w", path, err)
	}
	return nil
}
