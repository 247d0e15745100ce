// Command pgupsert is an example of a listener with a driver: it keeps a table of PostgreSQL at what the
// records are now, one row for each. Events may come twice, late and in any order: the row is what the
// newest of them says.
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/uptrace/bun/driver/pgdriver"

	"github.com/pipehook/pipehook/plugins/sdk"
)

func main() {
	u := &upsert{Table: "records", Connections: 4}
	sdk.Serve(sdk.Plugin{Name: "pgupsert", Version: "1.0.0", Config: u, Listener: u})
}

// upsert is the configuration and the listener in one. The server's address, with the password in it,
// is the secret dsn.
type upsert struct {
	Table       string `json:"table"`                                // its name, or schema.name
	Create      bool   `json:"create"`                               // the table, when it is not there
	Connections int    `json:"connections" validate:"min=1,max=100"` // at most; more than the listener's concurrency are of no use

	host      *sdk.Host
	db        *sql.DB
	statement string
}

// Start looks at the configuration and connects. What the server says is no mistake of pipeline.toml:
// the start is tried again, and events wait.
func (u *upsert) Start(ctx context.Context, host *sdk.Host) error {
	u.host = host
	if !isTable.MatchString(u.Table) {
		return sdk.Wrong("table", "must be a name of a-z, 0-9 and _, or schema.name")
	}
	dsn, err := host.NeedSecret("dsn")
	if err != nil {
		return err
	}
	connector, err := connector(dsn)
	if err != nil {
		return sdk.WrongSecret("dsn", err.Error())
	}
	u.db = sql.OpenDB(connector)
	u.db.SetMaxOpenConns(u.Connections)
	u.db.SetMaxIdleConns(u.Connections)
	u.db.SetConnMaxLifetime(30 * time.Minute)
	if err := u.prepare(ctx); err != nil {
		return errors.Join(fmt.Errorf("the table %s: %w", u.Table, err), u.db.Close())
	}
	return nil
}

// prepare has the table there, or says that it is not.
func (u *upsert) prepare(ctx context.Context) error {
	u.statement = fmt.Sprintf(statement, u.Table)
	if u.Create {
		_, err := u.db.ExecContext(ctx, fmt.Sprintf(table, u.Table))
		return err
	}
	_, err := u.db.ExecContext(ctx, "SELECT object, id, data, deleted, occurred_at, event FROM "+u.Table+" LIMIT 0")
	return err
}

// Stop is called when no event is handled any more.
func (u *upsert) Stop(context.Context) error { return u.db.Close() }

// Handle has the event in the table when it returns, unless the table knows of a newer one.
func (u *upsert) Handle(ctx context.Context, ev sdk.Event) error {
	if ev.ObjectID == "" {
		return sdk.Permanent(errors.New("the event does not say which record it is about"))
	}
	var data any // NULL, for a record that was deleted
	if !ev.IsDelete() {
		if ev.Current == nil { // nothing is said of how the record is now
			u.host.Count("skipped", 1)
			return nil
		}
		data = string(ev.Current)
	}
	result, err := u.db.ExecContext(ctx, u.statement, ev.Object, ev.ObjectID, data, ev.IsDelete(), occurred(ev), ev.ID)
	if err != nil {
		return judged(err)
	}
	if n, err := result.RowsAffected(); err == nil && n == 0 {
		u.host.Count("outdated", 1)
		return nil
	}
	u.host.Count("written", 1)
	return nil
}

// occurred is the time that events of a record are compared by.
func occurred(ev sdk.Event) time.Time {
	if ev.OccurredAt.IsZero() {
		return ev.ReceivedAt
	}
	return ev.OccurredAt
}

// judged says whether another attempt could help. What is wrong with a table or a role somebody may put
// right; a value that the server can't take stays what it is.
func judged(err error) error {
	failure, ok := errors.AsType[pgdriver.Error](err)
	if !ok {
		return err // the connection: for all that we know, it was done, and doing it again is harmless
	}
	code := failure.Field('C') // see Appendix A of PostgreSQL's manual
	switch {
	case strings.HasPrefix(code, "22"), strings.HasPrefix(code, "23"), strings.HasPrefix(code, "54"):
		return sdk.Permanent(err)
	case strings.HasPrefix(code, "53"), code == "57P03": // it has no room, or has not started
		return sdk.RetryAfter(30*time.Second, err)
	}
	return err
}
