package mirror

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// texts are the statements for one table.
type texts struct {
	read  string // rows by ids
	write string // of a row on SQLite, of an array of each column on PostgreSQL
	names []string
}

// readColumns are what a row is made of again.
const readColumns = "id, data, add_time, update_time, event_at, learned_from, event_id, seen_at, deleted_at, merged_into, stored_at, changed_at"

func (d dialect) texts() map[string]*texts {
	all := map[string]*texts{}
	for object, t := range tables {
		all[object] = d.textsOf(t)
	}
	return all
}

func (d dialect) textsOf(t *table) *texts {
	names, arrays := []string{"id"}, []string{"?::" + d.typeOf(t.id) + "[]"}
	var set []string
	for _, c := range append(t.columns[:len(t.columns):len(t.columns)], common...) {
		names, arrays = append(names, c.name), append(arrays, "?::"+d.typeOf(c.kind)+"[]")
		if c.name != "stored_at" {
			set = append(set, c.name+" = excluded."+c.name)
		}
	}
	into := fmt.Sprintf("INSERT INTO %s (%s) ", t.name, strings.Join(names, ", "))
	conflict := " ON CONFLICT (id) DO UPDATE SET " + strings.Join(set, ", ")
	x := &texts{names: names}
	if d == postgresDialect {
		x.read = fmt.Sprintf("SELECT %s FROM %s WHERE id = ANY(?::%s[])", readColumns, t.name, d.typeOf(t.id))
		x.read, x.write = d.bind(x.read), d.bind(into+"SELECT * FROM unnest("+strings.Join(arrays, ", ")+")"+conflict)
		return x
	}
	x.read = fmt.Sprintf("SELECT %s FROM %s WHERE id IN (SELECT value FROM json_each(?))", readColumns, t.name)
	x.write = into + "VALUES (" + strings.TrimSuffix(strings.Repeat("?, ", len(names)), ", ") + ")" + conflict
	return x
}

// bind makes a query's question marks what the database takes: on PostgreSQL $1 and so on. None of the queries has one in a text.
func (d dialect) bind(query string) string {
	if d == sqliteDialect {
		return query
	}
	var b strings.Builder
	n := 0
	for _, r := range query {
		if r != '?' {
			b.WriteRune(r)
			continue
		}
		n++
		fmt.Fprintf(&b, "$%d", n)
	}
	return b.String()
}

// asker is a transaction or a pool.
type asker interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// idList is ids as the statement takes them: a JSON array, or a PostgreSQL array.
func (d dialect) idList(t *table, ids []string) string {
	var b strings.Builder
	marks := [...]string{"[]", "{}"}[d]
	b.WriteByte(marks[0])
	for i, id := range ids {
		if i > 0 {
			b.WriteByte(',')
		}
		if t.id == number {
			b.WriteString(id)
		} else {
			quoted, _ := json.Marshal(plain(id)) // a string can be encoded
			b.Write(quoted)
		}
	}
	b.WriteByte(marks[1])
	return b.String()
}

// rows reads the rows that there are of these ids.
func (m *Mirror) rows(ctx context.Context, db asker, t *table, ids []string) (_ map[string]*row, err error) {
	found, err := db.QueryContext(ctx, m.texts[t.object].read, m.dialect.idList(t, ids))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, found.Close()) }()
	all := make(map[string]*row, len(ids))
	for found.Next() {
		r := &row{table: t, known: true}
		r.Object = t.object
		var data []byte
		var into sql.NullString
		err := found.Scan(&r.ID, &data, (*stamp)(&r.Added), (*stamp)(&r.Updated), (*stamp)(&r.At), &r.From, &r.Event,
			(*stamp)(&r.SeenAt), (*stamp)(&r.DeletedAt), &into, (*stamp)(&r.StoredAt), (*stamp)(&r.ChangedAt))
		if err != nil {
			return nil, err
		}
		if r.Values, err = decode(data); err != nil {
			return nil, fmt.Errorf("%s %s: data: %w", t.name, r.ID, err)
		}
		r.MergedInto, r.Deleted = into.String, !r.DeletedAt.IsZero()
		all[r.ID] = r
	}
	return all, found.Err()
}

// write writes rows of one table.
func (m *Mirror) write(ctx context.Context, tx *sql.Tx, t *table, rows []*row) error {
	x := m.texts[t.object]
	if m.dialect == postgresDialect {
		_, err := tx.ExecContext(ctx, x.write, arraysOf(rows, len(x.names))...)
		return err
	}
	statement, err := tx.PrepareContext(ctx, x.write)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if _, err := statement.ExecContext(ctx, r.columns()...); err != nil {
			return errors.Join(err, statement.Close())
		}
	}
	return statement.Close()
}

// arraysOf are the rows' columns, each as one PostgreSQL array.
func arraysOf(rows []*row, n int) []any {
	columns := make([][]byte, n)
	for i, r := range rows {
		for j, v := range r.columns() {
			mark := byte(',')
			if i == 0 {
				mark = '{'
			}
			columns[j] = appendElement(append(columns[j], mark), v)
		}
	}
	all := make([]any, n)
	for j := range columns {
		all[j] = string(append(columns[j], '}'))
	}
	return all
}

func appendElement(out []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(out, "NULL"...)
	case int64:
		return strconv.AppendInt(out, v, 10)
	case bool:
		return strconv.AppendBool(out, v)
	case string:
		out = append(out, '"')
		for i := range len(v) {
			if v[i] == '"' || v[i] == '\\' {
				out = append(out, '\\')
			}
			out = append(out, v[i])
		}
		return append(out, '"')
	default: // columns makes no others
		return append(out, "NULL"...)
	}
}

// columns are the row's values, in the order of the names in texts.
func (r *row) columns() []any {
	all := make([]any, 0, 1+len(r.table.columns)+len(common))
	all = append(all, r.ID)
	for i := range r.table.columns {
		c := &r.table.columns[i]
		all = append(all, sqlValue(c.kind, at(r.Values, c.key())))
	}
	var into any
	if r.MergedInto != "" {
		into = r.MergedInto
	}
	values := r.Values
	if values == nil {
		values = map[string]any{}
	}
	return append(all, seconds(r.Added), seconds(r.Updated), string(encode(values)), millis(r.At), r.From, r.Event,
		millis(r.SeenAt), millis(r.DeletedAt), into, millis(r.StoredAt), millis(r.ChangedAt))
}

// stamp reads a time that may be NULL.
type stamp time.Time

// Scan reads what either database gives.
func (s *stamp) Scan(v any) error {
	switch v := v.(type) {
	case nil:
		*s = stamp{}
	case time.Time:
		*s = stamp(v.UTC())
	case string:
		*s = stamp(parseTime(v))
	case []byte:
		*s = stamp(parseTime(string(v)))
	default:
		return fmt.Errorf("a time is a %T", v)
	}
	return nil
}
