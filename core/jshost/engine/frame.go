package engine

import (
	"fmt"
	"strings"
	"unicode/utf16"
)

const (
	frameBefore = 60  // characters of a line that are shown before the place
	frameWidth  = 100 // and at most
)

// CodeFrame shows a line of code with a mark below the column, which counts from 1 in UTF-16 units as
// JavaScript does; more or less of a long line is left out. It is two lines of text.
func CodeFrame(code string, line, column int) string {
	shown := []rune(strings.ToValidUTF8(strings.TrimRight(code, "\r\n"), "\uFFFD"))
	at, units := 0, 1
	for at < len(shown) && units < column {
		units += max(utf16.RuneLen(shown[at]), 1)
		at++
	}
	for i, r := range shown {
		if r < ' ' || r == 0x7f { // a tab has no width that is known
			shown[i] = ' '
		}
	}
	left := 0
	for left < at && shown[left] == ' ' { // the indent says nothing
		left++
	}
	left = max(left, at-frameBefore)
	right := min(len(shown), left+frameWidth)
	text, mark := string(shown[left:right]), strings.Repeat(" ", at-left)+"^"
	if left > 0 && strings.TrimSpace(string(shown[:left])) != "" {
		text, mark = "…"+text, " "+mark
	}
	if right < len(shown) {
		text += "…"
	}
	number := fmt.Sprint(line)
	return fmt.Sprintf("%s | %s\n%s | %s", number, strings.TrimRight(text, " "), strings.Repeat(" ", len(number)), mark)
}
