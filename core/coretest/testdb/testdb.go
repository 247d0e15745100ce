// Package testdb gives tests empty databases of both kinds. PostgreSQL is a real server, named by
// PIPEHOOK_TEST_POSTGRES; make test starts one and sets it.
package testdb

import (
	"crypto/rand"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/uptrace/bun/driver/pgdriver"
)

// Env names the server that tests may create databases on.
const Env = "PIPEHOOK_TEST_POSTGRES"

// Each runs the test on an empty SQLite file and on an empty PostgreSQL database. Without a server
// the second is skipped, and says so.
func Each(t *testing.T, test func(t *testing.T, url string)) {
	t.Run("sqlite", func(t *testing.T) { test(t, SQLite(t)) })
	t.Run("postgres", func(t *testing.T) { test(t, Postgres(t)) })
}

// SQLite is the URL of a file that does not exist yet.
func SQLite(t testing.TB) string {
	return "sqlite:" + filepath.Join(t.TempDir(), "test.db")
}

// Postgres is the URL of a new database, dropped when the test ends.
func Postgres(t testing.TB) string {
	t.Helper()
	server := os.Getenv(Env)
	if server == "" {
		t.Skipf("skipped on PostgreSQL: %s names no server (make test brings its own)", Env)
	}
	u, err := url.Parse(server)
	if err != nil {
		t.Fatalf("%s is not a URL", Env)
	}
	admin := sql.OpenDB(pgdriver.NewConnector(pgdriver.WithDSN(server)))
	name := "t_" + strings.ToLower(rand.Text())
	if _, err := admin.Exec("CREATE DATABASE " + name); err != nil {
		t.Fatalf("create a test database: %v", err)
	}
	t.Cleanup(func() {
		if _, err := admin.Exec("DROP DATABASE " + name + " WITH (FORCE)"); err != nil {
			t.Errorf("drop the test database: %v", err)
		}
		_ = admin.Close()
	})
	u.Path = "/" + name
	return u.String()
}

// SetClock stops the database's clock at a time. Only PostgreSQL has one of its own; for SQLite it
// does nothing.
func SetClock(t testing.TB, storeURL string, now time.Time) {
	t.Helper()
	if strings.HasPrefix(storeURL, "sqlite:") {
		return
	}
	db := sql.OpenDB(pgdriver.NewConnector(pgdriver.WithDSN(storeURL)))
	defer func() { _ = db.Close() }()
	text := fmt.Sprintf("CREATE OR REPLACE FUNCTION pipehook_now() RETURNS BIGINT LANGUAGE sql VOLATILE PARALLEL SAFE AS 'SELECT %d::bigint'", now.UnixMicro())
	if _, err := db.Exec(text); err != nil {
		t.Fatalf("set the clock of the database: %v", err)
	}
}
