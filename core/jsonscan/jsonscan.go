// Package jsonscan looks at JSON before anything that could be harmed by it does: without
// recursion and without allocating.
package jsonscan

// MaxDepth is the deepest nesting that anything in pipehook reads. Deeper bodies are hostile:
// parsers recurse, and some script functions take quadratic time.
const MaxDepth = 512

// Depth returns how deep arrays and objects are nested, and stops counting at the first value
// above limit. It does not check that the text is JSON.
func Depth(text []byte, limit int) int {
	depth, deepest := 0, 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			i = endOfString(text, i)
		case '{', '[':
			if depth++; depth > deepest {
				if deepest = depth; deepest > limit {
					return deepest
				}
			}
		case '}', ']':
			depth--
		}
	}
	return deepest
}

// endOfString returns the index of the quote that ends the string that begins at start, or an
// index after the text when none does.
func endOfString(text []byte, start int) int {
	for i := start + 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return len(text)
}

// What says in words what a value is, for a message: "an object", "text".
func What(value []byte) string {
	i := 0
	for i < len(value) && (value[i] == ' ' || value[i] == '\n' || value[i] == '\t' || value[i] == '\r') {
		i++
	}
	if i == len(value) {
		return "nothing"
	}
	switch value[i] {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "text"
	case 't', 'f':
		return "true or false"
	case 'n':
		return "null"
	default:
		return "a number"
	}
}
