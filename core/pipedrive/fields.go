package pipedrive

import (
	"cmp"
	"context"
	"encoding/json"
	"strconv"

	"github.com/pipehook/pipehook/core/pipedrive/shape"
)

// definitions are the lists of fields. Those of version 2 name them otherwise than those of version 1.
var definitions = [...]struct {
	object, path string
	paging       shape.Paging
}{
	{"deal", "/api/v2/dealFields", shape.Cursor},
	{"person", "/api/v2/personFields", shape.Cursor},
	{"organization", "/api/v2/organizationFields", shape.Cursor},
	{"product", "/api/v2/productFields", shape.Cursor},
	{"activity", "/api/v2/activityFields", shape.Cursor},
	{"project", "/api/v2/projectFields", shape.Cursor},
	{"lead", "/api/v1/leadFields", shape.Offset},
	{"note", "/api/v1/noteFields", shape.Offset},
}

// Fields asks for the definitions of all objects' fields; urgent when somebody waits for them. Objects that the
// company or the credentials do not have are left out, unless it is all of them.
func (c *Client) Fields(ctx context.Context, urgent bool) (*shape.Fields, error) {
	byObject := map[string][]shape.Field{}
	var missing error
	for _, d := range definitions {
		list, err := c.fieldsOf(ctx, d.path, d.paging, urgent)
		if err != nil {
			switch reasonOf(err) {
			case Forbidden, NotFound, Gone, FeatureOff, Closed:
				c.log.Debug("the account has no definitions of these fields", "object", d.object, "err", err)
				missing = cmp.Or(missing, err) // the others say the same
				continue
			}
			return nil, err
		}
		byObject[d.object] = list
	}
	if len(byObject) == 0 {
		return nil, missing
	}
	company := c.company(ctx)
	if company == "" {
		if me, err := c.Me(ctx); err == nil { // it only names the file's account
			company = me.CompanyDomain
		}
	}
	return shape.NewFields(company, byObject), nil
}

func (c *Client) fieldsOf(ctx context.Context, path string, paging shape.Paging, urgent bool) ([]shape.Field, error) {
	list := []shape.Field{}
	for p, err := range c.Pages(ctx, List{Op: "list the fields", Path: path, Paging: paging, Limit: 500, Urgent: urgent}) {
		if err != nil {
			return nil, err
		}
		for _, item := range p.Items {
			f, ok := readField(item)
			if !ok {
				return nil, &Error{Op: "list the fields", Method: "GET", Path: path, Reason: Garbled, Msg: "this is no field"}
			}
			list = append(list, f)
		}
	}
	return list, nil
}

// readField reads a definition of either version. Options of fields that are not custom may have ids that
// are no numbers; those have no place in a record's custom fields and are left out.
func readField(data json.RawMessage) (shape.Field, bool) {
	var f struct {
		Code    string `json:"field_code"`
		Key     string `json:"key"`
		Label   string `json:"field_name"`
		Name    string `json:"name"`
		Type    string `json:"field_type"`
		Custom  loose  `json:"is_custom_field"`
		Edit    loose  `json:"edit_flag"` // version 1: true of custom fields
		Options []struct {
			ID    loose `json:"id"`
			Label loose `json:"label"`
		} `json:"options"`
	}
	if json.Unmarshal(data, &f) != nil || f.Code == "" && f.Key == "" {
		return shape.Field{}, false
	}
	field := shape.Field{Key: f.Code, Label: f.Label, Type: f.Type, Custom: f.Custom.bool() || f.Edit.bool() && hash(f.Key)}
	if f.Code == "" {
		field.Key, field.Label = f.Key, f.Name
	}
	for _, o := range f.Options {
		if id, err := strconv.ParseInt(string(o.ID), 10, 64); err == nil {
			field.Options = append(field.Options, shape.Option{ID: id, Label: string(o.Label)})
		}
	}
	return field, true
}

// hash reports whether a key is one of a custom field: other fields can be edited too.
func hash(key string) bool {
	if len(key) != 40 {
		return false
	}
	for _, r := range key {
		if (r < '0' || r > '9') && (r < 'a' || r > 'f') {
			return false
		}
	}
	return true
}

// company is the name before .pipedrive.com, as far as it is known; nobody is asked for it.
func (c *Client) company(ctx context.Context) string {
	base := c.base
	if l, ok := c.auth.(located); ok && base == "" {
		t, _ := l.Tokens(ctx)
		base = t.APIDomain
	}
	return companyOf(base)
}
