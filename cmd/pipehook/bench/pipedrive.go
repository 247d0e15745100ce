package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"math/rand"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/mirror"
	"github.com/pipehook/pipehook/core/pipedrive/simulate"
	source "github.com/pipehook/pipehook/core/source/pipedrive"
)

// changedRecords is of how many records the stored events are.
const changedRecords = 5000

// pipedrive measures the local tables of Pipedrive's records: how fast they follow, are filled and are compared.
func (b *bench) pipedrive(ctx context.Context, stores []string) error {
	if err := b.following(ctx, stores); err != nil {
		return err
	}
	all, err := newStandIn(b.records, 0)
	if err != nil {
		return err
	}
	defer all.close()
	if err := b.fills(ctx, stores, all); err != nil {
		return err
	}
	return b.compared(ctx, stores, all)
}

// following measures how fast tables take what waits on disk, beside a program that guards nothing.
func (b *bench) following(ctx context.Context, stores []string) error {
	bodies, err := webhooks(b.changes)
	if err != nil {
		return err
	}
	total := 0
	for _, body := range bodies {
		total += len(body)
	}
	fmt.Printf("\n%-44s %9s %9s %9s %9s %9s %9s\n", fmt.Sprintf("%d events, %.1f kB each, of %d records", len(bodies), float64(total)/float64(len(bodies))/1e3, changedRecords),
		"bare/s", "tables/s", "of bare", "CPU µs", "allocs", "RSS MB")
	for _, store := range stores {
		if err := b.follow(ctx, store, bodies); err != nil {
			return fmt.Errorf("%s: %w", store, err)
		}
	}
	return nil
}

// webhooks are bodies as the stand-in sends them while people work with its records.
func webhooks(n int) ([][]byte, error) {
	now := time.Now().Add(-time.Duration(n) * time.Second)
	crm := simulate.New(simulate.Options{Token: apiToken, Seed: 1, Now: func() time.Time { return now }}).CRM()
	random := rand.New(rand.NewSource(1))
	if err := crm.Fill(random, changedRecords); err != nil {
		return nil, err
	}
	var bodies [][]byte
	hook := simulate.Subscription{ID: 1, CompanyID: 8087566, OwnerID: 1001, UserID: 1001, Version: "2.0", Type: "general"}
	account := simulate.Account{CompanyID: 8087566, Host: "company.pipedrive.com", Fields: crm.Fields}
	crm.OnChange(func(ch simulate.Change) {
		bodies = append(bodies, simulate.BodyV2(ch, hook, &account, simulate.Send{Event: fmt.Sprint("event ", len(bodies)), Attempt: 1}))
	})
	mix := simulate.Mix{Create: 4, Update: 90, Delete: 4, Merge: 2, Objects: []string{"organization", "person", "deal", "deal", "lead", "activity", "activity", "note", "product"}}
	for len(bodies) < n {
		now = now.Add(time.Second)
		if _, err := crm.Act(random, 1, mix); err != nil {
			return nil, err
		}
	}
	return bodies[:n], nil
}

func (b *bench) follow(ctx context.Context, store string, bodies [][]byte) error {
	url, db, err := b.empty(store)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }() // it is read only
	if err := prepare(ctx, url); err != nil {
		return err
	}
	if err := b.keep(ctx, url, store, bodies); err != nil {
		return err
	}
	tables, err := b.tables(ctx, store)
	if err != nil {
		return err
	}
	bare, err := b.bareTables(ctx, store, bodies)
	if err != nil {
		return fmt.Errorf("the bare program: %w", err)
	}
	start := time.Now()
	p, err := b.engine(ctx, url, "tables:record:"+tablesWhat+tables)
	if err != nil {
		return err
	}
	defer p.stop()
	var before, after memory
	if err := p.asks(ctx, "/memory", &before); err != nil {
		return err
	}
	if err := delivered(ctx, db, len(bodies)); err != nil {
		return err
	}
	rate, cpu := float64(len(bodies))/time.Since(start).Seconds(), p.cpu()/time.Duration(len(bodies))
	if err := p.asks(ctx, "/memory", &after); err != nil {
		return err
	}
	aim := "no aim" // what the bare program comes to bounds it
	if store == "sqlite" {
		aim = "aim: at least 5000/s: " + verdict(rate >= 5000)
	}
	fmt.Printf("%-44s %9.0f %9.0f %8.0f%% %9.0f %9.0f %9.0f   (%s)\n", label(store), bare, rate, 100*rate/bare, us(cpu),
		float64(after.Mallocs-before.Mallocs)/float64(len(bodies)), float64(p.peakRSS())/1e6, aim)
	return nil
}

// tables are new ones.
func (b *bench) tables(ctx context.Context, store string) (string, error) {
	url, db, err := b.empty(store)
	if err != nil {
		return "", err
	}
	if err := db.Close(); err != nil {
		return "", err
	}
	m, err := mirror.Open(ctx, mirror.Options{URL: url}) // for the schema
	if err != nil {
		return "", err
	}
	return url, m.Close()
}

// delivered waits until all have succeeded.
func delivered(ctx context.Context, db *sql.DB, n int) error {
	if err := nothingWaits(ctx, db); err != nil {
		return err
	}
	var done int
	err := db.QueryRowContext(ctx, "SELECT count(*) FROM deliveries WHERE listener = 'tables' AND state = 1").Scan(&done)
	if err == nil && done != n {
		err = fmt.Errorf("FAIL: %d of %d were handled", done, n)
	}
	return err
}

func nothingWaits(ctx context.Context, db *sql.DB) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for waiting := true; waiting; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := db.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM deliveries WHERE listener = 'tables' AND state = 0)").Scan(&waiting); err != nil {
			return err
		}
	}
	return nil
}

// keep stores events, each with a pending delivery to the tables.
func (b *bench) keep(ctx context.Context, url, store string, bodies [][]byte) error {
	db, err := b.writable(url, store)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	events := "INSERT INTO events (seq, id, pipeline, source, action, object, object_id, occurred_at, received_at, dedupe_key, remote, header, trace, body) "
	if store == "postgres" {
		events += "OVERRIDING SYSTEM VALUE "
	}
	now := time.Now().UnixMicro()
	const atATime = 500
	for from := 0; from < len(bodies); from += atATime {
		var values, pending []any
		some := bodies[from:min(from+atATime, len(bodies))]
		for i, body := range some {
			ev := core.Event{Source: "pipedrive", Body: body}
			if err := (source.Source{}).Name(&ev); err != nil {
				return err
			}
			seq := int64(from + i + 1)
			values = append(values, seq, fmt.Sprint("event ", seq), ev.Action, ev.Object, ev.ObjectID, ev.OccurredAt.UnixMicro(), now, body)
			pending = append(pending, seq, now, seq, ev.Record())
		}
		_, err := db.ExecContext(ctx, events+"VALUES "+rows(store, len(some), "(?, ?, 'bench', 'pipedrive', ?, ?, ?, ?, ?, NULL, '', '{}', '', ?)"), values...)
		if err != nil {
			return err
		}
		_, err = db.ExecContext(ctx, "INSERT INTO deliveries (event_seq, listener, state, attempts, next_at, turn, record) VALUES "+rows(store, len(some), "(?, 'tables', 0, 0, ?, ?, ?)"), pending...)
		if err != nil {
			return err
		}
	}
	if store == "postgres" {
		for _, statement := range []string{fmt.Sprintf("SELECT setval(pg_get_serial_sequence('events', 'seq'), %d)", len(bodies)), "ANALYZE events", "ANALYZE deliveries"} {
			if _, err := db.ExecContext(ctx, statement); err != nil {
				return err
			}
		}
	}
	return nil
}

// rows is a row of VALUES n times, as the database takes its question marks.
func rows(store string, n int, row string) string {
	all := strings.TrimSuffix(strings.Repeat(row+", ", n), ", ")
	if store != "postgres" {
		return all
	}
	return numbered(all)
}

func numbered(query string) string {
	var out strings.Builder
	n := 0
	for _, r := range query {
		if r != '?' {
			out.WriteRune(r)
			continue
		}
		n++
		fmt.Fprintf(&out, "$%d", n)
	}
	return out.String()
}

// bareTables writes what the bodies say with one prepared statement, a batch in a transaction: it decodes them and guards
// nothing, its table has no index but its key, and it reads the bodies from memory.
func (b *bench) bareTables(ctx context.Context, store string, bodies [][]byte) (rate float64, err error) {
	url, err := b.tables(ctx, store)
	if err != nil {
		return 0, err
	}
	db, err := b.durable(url, store)
	if err != nil {
		return 0, err
	}
	defer func() { _ = db.Close() }()
	document, upsert := "TEXT", "INSERT INTO bare (id, update_time, data) VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET update_time = excluded.update_time, data = excluded.data"
	if store == "postgres" {
		document, upsert = "JSONB", numbered(upsert)
	}
	if _, err := db.ExecContext(ctx, "CREATE TABLE bare (id TEXT PRIMARY KEY, update_time TEXT, data "+document+")"); err != nil {
		return 0, err
	}
	statement, err := db.PrepareContext(ctx, upsert)
	if err != nil {
		return 0, err
	}
	start := time.Now()
	batch := (*mirror.Mirror)(nil).Bulk()
	for from := 0; from < len(bodies); from += batch {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return 0, err
		}
		for _, body := range bodies[from:min(from+batch, len(bodies))] {
			if err := bareWrite(ctx, tx.StmtContext(ctx, statement), body); err != nil {
				return 0, err
			}
		}
		if err := tx.Commit(); err != nil {
			return 0, err
		}
	}
	return float64(len(bodies)) / time.Since(start).Seconds(), statement.Close()
}

func bareWrite(ctx context.Context, statement *sql.Stmt, body []byte) error {
	var hook struct {
		Data, Previous map[string]any
		Meta           struct {
			Entity string `json:"entity"`
			ID     string `json:"entity_id"`
		}
	}
	if err := json.Unmarshal(body, &hook); err != nil {
		return err
	}
	values := hook.Data
	if values == nil {
		values = hook.Previous
	}
	text, err := json.Marshal(values)
	if err != nil {
		return err
	}
	_, err = statement.ExecContext(ctx, hook.Meta.Entity+" "+hook.Meta.ID, gjson.GetBytes(text, "update_time").Str, string(text))
	return err
}

// durable opens tables as pipehook does: what is committed is on disk.
func (b *bench) durable(url, store string) (*sql.DB, error) {
	if store != "sqlite" {
		return b.writable(url, store)
	}
	db, err := sql.Open("sqlite", "file:"+strings.TrimPrefix(url, "sqlite:")+"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
	if err == nil {
		db.SetMaxOpenConns(1)
	}
	return db, err
}
