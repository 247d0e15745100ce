package main

import (
	"errors"
	"net/url"
	"regexp"

	"github.com/uptrace/bun/driver/pgdriver"
)

// table is what create = true makes. A record that was deleted keeps a row, without which an older event
// that comes late would bring it back.
const table = `CREATE TABLE IF NOT EXISTS %s (
	object      text        NOT NULL,
	id          text        NOT NULL,
	data        jsonb,
	deleted     boolean     NOT NULL,
	occurred_at timestamptz NOT NULL,
	event       text COLLATE "C" NOT NULL,
	PRIMARY KEY (object, id)
)`

// statement writes the row, if it does not come from a newer event. Of two that occurred at the same time,
// as far as the sender says, the one that was received later has the greater id.
const statement = `INSERT INTO %s AS r (object, id, data, deleted, occurred_at, event)
VALUES ($1, $2, $3::jsonb, $4, $5, $6)
ON CONFLICT (object, id) DO UPDATE
SET data = excluded.data, deleted = excluded.deleted, occurred_at = excluded.occurred_at, event = excluded.event
WHERE (r.occurred_at, r.event) <= (excluded.occurred_at, excluded.event)`

// isTable keeps what stands in the statements as it is from being more than a name.
var isTable = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}(\.[a-z_][a-z0-9_]{0,62})?$`)

// connector reads the address of the server. Its errors, which are logged, hold nothing of it.
func connector(dsn string) (c *pgdriver.Connector, err error) {
	const form = "postgres://user:password@host:5432/database?sslmode=verify-full"
	u, err := url.Parse(dsn)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return nil, errors.New("is no address of PostgreSQL: it must be as " + form)
	}
	if !u.Query().Has("sslmode") { // the driver would then take any certificate, and not say so
		return nil, errors.New("must say sslmode: verify-full, or disable where nobody can listen")
	}
	defer func() {
		if recover() != nil { // what the driver does about options that it does not know, with their values
			err = errors.New("has an option that can't be used: look at sslmode, the files of certificates, and time-outs")
		}
	}()
	return pgdriver.NewConnector(
		pgdriver.WithDSN(dsn),
		pgdriver.WithApplicationName("pipehook"),
		pgdriver.WithBufferSize(64<<10), // an error that does not fit is lost
	), nil
}
