package validate

import (
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// reason is one place that breaks the schema, and what is asked of it there. It never repeats what
// stood there: the answer, and the log, would carry it on.
func reason(broken *jsonschema.ValidationError) string {
	switch k := broken.ErrorKind.(type) {
	case *kind.AnyOf:
		return choices(broken)
	case *kind.OneOf:
		if len(k.Subschemas) > 0 {
			return pointer(broken.InstanceLocation) + " fits more than one alternative"
		}
		return choices(broken)
	}
	if len(broken.Causes) > 0 {
		return reason(broken.Causes[0])
	}
	return pointer(broken.InstanceLocation) + " " + asked(broken.ErrorKind)
}

// choices tells what each alternative asks, as which one was meant is not known, unless they are
// too many to be read.
func choices(broken *jsonschema.ValidationError) string {
	if n := len(broken.Causes); n == 0 || n > 3 {
		return pointer(broken.InstanceLocation) + " fits none of the alternatives"
	}
	var reasons []string
	for _, cause := range broken.Causes {
		if r := reason(cause); !slices.Contains(reasons, r) {
			reasons = append(reasons, r)
		}
	}
	return strings.Join(reasons, ", or ")
}

func asked(k jsonschema.ErrorKind) string {
	switch k := k.(type) {
	case *kind.Type:
		return "must be " + strings.Join(k.Want, " or ")
	case *kind.Required:
		return "lacks " + strings.Join(k.Missing, ", ")
	case *kind.Enum:
		return "must be one of " + values(k.Want...)
	case *kind.Const:
		return "must be " + values(k.Want)
	case *kind.Format:
		return "must be of the format " + k.Want
	case *kind.Pattern:
		return "must match " + k.Want
	case *kind.AdditionalProperties:
		return "has a property that the schema does not allow"
	case *kind.FalseSchema:
		return "is not allowed"
	default:
		return bound(k)
	}
}

func bound(k jsonschema.ErrorKind) string {
	switch k := k.(type) {
	case *kind.Minimum:
		return "must be at least " + number(k.Want)
	case *kind.Maximum:
		return "must be at most " + number(k.Want)
	case *kind.ExclusiveMinimum:
		return "must be above " + number(k.Want)
	case *kind.ExclusiveMaximum:
		return "must be below " + number(k.Want)
	case *kind.MultipleOf:
		return "must be a multiple of " + number(k.Want)
	case *kind.MinLength:
		return fmt.Sprintf("must have at least %d characters", k.Want)
	case *kind.MaxLength:
		return fmt.Sprintf("must have at most %d characters", k.Want)
	case *kind.MinItems:
		return fmt.Sprintf("must have at least %d items", k.Want)
	case *kind.MaxItems:
		return fmt.Sprintf("must have at most %d items", k.Want)
	}
	if path := k.KeywordPath(); len(path) > 0 { // what follows may be a name out of the body
		return "breaks the rule " + path[0]
	}
	return "breaks a rule"
}

func number(n *big.Rat) string {
	if n.IsInt() {
		return n.Num().String()
	}
	f, _ := n.Float64()
	return fmt.Sprint(f)
}

// values are the schema's own.
func values(list ...any) string {
	var out []string
	for _, v := range list {
		text, err := json.Marshal(v)
		if err != nil { // it came from JSON
			text = []byte("?")
		}
		out = append(out, string(text))
	}
	return strings.Join(out, ", ")
}

// maxPointer is how much of a place is told: keys are the sender's text.
const maxPointer = 200

// pointer is a JSON Pointer, with "the body" for the root.
func pointer(at []string) string {
	if len(at) == 0 {
		return "the body"
	}
	escape := strings.NewReplacer("~", "~0", "/", "~1")
	var b strings.Builder
	for _, key := range at {
		b.WriteString("/" + escape.Replace(key))
		if b.Len() > maxPointer {
			return fmt.Sprintf("%.200q…", b.String())
		}
	}
	if quoted := fmt.Sprintf("%q", b.String()); quoted != `"`+b.String()+`"` {
		return quoted // a line break or an escape sequence would act where the message is read
	}
	return b.String()
}
