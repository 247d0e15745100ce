package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// document remembers where each key of a file stands.
type document struct {
	path   string
	places map[string]unstable.Position
}

func (d *document) mistake(key, msg, hint string) Mistake {
	m := Mistake{File: d.path, Key: key, Msg: msg, Hint: hint}
	for near := key; near != ""; near = parent(near) {
		if at, ok := d.places[near]; ok {
			m.Line, m.Column = at.Line, at.Column
			break
		}
	}
	return m
}

// parent is the key of the table that holds the key: a.b[2].c, a.b[2], a.b, a.
func parent(key string) string {
	if i := strings.LastIndexAny(key, ".["); i >= 0 {
		return key[:i]
	}
	return ""
}

// join puts a key into its table. A key that holds a dot is quoted, as in the file.
func join(table, key string) string {
	if strings.ContainsAny(key, ".[]\" ") {
		key = fmt.Sprintf("%q", key)
	}
	if table == "" {
		return key
	}
	return table + "." + key
}

// readDocument finds the places of all keys. The text must be valid TOML.
func readDocument(path string, text []byte) *document {
	d := &document{path: path, places: map[string]unstable.Position{}}
	var p unstable.Parser
	p.Reset(text)
	counts := map[string]int{}
	var table string
	for p.NextExpression() {
		e := p.Expression()
		switch e.Kind {
		case unstable.Table:
			table = d.header(&p, e, counts, false)
		case unstable.ArrayTable:
			table = d.header(&p, e, counts, true)
		case unstable.KeyValue:
			d.keyValue(&p, e, table)
		}
	}
	return d
}

// header resolves the name of a table: an array's name means its last element.
func (d *document) header(p *unstable.Parser, e *unstable.Node, counts map[string]int, array bool) string {
	var key string
	for it := e.Key(); it.Next(); {
		node := it.Node()
		key = join(key, string(node.Data))
		last := it.IsLast()
		if array && last {
			d.note(p, key, node)
			counts[key]++
		}
		if n := counts[key]; n > 0 {
			key = fmt.Sprintf("%s[%d]", key, n-1)
		}
		if last {
			d.note(p, key, node)
		}
	}
	return key
}

func (d *document) keyValue(p *unstable.Parser, e *unstable.Node, table string) {
	key := table
	for it := e.Key(); it.Next(); {
		key = join(key, string(it.Node().Data))
		d.note(p, key, it.Node())
	}
	d.value(p, e.Value(), key)
}

func (d *document) value(p *unstable.Parser, v *unstable.Node, key string) {
	switch v.Kind {
	case unstable.InlineTable:
		for it := v.Children(); it.Next(); {
			d.keyValue(p, it.Node(), key)
		}
	case unstable.Array:
		i := 0
		for it := v.Children(); it.Next(); {
			if it.Node().Kind == unstable.Comment {
				continue
			}
			d.value(p, it.Node(), fmt.Sprintf("%s[%d]", key, i))
			i++
		}
	}
}

func (d *document) note(p *unstable.Parser, key string, node *unstable.Node) {
	if _, known := d.places[key]; !known {
		d.places[key] = p.Shape(node.Raw).Start
	}
}

// syntaxMistake turns the parser's error into a mistake with its place.
func syntaxMistake(path string, err error) Mistake {
	m := Mistake{File: path, Msg: err.Error(), Hint: "mend the TOML there and run pipehook check again"}
	if e, ok := errors.AsType[*toml.DecodeError](err); ok {
		m.Line, m.Column = e.Position()
		m.Msg = strings.TrimPrefix(e.Error(), "toml: ")
	}
	return m
}
