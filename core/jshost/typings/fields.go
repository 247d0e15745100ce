package typings

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/pipehook/pipehook/core/pipedrive/shape"
)

// ownFields are the types of an account's custom fields, by object; empty when none are known.
func ownFields(f *shape.Fields) string {
	var b strings.Builder
	taken := map[string]bool{}
	for _, object := range f.Objects() {
		name := typeName(object)
		fields := slices.DeleteFunc(f.Of(object), func(field shape.Field) bool { return !field.Custom || field.Name == "" })
		if len(fields) == 0 || name == "" || taken[name] {
			continue
		}
		taken[name] = true
		fmt.Fprintf(&b, "\n  /** The custom fields of a record of the kind %s, as event.fields has them. */\n  export interface %sFields {\n", comment(object), name)
		for i := range fields {
			fmt.Fprintf(&b, "    /** %s (%s) */\n    readonly %s?: %s | null;\n", comment(fields[i].Label), comment(fields[i].Type), member(fields[i].Name), typeOf(&fields[i]))
		}
		fmt.Fprintf(&b, "  }\n\n  /** An event about such a record. */\n"+
			"  export type %sEvent<Current = Fields, Previous = Partial<NonNullable<Current>>> = Event<Current, Previous, %[1]sFields>;\n", name)
	}
	if b.Len() == 0 {
		return ""
	}
	return "\n// The account's own fields, of its definitions: pipehook pipedrive fields pull writes those anew.\n" +
		"declare module \"pipehook\" {" + b.String() + "}\n"
}

// typeOf is what shape.Fields.Named shows of a field.
func typeOf(field *shape.Field) string {
	switch field.Type {
	case "varchar", "varchar_auto", "text", "phone", "date", "link":
		return "string"
	case "double", "int", "user", "people", "person", "org", "organization", "deal", "lead", "project", "product", "activity":
		return "number"
	case "enum", "visible_to", "status":
		return options(field)
	case "set":
		return "readonly (" + options(field) + ")[]"
	case "monetary":
		return "{ readonly value: number; readonly currency: string }"
	case "time":
		return "{ readonly value: string; readonly timezone_id?: number }"
	case "daterange", "timerange":
		return "{ readonly from: string; readonly until: string; readonly timezone_id?: number }"
	case "address":
		return "{ readonly value: string; readonly [part: string]: any }"
	}
	return "any"
}

// options are the labels, and the number that an option is shown as when the definitions do not have it.
func options(field *shape.Field) string {
	var all []string
	for _, o := range field.Options {
		if text := quoted(o.Label); !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	return strings.Join(append(all, "number"), " | ")
}

var plainName = regexp.MustCompile(`^[A-Za-z_$][A-Za-z0-9_$]*$`)

func member(name string) string {
	if plainName.MatchString(name) {
		return name
	}
	return quoted(name)
}

// quoted is text as JSON writes it, which is a string of TypeScript too.
func quoted(text string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(text) // text always encodes
	return strings.TrimSuffix(b.String(), "\n")
}

// mostComment bounds what is shown of a label.
const mostComment = 120

// comment is text that ends no comment and no line.
func comment(text string) string {
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " ")
	if len(text) > mostComment {
		text = strings.ToValidUTF8(text[:mostComment], "") + "…"
	}
	return strings.ReplaceAll(text, "*/", "* /")
}

// typeName is an object's name as that of a type: deal_product is DealProduct.
func typeName(object string) string {
	var b strings.Builder
	for part := range strings.FieldsFuncSeq(object, func(r rune) bool { return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') }) {
		b.WriteString(strings.ToUpper(part[:1]) + part[1:])
	}
	if name := b.String(); name != "" && (name[0] < '0' || name[0] > '9') {
		return name
	}
	return ""
}
