package mirror

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/pipehook/pipehook/core"
)

// Rows reads what there is of an object's records, deleted ones too, by id.
func (m *Mirror) Rows(ctx context.Context, object string, ids []string) (map[string]Row, error) {
	t, err := m.table(ctx, object)
	if err != nil {
		return nil, err
	}
	wanted := make([]string, 0, len(ids))
	for _, id := range ids {
		if id, err := t.idOf(id); err == nil { // no row has another
			wanted = append(wanted, id)
		}
	}
	found, err := m.rows(ctx, m.reader, t, wanted)
	if err != nil {
		return nil, m.refusal(err)
	}
	all := make(map[string]Row, len(found))
	for id, r := range found {
		all[id] = r.Row
	}
	return all, nil
}

// IDs lists the ids of an object's records that are not deleted, in order: at most limit of them, after the given one.
// Numbers have the order of numbers.
func (m *Mirror) IDs(ctx context.Context, object, after string, limit int) ([]string, error) {
	t, err := m.table(ctx, object)
	if err != nil {
		return nil, err
	}
	where, args := "", []any{}
	if after != "" {
		if after, err = t.idOf(after); err != nil {
			return nil, err
		}
		where, args = " AND id > ?", append(args, m.idValue(t, after))
	}
	query := fmt.Sprintf("SELECT id FROM %s WHERE deleted_at IS NULL%s ORDER BY id LIMIT %d", t.name, where, limit)
	ids, err := idsIn(ctx, m.reader, m.dialect.bind(query), args...)
	return ids, m.refusal(err)
}

func (m *Mirror) idValue(t *table, id string) any {
	if t.id == text {
		return id
	}
	var n int64
	_, _ = fmt.Sscan(id, &n) // idOf has made it a number
	return n
}

func (m *Mirror) table(ctx context.Context, object string) (*table, error) {
	t := tables[object]
	if t == nil {
		return nil, &core.Error{Kind: core.Invalid, Msg: fmt.Sprintf("there is no table for %q", object)}
	}
	return t, m.refusal(m.prepared(ctx))
}

func idsIn(ctx context.Context, db asker, query string, args ...any) (ids []string, err error) {
	found, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, found.Close()) }()
	for found.Next() {
		var id string
		if err := found.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, found.Err()
}

// State is what SetState kept under the name; nil for nothing.
func (m *Mirror) State(ctx context.Context, name string) ([]byte, error) {
	if err := m.prepared(ctx); err != nil {
		return nil, m.refusal(err)
	}
	var value []byte
	err := m.reader.QueryRowContext(ctx, m.dialect.bind("SELECT value FROM pipedrive_sync_state WHERE name = ?"), name).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return value, m.refusal(err)
}

// SetState keeps a small value under a name, beside the tables, for all processes that have them. A nil value forgets the name.
func (m *Mirror) SetState(ctx context.Context, name string, value []byte) error {
	if err := m.prepared(ctx); err != nil {
		return m.refusal(err)
	}
	query, args := "DELETE FROM pipedrive_sync_state WHERE name = ?", []any{name}
	if value != nil {
		query = `INSERT INTO pipedrive_sync_state (name, value, changed_at) VALUES (?, ?, ?)
			ON CONFLICT (name) DO UPDATE SET value = excluded.value, changed_at = excluded.changed_at`
		args = append(args, value, millis(m.opts.Now().UTC().Truncate(time.Millisecond)))
	}
	_, err := m.db.ExecContext(ctx, m.dialect.bind(query), args...)
	return m.refusal(err)
}
