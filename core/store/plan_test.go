package store

import (
	"strings"
	"testing"

	"github.com/pipehook/pipehook/core/database"
)

// With a large backlog a query that reads all of it would be asked again and again.
func TestReadingDeliveriesNeverTouchesTheWholeBacklog(t *testing.T) {
	b, read, err := openSQLite(t.Context(), database.Location{SQLite: true, Path: t.TempDir() + "/plan.db"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = b.close(), read.Close() }()
	for name, test := range map[string]struct {
		query string
		args  []any
		want  string
	}{
		"load": {"SELECT e.body" + loadFrom, []any{"[1]", "l"}, "SEARCH d USING PRIMARY KEY (event_seq=? AND listener=?)"},
		"scan": {"SELECT " + pendingColumns + " FROM deliveries d WHERE d.listener = ? AND d.state = 0 AND d.turn > ? ORDER BY d.turn LIMIT 5", []any{"l", 1},
			"SEARCH d USING INDEX deliveries_pending (listener=? AND turn>?)"},
	} {
		t.Run(name, func(t *testing.T) {
			rows, err := read.DB.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+test.query, test.args...)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = rows.Close() }()
			var plan []string
			for rows.Next() {
				var id, parent, unused int
				var detail string
				if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
					t.Fatal(err)
				}
				plan = append(plan, detail)
			}
			if text := strings.Join(plan, "\n"); !strings.Contains(text, test.want) || strings.Contains(text, "TEMP B-TREE") {
				t.Errorf("the plan is\n%s", text)
			}
		})
	}
}
