package store

import (
	"strings"
	"testing"

	"github.com/pipehook/pipehook/core/coretest/testdb"
)

// What the server still says to a question that nobody waits for any more must not be taken for the
// answer to the next.
func TestAConnectionThatWasGivenUpIsNotUsedAgain(t *testing.T) {
	url := testdb.Postgres(t)
	s, err := Open(t.Context(), Options{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	w := &s.backend.(*postgres).writer
	pid := func() (n int) {
		t.Helper()
		if err := w.prepare(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := w.conn.QueryRowContext(t.Context(), "SELECT pg_backend_pid()").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	first := pid()
	w.drop()
	if second := pid(); first == second {
		t.Errorf("the connection to backend %d is used again", first)
	}
}

// The plan is made once, when the tables may be empty, and must be right when they are large.
func TestTheWritingStatementReadsEventsByTheirIndexesAlone(t *testing.T) {
	url := testdb.Postgres(t)
	s, err := Open(t.Context(), Options{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	conn, err := s.backend.(*postgres).writeDB.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.ExecContext(t.Context(), "PREPARE batch AS "+writeBatch); err != nil {
		t.Fatal(err)
	}
	none := strings.TrimSuffix(strings.Repeat("NULL, ", 42), ", ")
	rows, err := conn.QueryContext(t.Context(), "EXPLAIN EXECUTE batch("+none+")")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	var plan []string
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		plan = append(plan, line)
	}
	text := strings.Join(plan, "\n")
	for _, want := range []string{
		"Index Cond: ((pipeline = e.pipeline) AND (dedupe_key = e.state))",
		"Index Cond: (seq > e.after)",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("it lacks %q", want)
		}
	}
	if strings.Contains(text, "Seq Scan on events") || strings.Contains(text, "hashed SubPlan") {
		t.Error("it may read all events")
	}
	if t.Failed() {
		t.Log(text)
	}
}
