package mirror

import (
	"context"
	"fmt"
	"time"

	"github.com/pipehook/pipehook/core/pipedrive/shape"
)

// Standing is where a table stands.
type Standing struct {
	Object  string
	Table   string
	Rows    int64     // that are not deleted
	Deleted int64     // that are
	Newest  time.Time // update at Pipedrive; zero when there is none
	Bytes   int64     // on disk, about, with its indexes
}

// Standings says where the tables of the objects that are kept stand, in the order of shape.Objects.
func (m *Mirror) Standings(ctx context.Context) ([]Standing, error) {
	if err := m.prepared(ctx); err != nil {
		return nil, m.refusal(err)
	}
	var all []Standing
	for _, o := range shape.Objects() {
		if !m.kept[o.Name] {
			continue
		}
		s := Standing{Object: o.Name, Table: tables[o.Name].name}
		err := m.reader.QueryRowContext(ctx, fmt.Sprintf(
			"SELECT count(*) - count(deleted_at), count(deleted_at), max(update_time) FROM %s", s.Table)).Scan(&s.Rows, &s.Deleted, (*stamp)(&s.Newest))
		if err == nil {
			size := "SELECT pg_total_relation_size($1::text::regclass)"
			if m.dialect == sqliteDialect {
				size = "SELECT coalesce(sum(pgsize), 0) FROM dbstat WHERE name = ?1 OR name LIKE ?1 || '\\_%' ESCAPE '\\'"
			}
			err = m.reader.QueryRowContext(ctx, size, s.Table).Scan(&s.Bytes)
		}
		if err != nil {
			return nil, m.refusal(fmt.Errorf("%s: %w", s.Table, err))
		}
		all = append(all, s)
	}
	return all, nil
}
