package store

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"path"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/pipehook/pipehook/core/failpoint"
)

//go:embed migrations
var migrations embed.FS

const migrationTable = "pipehook_migrations"

// migrate brings the schema up to date. On PostgreSQL processes that start together wait for the
// first to finish; a SQLite file has one process only. It refuses a schema newer than it knows.
func migrate(ctx context.Context, db *sql.DB, dialect goose.Dialect) error {
	dir := map[goose.Dialect]string{goose.DialectSQLite3: "sqlite", goose.DialectPostgres: "postgres"}[dialect]
	files, err := fs.Sub(migrations, "migrations/"+dir)
	if err != nil {
		return err
	}
	opts := []goose.ProviderOption{goose.WithTableName(migrationTable), goose.WithDisableGlobalRegistry(true)}
	if dialect == goose.DialectPostgres {
		// Who waits for another's migration looks every second, for five minutes: goose's own five seconds
		// keep the third of three processes that start together away for ten.
		locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 300))
		if err != nil {
			return err
		}
		opts = append(opts, goose.WithSessionLocker(locker))
	}
	provider, err := goose.NewProvider(dialect, db, steps{files}, opts...)
	if err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	have, err := provider.GetDBVersion(ctx)
	if err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	sources := provider.ListSources()
	if known := sources[len(sources)-1].Version; have > known {
		return invalid("the database has schema version %d, this pipehook knows %d: run the newer pipehook, or restore a backup", have, known)
	}
	return nil
}

// steps are the files of migrations, each of which is opened when its turn has come.
type steps struct{ fs.FS }

func (s steps) Open(name string) (fs.File, error) {
	if path.Ext(name) == ".sql" {
		failpoint.Pass(failpoint.Migration)
	}
	return s.FS.Open(name)
}
