package web

import "strings"

// parseForm reads application/x-www-form-urlencoded: names and values by turns.
func parseForm(s string) (flat []string) {
	for pair := range strings.SplitSeq(s, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		flat = append(flat, formDecode(name), formDecode(value))
	}
	return flat
}

func formDecode(s string) string {
	text, _, _ := decodeUTF8([]byte(percentDecode(strings.ReplaceAll(s, "+", " "))), false)
	return text
}

func formEncode(s string) string {
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case c == ' ':
			b.WriteByte('+')
		case isAlpha(c) || isDigit(c) || strings.IndexByte("*-._", c) >= 0:
			b.WriteByte(c)
		default:
			const hex = "0123456789ABCDEF"
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	return b.String()
}
