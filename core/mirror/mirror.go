// Package mirror keeps local tables in step with Pipedrive: by the events that webhooks bring, by reading all
// there is, and by comparing the two. It asks the API through core/pipedrive and knows no HTTP.
package mirror

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/database"
	"github.com/pipehook/pipehook/core/pipedrive/shape"
)

// Options are what Open needs. URL is "sqlite:PATH" or "postgres://…".
type Options struct {
	URL     string
	Objects []string                   // that are kept; empty for all
	Fields  func() *shape.Fields       // the definitions of the fields as they are now; nil for none
	Name    func(ev *core.Event) error // names an event as its source does; nil where no stage says anything of events
	Log     *slog.Logger
	Now     func() time.Time // nil for time.Now

	// Away lets Open succeed while PostgreSQL can't be reached. Until it can, everything fails.
	Away bool
}

// Mirror are the tables. Its methods may be called from many goroutines, and from many processes that have the same tables.
type Mirror struct {
	opts    Options
	loc     database.Location
	dialect dialect
	db      *sql.DB // writes
	reader  *sql.DB
	kept    map[string]bool

	ready   atomic.Bool
	prepare sync.Mutex
	texts   map[string]*texts

	company atomic.Pointer[string] // see owner
}

const (
	pgTimeout = 10 * time.Second // of one statement, as the server and the socket see it
	pgPool    = 4
)

// Open connects and brings the tables up to date. Many processes may have them open. Close releases them.
func Open(ctx context.Context, opts Options) (*Mirror, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	kept, err := keep(opts.Objects)
	if err != nil {
		return nil, err
	}
	loc, err := database.Parse("pipedrive.sync.database", opts.URL)
	if err != nil {
		return nil, err
	}
	m := &Mirror{opts: opts, loc: loc, kept: kept}
	if loc.SQLite {
		err = m.openSQLite()
	} else {
		m.dialect = postgresDialect
		err = m.openPostgres()
	}
	if err == nil {
		m.texts = m.dialect.texts()
		if err = m.prepared(ctx); err != nil && opts.Away && m.unreachable(err) {
			opts.Log.Error("the database of the local tables can't be reached; trying again when they are needed", "database", loc.Shown, "err", err)
			err = nil
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("local tables %s: %w", loc.Shown, err), m.Close())
	}
	return m, nil
}

// awayMsg is said when there is nobody to be asked.
const awayMsg = "the local tables can't be reached"

func keep(objects []string) (map[string]bool, error) {
	kept := map[string]bool{}
	for _, name := range objects {
		if tables[name] == nil {
			return nil, &core.Error{Kind: core.Invalid, Msg: fmt.Sprintf("pipedrive.sync.objects: there is no object %q", name)}
		}
		kept[name] = true
	}
	if len(objects) == 0 {
		for _, o := range shape.Objects() {
			kept[o.Name] = true
		}
	}
	return kept, nil
}

func (m *Mirror) openSQLite() error {
	if err := os.MkdirAll(filepath.Dir(m.loc.Path), 0o750); err != nil {
		return err
	}
	if err := database.Own(m.loc.Path); err != nil {
		return err
	}
	var err error
	if m.db, err = database.SQLite(m.loc.Path, "page_size(8192)", "journal_mode(WAL)", "synchronous(FULL)", "cache_size(-16384)"); err != nil {
		return err
	}
	m.db.SetMaxOpenConns(1)
	if m.reader, err = database.SQLite(m.loc.Path, "query_only(1)", "cache_size(-4096)"); err != nil {
		return err
	}
	m.reader.SetMaxOpenConns(2)
	return nil
}

func (m *Mirror) openPostgres() error {
	var err error
	if m.db, err = m.loc.Postgres(pgTimeout, nil); err != nil {
		return err
	}
	m.db.SetMaxOpenConns(pgPool)
	m.db.SetMaxIdleConns(pgPool)
	m.reader = m.db
	return nil
}

// prepared brings the tables up to date, once.
func (m *Mirror) prepared(ctx context.Context) error {
	if m.ready.Load() {
		return nil
	}
	m.prepare.Lock()
	defer m.prepare.Unlock()
	if m.ready.Load() {
		return nil
	}
	db := m.db
	if !m.loc.SQLite { // it may wait for another process's migration
		var err error
		if db, err = m.loc.Postgres(0, nil); err != nil {
			return err
		}
		defer func() { _ = db.Close() }()
	}
	if err := m.dialect.migrate(ctx, db); err != nil {
		return err
	}
	m.ready.Store(true)
	return nil
}

// Objects are the names of the objects that are kept, in the order of shape.Objects.
func (m *Mirror) Objects() []string {
	var all []string
	for _, o := range shape.Objects() {
		if m.kept[o.Name] {
			all = append(all, o.Name)
		}
	}
	return all
}

// Close releases the tables. It is safe twice, but not while anything else is called.
func (m *Mirror) Close() error {
	var errs []error
	for _, db := range []*sql.DB{m.reader, m.db} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(errs...)
}

// unreachable reports whether the database can't be asked now, so that waiting helps.
func (m *Mirror) unreachable(err error) bool { return !m.loc.SQLite && database.Unreachable(err) }

// refusal tells what the database will never take from a database that takes nothing now.
func (m *Mirror) refusal(err error) error {
	switch {
	case err == nil:
		return nil
	case core.KindOf(err) != core.Internal:
		return err
	case database.Hopeless(err):
		return &core.Error{Kind: core.Permanent, Msg: "the local tables can't hold it", Err: err}
	case m.unreachable(err):
		return &core.Error{Kind: core.Unavailable, Msg: awayMsg, Err: err}
	}
	return &core.Error{Kind: core.Unavailable, Msg: "the local tables could not be used", Err: err}
}

func (m *Mirror) fields() *shape.Fields {
	if m.opts.Fields == nil {
		return nil
	}
	return m.opts.Fields()
}
