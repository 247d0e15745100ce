package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"slices"
	"strings"
)

// kvTable makes rows of entries. The columns are the key and then the fields in the order in which
// they first appear; what is no object stands in a column of its own.
type kvTable struct {
	head []string // columns that are not fields
	own  []string // fields, as they are called in the values
	at   map[string]int
	bare bool // some values are no objects
	rows []kvRow
}

type kvRow struct {
	head   []string
	fields map[int]string
	bare   string
}

const bareColumn = "value"

func (t *kvTable) add(head []string, value []byte) {
	row := kvRow{head: head}
	fields, ok := fieldsOf(value)
	if !ok {
		row.bare, t.bare = cell(value), true
	}
	for _, f := range fields {
		i, known := t.at[f.name]
		if !known {
			i = len(t.own)
			t.at[f.name] = i
			t.own = append(t.own, f.name)
		}
		if row.fields == nil {
			row.fields = make(map[int]string, len(fields))
		}
		row.fields[i] = cell(f.value)
	}
	t.rows = append(t.rows, row)
}

// columns are the names in the first line. A field that is called as another column is told from it.
func (t *kvTable) columns() []string {
	columns := slices.Clone(t.head)
	if t.bare {
		columns = append(columns, bareColumn)
	}
	others := slices.Clone(columns)
	for _, name := range t.own {
		if slices.Contains(others, name) {
			name = "value." + name
		}
		columns = append(columns, inSheet(name))
	}
	return columns
}

func (t *kvTable) line(r kvRow) []string {
	line := slices.Clone(r.head)
	if t.bare {
		line = append(line, r.bare)
	}
	for i := range t.own {
		line = append(line, r.fields[i])
	}
	return line
}

type field struct {
	name  string
	value json.RawMessage
}

// fieldsOf takes an object apart, in its order. Of two fields with one name the last counts.
func fieldsOf(value []byte) ([]field, bool) {
	if text := bytes.TrimSpace(value); len(text) == 0 || text[0] != '{' {
		return nil, false
	}
	d := json.NewDecoder(bytes.NewReader(value))
	if _, err := d.Token(); err != nil {
		return nil, false
	}
	var fields []field
	for d.More() {
		var f field
		name, err := d.Token()
		if err == nil {
			f.name, _ = name.(string)
			err = d.Decode(&f.value)
		}
		if err != nil {
			return nil, false
		}
		fields = append(fields, f)
	}
	return fields, true
}

// cell is text as it is and anything else as JSON, which keeps every digit; null is empty.
func cell(value []byte) string {
	var text string
	switch value = bytes.TrimSpace(value); {
	case string(value) == "null":
		return ""
	case value[0] == '"' && json.Unmarshal(value, &text) == nil:
		return inSheet(text)
	}
	return string(value)
}

// inSheet keeps text that a sender may have chosen from being a formula in a spreadsheet. Numbers with
// a sign, such as those of telephones, stay as they are.
func inSheet(text string) string {
	if text == "" || !strings.ContainsRune("=+-@\t\r", rune(text[0])) {
		return text
	}
	if (text[0] == '+' || text[0] == '-') && strings.Trim(text[1:], "0123456789 ()./-") == "" {
		return text
	}
	return "'" + text
}

func (c *cli) printKVTable(found []kvJSON, everybody bool) error {
	t := kvTable{head: []string{"key"}, at: map[string]int{}}
	if everybody {
		t.head = []string{"script", "key"}
	}
	for _, e := range found {
		head := []string{inSheet(e.Key)}
		if everybody {
			head = []string{inSheet(e.Script), inSheet(e.Key)}
		}
		t.add(head, e.Value)
	}
	w := csv.NewWriter(c.stdout)
	terminal := isTerminal(c.stdout)
	write := func(line []string) {
		for i := range line {
			if terminal {
				line[i] = plain(line[i])
			}
		}
		_ = w.Write(line) // Error tells
	}
	write(t.columns())
	for _, r := range t.rows {
		write(t.line(r))
	}
	w.Flush()
	return w.Error()
}
