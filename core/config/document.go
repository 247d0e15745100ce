package config

import (
	"bytes"
	"errors"
	"regexp"
	"sort"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/pipehook/pipehook/core/strict"
)

// document remembers where each key comes from: its place in the file, or what set it instead.
// It is not changed once Load has returned.
type document struct {
	path    string
	lines   []int             // where each line of the file begins
	places  map[string]int    // where each key stands, as an offset
	origins map[string]string // keys that something above the file set, and what
	hidden  map[string]bool   // keys whose text was read from elsewhere, and may be a secret

	variables map[string]Variable // keys whose text is one variable and nothing else
}

// Variable is one of the environment that a key's text is.
type Variable struct {
	Name   string
	Dotenv bool // its value stands in the .env beside the configuration
}

func (d *document) mistake(key, msg, hint string) Mistake {
	m := Mistake{File: d.path, Key: key, Msg: msg, Hint: hint}
	for near := key; near != ""; near = parent(near) {
		// The file may have the key as well, and more of its parts than what counts.
		if origin, above := d.origins[near]; above {
			m.File, m.Line, m.Column = origin, 0, 0
			break
		}
		if offset, ok := d.places[near]; ok && m.Line == 0 {
			m.Line, m.Column = d.position(offset)
		}
	}
	return m
}

func (d *document) position(offset int) (line, column int) {
	line = sort.SearchInts(d.lines, offset+1)
	return line, offset - d.lines[line-1] + 1
}

// shows reports whether a key's text may be repeated in a message: only what stands in the file.
func (d *document) shows(key string) bool {
	for near := key; near != ""; near = parent(near) {
		if _, above := d.origins[near]; above || d.hidden[near] {
			return false
		}
	}
	return true
}

// parent is the key of the table that holds the key: a.b[2].c, a.b[2], a.b, a.
func parent(key string) string {
	if i := strings.LastIndexAny(key, ".["); i >= 0 {
		return key[:i]
	}
	return ""
}

// Join is the key of what stands in a table, such as where."current.value". A key that is quoted in the
// file is quoted here.
func Join(table, key string) string { return join(table, key) }

func join(table, key string) string { return strict.Join(table, key) }

func index(key string, i int) string { return strict.Index(key, i) }

// readDocument finds the places of all keys. The text must be valid TOML.
func readDocument(path string, text []byte) *document {
	d := &document{
		path: path, lines: []int{0}, places: map[string]int{}, origins: map[string]string{}, hidden: map[string]bool{}, variables: map[string]Variable{},
	}
	for at := 0; ; {
		i := bytes.IndexByte(text[at:], '\n')
		if i < 0 {
			break
		}
		at += i + 1
		d.lines = append(d.lines, at)
	}
	var p unstable.Parser
	p.Reset(text)
	counts := map[string]int{}
	var table string
	for p.NextExpression() {
		e := p.Expression()
		switch e.Kind {
		case unstable.Table:
			table = d.header(e, counts, false)
		case unstable.ArrayTable:
			table = d.header(e, counts, true)
		case unstable.KeyValue:
			d.keyValue(e, table)
		}
	}
	return d
}

// header resolves the name of a table: an array's name means its last element.
func (d *document) header(e *unstable.Node, counts map[string]int, array bool) string {
	var key string
	for it := e.Key(); it.Next(); {
		node := it.Node()
		key = join(key, string(node.Data))
		d.note(key, node)
		if array && it.IsLast() {
			counts[key]++
		}
		if n := counts[key]; n > 0 {
			key = index(key, n-1)
			d.note(key, node)
		}
	}
	return key
}

func (d *document) keyValue(e *unstable.Node, table string) {
	key := table
	for it := e.Key(); it.Next(); {
		key = join(key, string(it.Node().Data))
		d.note(key, it.Node())
	}
	d.value(e.Value(), key)
}

func (d *document) value(v *unstable.Node, key string) {
	switch v.Kind {
	case unstable.InlineTable:
		for it := v.Children(); it.Next(); {
			d.keyValue(it.Node(), key)
		}
	case unstable.Array:
		i := 0
		for it := v.Children(); it.Next(); {
			if elem := it.Node(); elem.Kind != unstable.Comment {
				if elem.Raw.Length > 0 { // arrays and tables have no place of their own
					d.note(index(key, i), elem)
				}
				d.value(elem, index(key, i))
				i++
			}
		}
	}
}

func (d *document) note(key string, node *unstable.Node) {
	if _, known := d.places[key]; !known {
		d.places[key] = int(node.Raw.Offset)
	}
}

// quoted is where the parser repeats text: a secret that lacks its quotes would be in it.
var quoted = regexp.MustCompile(`:? (but got )?U\+[0-9A-F]{4,6}( '[^']*')?|strconv\.[A-Za-z]+: parsing "[^"]*": `)

// syntaxMistake turns the parser's error into a mistake with its place.
func syntaxMistake(path string, err error) Mistake {
	m := Mistake{File: path, Msg: err.Error(), Hint: "mend the TOML there and run pipehook check again"}
	if e, ok := errors.AsType[*toml.DecodeError](err); ok {
		m.Line, m.Column = e.Position()
	}
	m.Msg = quoted.ReplaceAllString(strings.TrimPrefix(m.Msg, "toml: "), "")
	return m
}
