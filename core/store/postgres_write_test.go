package store

import (
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
