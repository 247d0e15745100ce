package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect"
)

// kvReader reads the entries of either database.
type kvReader struct {
	db  *bun.DB
	now func() time.Time // SQLite's clock
}

func (r kvReader) sqlite() bool { return r.db.Dialect().Name() == dialect.SQLite }

// KVGet is the entry of a script under the key, if there is one; see Store.KVGet.
func (r *Reader) KVGet(ctx context.Context, script, key string) (KVEntry, bool, error) {
	return kvReader{r.db, time.Now}.get(ctx, script, key)
}

// KVList is a page of a script's entries; see Store.KVList.
func (r *Reader) KVList(ctx context.Context, script string, rng KVRange) (entries []KVEntry, more bool, err error) {
	return kvReader{r.db, time.Now}.list(ctx, script, rng)
}

// KVScripts are the scripts that remember something; "" among them stands for what all share.
func (r *Reader) KVScripts(ctx context.Context) ([]string, error) {
	var names []string
	if err := r.db.NewSelect().Distinct().Table("kv").Column("script").Order("script").Scan(ctx, &names); err != nil {
		return nil, fmt.Errorf("kv: %w", err)
	}
	return names, nil
}

// A connection to PostgreSQL that ends in the middle looks to database/sql like the end of the rows.
// So there is always a row, and it says how many there are.
const (
	kvGetSQLite   = "SELECT value, version, expires_at FROM kv WHERE script = ? AND key = ? AND (expires_at = 0 OR expires_at > ?)"
	kvGetPostgres = `SELECT k.value, coalesce(k.version, 0), coalesce(k.expires_at, 0) FROM (SELECT 1) one
		LEFT JOIN kv k ON k.script = $1 AND k.key = $2 AND (k.expires_at = 0 OR k.expires_at > pipehook_now())`

	kvListSQLite = `SELECT key, value, version, expires_at FROM kv
		WHERE script = ? AND key > ? AND key >= ? AND (? = '' OR key < ?) AND (expires_at = 0 OR expires_at > ?) ORDER BY key LIMIT ?`
	kvListPostgres = `WITH page AS MATERIALIZED (
			SELECT key, value, version, expires_at, octet_length(value) AS size FROM kv
			WHERE script = $1 AND key > $2 AND key >= $3 AND ($4 = '' OR key < $4) AND (expires_at = 0 OR expires_at > pipehook_now())
			ORDER BY key LIMIT $5
		), sized AS (SELECT *, count(*) OVER () AS found, sum(size) OVER (ORDER BY key) - size AS before FROM page
		), shown AS (SELECT key, value, version, expires_at, found, count(*) OVER () AS n FROM sized WHERE before < $6)
		SELECT coalesce(s.key, ''), s.value, coalesce(s.version, 0), coalesce(s.expires_at, 0), coalesce(s.found, 0), coalesce(s.n, 0)
		FROM (SELECT 1) one LEFT JOIN shown s ON true ORDER BY s.key`

	kvCountSQLite   = "SELECT count(*) FROM (SELECT 1 FROM kv WHERE script = ? AND (expires_at = 0 OR expires_at > ?) LIMIT ?)"
	kvCountPostgres = "SELECT count(*) FROM (SELECT 1 FROM kv WHERE script = $1 AND (expires_at = 0 OR expires_at > pipehook_now()) LIMIT $2) k"
)

func (r kvReader) get(ctx context.Context, script, key string) (KVEntry, bool, error) {
	if err := checkKey(key); err != nil {
		return KVEntry{}, false, err
	}
	query, args := kvGetPostgres, []any{script, key}
	if r.sqlite() {
		query, args = kvGetSQLite, append(args, r.now().UnixMicro())
	}
	e := KVEntry{Key: key}
	var version, expires int64
	err := r.db.DB.QueryRowContext(ctx, query, args...).Scan(&e.Value, &version, &expires)
	if errors.Is(err, sql.ErrNoRows) {
		if r.sqlite() {
			return KVEntry{}, false, nil
		}
		err = errNoAnswer
	}
	if err != nil {
		return KVEntry{}, false, kvAway(err)
	}
	e.Version, e.Expires = strconv.FormatInt(version, 10), fromMicros(expires)
	return e, version != 0, nil
}

func (r kvReader) list(ctx context.Context, script string, rng KVRange) (entries []KVEntry, more bool, err error) {
	for _, text := range []string{rng.Prefix, rng.After} {
		if err := checkKeyText(text); err != nil {
			return nil, false, err
		}
	}
	if rng.Limit <= 0 || rng.Limit > KVMaxPage {
		rng.Limit = KVMaxPage
	}
	if r.sqlite() {
		entries, more, err = r.listSQLite(ctx, script, rng)
	} else {
		entries, more, err = r.listPostgres(ctx, script, rng)
	}
	if err != nil {
		return nil, false, kvAway(err)
	}
	return entries, more, nil
}

func (r kvReader) listSQLite(ctx context.Context, script string, rng KVRange) (entries []KVEntry, more bool, err error) {
	end := afterPrefix(rng.Prefix)
	rows, err := r.db.DB.QueryContext(ctx, kvListSQLite, script, rng.After, rng.Prefix, end, end, r.now().UnixMicro(), rng.Limit+1)
	if err != nil {
		return nil, false, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for bytes := 0; rows.Next(); {
		if len(entries) == rng.Limit || bytes >= kvPageBytes {
			return entries, true, nil
		}
		e, err := scanKV(rows.Scan)
		if err != nil {
			return nil, false, err
		}
		entries = append(entries, e)
		bytes += len(e.Value)
	}
	return entries, false, rows.Err()
}

func (r kvReader) listPostgres(ctx context.Context, script string, rng KVRange) (entries []KVEntry, more bool, err error) {
	rows, err := r.db.DB.QueryContext(ctx, kvListPostgres, script, rng.After, rng.Prefix, afterPrefix(rng.Prefix), rng.Limit+1, kvPageBytes)
	if err != nil {
		return nil, false, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	found, n, read := 0, 0, 0
	for ; rows.Next(); read++ {
		e, err := scanKV(rows.Scan, &found, &n)
		if err != nil {
			return nil, false, err
		}
		entries = append(entries, e)
	}
	switch {
	case rows.Err() != nil:
		return nil, false, rows.Err()
	case read == 0 || n > 0 && read != n:
		return nil, false, errNoAnswer
	case n == 0:
		return nil, false, nil
	}
	if len(entries) > rng.Limit {
		entries = entries[:rng.Limit]
	}
	return entries, len(entries) < found, nil
}

func scanKV(scan func(...any) error, more ...any) (KVEntry, error) {
	var e KVEntry
	var version, expires int64
	err := scan(append([]any{&e.Key, &e.Value, &version, &expires}, more...)...)
	e.Version, e.Expires = strconv.FormatInt(version, 10), fromMicros(expires)
	return e, err
}

// count is how many entries a script has, at most so many.
func (r kvReader) count(ctx context.Context, script string, most int) (n int, err error) {
	query, args := kvCountPostgres, []any{script}
	if r.sqlite() {
		query, args = kvCountSQLite, append(args, r.now().UnixMicro())
	}
	if err := r.db.DB.QueryRowContext(ctx, query, append(args, most)...).Scan(&n); err != nil {
		return 0, kvAway(err)
	}
	return n, nil
}

// afterPrefix is the first key behind all that begin so, "" when there is none. It must be text, so the
// last character that has a next one is replaced by that; UTF-8's bytes are in the order of its characters.
func afterPrefix(prefix string) string {
	for prefix != "" {
		r, size := utf8.DecodeLastRuneInString(prefix)
		prefix = prefix[:len(prefix)-size]
		if r++; r == 0xD800 {
			r = 0xE000 // behind what is no character
		}
		if r <= utf8.MaxRune {
			return prefix + string(r)
		}
	}
	return ""
}
