package mirror

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/pipedrive/shape"
)

// migrationTable is not that of the store, so that both may live in one database.
const migrationTable = "pipedrive_migrations"

// sqlTypes are the columns' types in SQLite and PostgreSQL.
var sqlTypes = [...][2]string{
	number:  {"INTEGER", "BIGINT"},
	decimal: {"NUMERIC", "NUMERIC"},
	text:    {"TEXT", "TEXT"},
	flag:    {"BOOLEAN", "BOOLEAN"},
	date:    {"TEXT", "DATE"},
	moment:  {"TEXT", "TIMESTAMPTZ"},
	list:    {"TEXT", "JSONB"},
}

// dialect is 0 for SQLite and 1 for PostgreSQL.
type dialect int

const (
	sqliteDialect dialect = iota
	postgresDialect
)

func (d dialect) typeOf(k kind) string { return sqlTypes[k][d] }

// Schema is the SQL that makes all tables, as it reads on PostgreSQL or on SQLite.
func Schema(postgres bool) string {
	d := sqliteDialect
	if postgres {
		d = postgresDialect
	}
	return strings.Join(d.schema(), "\n\n") + "\n"
}

func (d dialect) schema() []string {
	var all []string
	for _, o := range shape.Objects() {
		all = append(all, d.create(tables[o.Name])...)
	}
	bytesType := [...]string{"BLOB", "BYTEA"}[d]
	return append(all,
		`CREATE TABLE pipedrive_merges (
    object    TEXT NOT NULL,
    loser     TEXT NOT NULL,
    survivor  TEXT NOT NULL,
    merged_at `+d.typeOf(moment)+`,
    event_id  TEXT NOT NULL,
    moved     `+d.typeOf(list)+` NOT NULL,
    PRIMARY KEY (object, loser)
);`,
		`CREATE TABLE pipedrive_sync_state (
    name       TEXT PRIMARY KEY,
    value      `+bytesType+` NOT NULL,
    changed_at `+d.typeOf(moment)+` NOT NULL
);`)
}

func (d dialect) create(t *table) []string {
	var b strings.Builder
	fmt.Fprintf(&b, "CREATE TABLE %s (\n    id %s PRIMARY KEY", t.name, d.typeOf(t.id))
	var indexes []string
	for _, c := range append(t.columns[:len(t.columns):len(t.columns)], common...) {
		fmt.Fprintf(&b, ",\n    %s %s", c.name, d.typeOf(c.kind))
		switch c.name {
		case "data", "learned_from", "event_id", "stored_at", "changed_at":
			b.WriteString(" NOT NULL")
		}
		if c.index {
			indexes = append(indexes, fmt.Sprintf("CREATE INDEX %s_%s ON %s (%s);", t.name, c.name, t.name, c.name))
		}
	}
	b.WriteString("\n);")
	return append([]string{b.String()}, indexes...)
}

// migrate brings the schema up to date. Processes that start together on PostgreSQL wait for the first to
// finish; on SQLite those behind it fail once it has, and then find nothing to do. It refuses a schema newer than it knows.
func (d dialect) migrate(ctx context.Context, db *sql.DB) error {
	opts := []goose.ProviderOption{
		goose.WithTableName(migrationTable), goose.WithDisableGlobalRegistry(true),
		goose.WithGoMigrations(goose.NewGoMigration(1, &goose.GoFunc{RunTx: d.first}, nil)),
	}
	kind := goose.DialectSQLite3
	if d == postgresDialect {
		kind = goose.DialectPostgres
		locker, err := lock.NewPostgresSessionLocker(lock.WithLockID(migrationLock), lock.WithLockTimeout(1, 300))
		if err != nil {
			return err
		}
		opts = append(opts, goose.WithSessionLocker(locker))
	}
	provider, err := goose.NewProvider(kind, db, nil, opts...)
	if err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	_, err = provider.Up(ctx)
	for tries := 0; err != nil && d == sqliteDialect && tries < 3 && ctx.Err() == nil; tries++ {
		_, err = provider.Up(ctx)
	}
	if err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	have, err := provider.GetDBVersion(ctx)
	if err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	sources := provider.ListSources()
	if known := sources[len(sources)-1].Version; have > known {
		return &core.Error{Kind: core.Invalid, Msg: fmt.Sprintf("the tables have schema version %d, this pipehook knows %d: run the newer pipehook, or restore a backup", have, known)}
	}
	return nil
}

// The numbers of the locks on PostgreSQL that all processes with the same tables share.
const (
	migrationLock = 0x70697065_6d6967
	applyLock     = 0x70697065_617070
)

func (d dialect) first(ctx context.Context, tx *sql.Tx) error {
	for _, statement := range d.schema() {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}
