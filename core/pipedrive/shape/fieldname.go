package shape

import (
	"slices"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// named gives each field a name of its own. Names that are set come first, then built-in fields, then the others
// in their order.
func named(list []Field) []Field {
	list = slices.Clone(list)
	taken := make(map[string]bool, len(list))
	for i := range list {
		if name := list[i].Name; name != "" && !taken[name] {
			taken[name] = true
		} else {
			list[i].Name = ""
		}
	}
	for _, custom := range [...]bool{false, true} {
		for i := range list {
			field := &list[i]
			if field.Name != "" || field.Custom != custom {
				continue
			}
			name := field.Key
			if custom {
				name = identifier(field.Label)
			}
			field.Name = free(name, taken)
			taken[field.Name] = true
		}
	}
	return list
}

func free(name string, taken map[string]bool) string {
	if !taken[name] && !reserved[name] {
		return name
	}
	for n := 2; ; n++ {
		if next := name + "_" + strconv.Itoa(n); !taken[next] {
			return next
		}
	}
}

// reserved can't be the name of a variable, or is something else in every object of JavaScript.
var reserved = func() map[string]bool {
	words := map[string]bool{}
	for word := range strings.FieldsSeq(`arguments await break case catch class const constructor continue debugger default delete do else enum
		eval export extends false finally for function if implements import in instanceof interface let new null package private
		protected prototype public return static super switch this throw true try typeof undefined var void while with yield`) {
		words[word] = true
	}
	return words
}()

// letters are those that are not made of a plain one and an accent.
var letters = strings.NewReplacer("ß", "ss", "æ", "ae", "œ", "oe", "ø", "o", "ł", "l", "đ", "d", "ð", "d", "þ", "th", "ı", "i")

// identifier makes a name of a label: "Contract end (€)" is contract_end. Accents go; letters of other scripts
// stay, as they may stand in a name too.
func identifier(label string) string {
	var b strings.Builder
	gap := false
	for _, r := range letters.Replace(strings.ToLower(norm.NFKD.String(label))) {
		switch {
		case unicode.Is(unicode.Mn, r) && !gap: // an accent, of the letter before it
			continue
		case unicode.IsLetter(r) || unicode.Is(unicode.Nd, r):
			if gap && b.Len() > 0 {
				b.WriteByte('_')
			}
			gap = false
			if b.Len() == 0 && !unicode.IsLetter(r) {
				b.WriteByte('_')
			}
			b.WriteRune(r)
		default:
			gap = true
		}
	}
	if b.Len() == 0 {
		return "field"
	}
	return norm.NFC.String(b.String())
}
