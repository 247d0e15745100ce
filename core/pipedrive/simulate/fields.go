package simulate

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/pipehook/pipehook/core/pipedrive/shape"
)

// standardFields are the custom fields that an account starts with: one of every type.
var standardFields = []struct {
	label, kind string
	options     []string
}{
	{"Contract number", "varchar", nil}, {"Background", "text", nil}, {"Campaign", "varchar_auto", nil},
	{"Seats", "double", nil}, {"Yearly fee", "monetary", nil}, {"Second contact", "people", nil},
	{"Partner", "org", nil}, {"Account manager", "user", nil}, {"Direct line", "phone", nil},
	{"Call at", "time", nil}, {"Reachable", "timerange", nil}, {"Contract end", "date", nil},
	{"Trial", "daterange", nil}, {"Site", "address", nil},
	{"Tier", "enum", []string{"Gold", "Silver", "Bronze"}},
	{"Interests", "set", []string{"Hardware", "Software", "Service", "Training"}},
}

// customObjects have custom fields of their own. A lead has those of the deal.
var customObjects = []string{"deal", "person", "organization", "product", "activity", "project"}

func (c *CRM) defineFields() {
	option := int64(0)
	for _, object := range customObjects {
		for _, f := range standardFields {
			field := shape.Field{Key: fieldKey(object, f.label), Label: f.label, Type: f.kind}
			for _, label := range f.options {
				option++
				field.Options = append(field.Options, shape.Option{ID: option, Label: label})
			}
			c.define(object, field)
		}
	}
}

// fieldKey is always the same for a field, so that what was written against one stand-in fits the next.
func fieldKey(object, label string) string {
	sum := sha1.Sum([]byte(object + "/" + label))
	return hex.EncodeToString(sum[:])
}

// AddField defines another custom field. A key is made when it has none.
func (c *CRM) AddField(object string, field shape.Field) (shape.Field, error) {
	if !slices.Contains(customObjects, object) {
		return shape.Field{}, invalidf("%s has no custom fields of its own", object)
	}
	if field.Key == "" {
		field.Key = fieldKey(object, field.Label)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, there := c.customKeys[object][field.Key]; there {
		return shape.Field{}, invalidf("the field %s is there already", field.Label)
	}
	c.define(object, field)
	return field, nil
}

func (c *CRM) define(object string, field shape.Field) {
	field.Custom = true
	if field.Name == "" {
		field.Name = strings.ReplaceAll(strings.ToLower(field.Label), " ", "_")
	}
	c.fields[object] = append(slices.Clip(c.fields[object]), field)
	if c.customKeys[object] == nil {
		c.customKeys[object] = map[string]shape.Field{}
	}
	c.customKeys[object][field.Key] = field
	none := map[string]any{}
	for key := range c.customKeys[object] {
		none[key] = nil
	}
	c.noCustom[object] = none
}

// fieldsOf is the object whose custom fields an object has.
func fieldsOf(object string) string {
	if object == "lead" {
		return "deal"
	}
	return object
}

// Fields are the definitions of an object's custom fields.
func (c *CRM) Fields(object string) []shape.Field {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.fields[fieldsOf(object)]
}

// withCustom is the custom fields with some of them set anew. What was there is left as it was.
func (c *CRM) withCustom(object string, old, values map[string]any) (map[string]any, error) {
	object = fieldsOf(object)
	all := make(map[string]any, len(c.noCustom[object]))
	for key := range c.noCustom[object] {
		all[key] = old[key]
	}
	for key, value := range values {
		field, there := c.customKeys[object][key]
		if !there {
			return nil, invalidf("custom_fields.%s: there is no such field", key)
		}
		value, err := checkCustom(field, plain(value))
		if err != nil {
			return nil, err
		}
		all[key] = value
	}
	return all, nil
}

// checkCustom brings a custom field's value into the form of the API's version 2.
func checkCustom(field shape.Field, value any) (any, error) {
	if value == nil {
		return nil, nil
	}
	wrong := func(what string) (any, error) { return nil, invalidf("custom_fields.%s: must be %s", field.Key, what) }
	switch field.Type {
	case "double":
		if _, is := value.(string); is {
			return wrong("a number")
		}
	case "enum", "user", "org", "people":
		id, is := value.(int64)
		if !is {
			return wrong("an id")
		}
		if field.Type == "enum" && !hasOption(field, id) {
			return wrong("the id of one of its options")
		}
	case "set":
		list, is := value.([]any)
		if !is {
			return wrong("a list of ids")
		}
		for _, one := range list {
			if id, is := one.(int64); !is || !hasOption(field, id) {
				return wrong("a list of its options' ids")
			}
		}
	case "monetary", "time", "timerange", "daterange", "address":
		parts, is := value.(map[string]any)
		if !is || parts["value"] == nil {
			return wrong("an object with a value")
		}
		return wholeParts(field.Type, parts), nil
	default:
		if _, is := value.(string); !is {
			return wrong("text")
		}
	}
	return value, nil
}

// wholeParts adds the parts that Pipedrive adds.
func wholeParts(kind string, given map[string]any) map[string]any {
	parts := make(map[string]any, len(given)+2)
	for name, value := range given {
		parts[name] = value
	}
	switch kind {
	case "monetary":
		if parts["currency"] == nil {
			parts["currency"] = "EUR"
		}
	case "time", "timerange":
		if parts["timezone_id"] == nil {
			parts["timezone_id"], parts["timezone_name"] = int64(310), "Europe/Tallinn"
		}
	case "address":
		if parts["formatted_address"] == nil {
			parts["formatted_address"] = fmt.Sprint(parts["value"])
		}
	}
	return parts
}

func hasOption(field shape.Field, id int64) bool {
	return slices.ContainsFunc(field.Options, func(o shape.Option) bool { return o.ID == id })
}
