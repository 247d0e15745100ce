package validate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/pipehook/pipehook/core"
)

// rule is one schema and the events it is for.
type rule struct {
	pattern core.Pattern
	schema  *jsonschema.Schema
}

// here is what a schema is called while it is compiled. Its file's own path would do, but for the
// characters that mean something in a URL.
const here = "schema:///file"

// sealed refuses what a schema refers to outside its own file: starting must not depend on a
// network, nor open files that the configuration does not name.
type sealed struct{}

func (sealed) Load(url string) (any, error) {
	return nil, fmt.Errorf("%s is outside the file: put it under $defs", strings.TrimPrefix(url, "schema:///"))
}

// compile names the file, and where in it, when it can't.
func compile(pattern, file string) (rule, error) {
	p, err := core.ParsePattern(pattern)
	if err != nil {
		return rule{}, fmt.Errorf("schema: %w", err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return rule{}, fmt.Errorf("schema for %s: %w", pattern, err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return rule{}, fmt.Errorf("schema for %s: %s:%w", pattern, file, atLine(text, err))
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	c.UseLoader(sealed{})
	if err := c.AddResource(here, doc); err != nil {
		return rule{}, fmt.Errorf("schema for %s: %s: %w", pattern, file, err)
	}
	schema, err := c.Compile(here)
	if err != nil {
		return rule{}, fmt.Errorf("schema for %s: %s: %s", pattern, file, whatIsWrong(err))
	}
	return rule{pattern: p, schema: schema}, nil
}

// atLine puts the line of a syntax error before it.
func atLine(text []byte, err error) error {
	line := 1 + bytes.Count(text, []byte("\n"))
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		line = 1 + bytes.Count(text[:min(int(e.Offset), len(text))], []byte("\n"))
	}
	return fmt.Errorf("%d: %w", line, err)
}

// whatIsWrong is a compiler's error in one line, without the name the file has only in here.
func whatIsWrong(err error) string {
	if e, ok := errors.AsType[*jsonschema.SchemaValidationError](err); ok {
		if broken, ok := errors.AsType[*jsonschema.ValidationError](e.Err); ok {
			return reason(broken)
		}
	}
	if e, ok := errors.AsType[*jsonschema.LoadURLError](err); ok {
		return e.Err.Error()
	}
	return strings.ReplaceAll(err.Error(), here, "")
}

// maxNumber and maxExponent bound the numbers that a schema may be asked about. The schema's
// arithmetic is exact: a number of a megabyte would take seconds, a large exponent a panic.
const (
	maxNumber   = 64
	maxExponent = 3 // digits
)

// oddNumber is the place of a number that is out of bounds, false when there is none. The depth of
// v has been checked.
func oddNumber(v any, at []string) ([]string, bool) {
	switch v := v.(type) {
	case json.Number:
		s := string(v)
		exponent := ""
		if i := strings.IndexAny(s, "eE"); i >= 0 {
			exponent = strings.TrimLeft(s[i+1:], "+-0")
		}
		return at, len(s) > maxNumber || len(exponent) > maxExponent
	case map[string]any:
		for key, member := range v {
			if where, odd := oddNumber(member, append(at, key)); odd {
				return where, true
			}
		}
	case []any:
		for i, element := range v {
			if where, odd := oddNumber(element, append(at, fmt.Sprint(i))); odd {
				return where, true
			}
		}
	}
	return nil, false
}
