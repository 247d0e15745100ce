package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pipehook/pipehook/core"
)

// rules are what a row may see besides the usual.
type rules struct {
	statuses  map[int]bool      // that may be answered
	listeners []string          // that every event is delivered to
	unacked   bool              // some events were never acknowledged, by intent
	forgets   bool              // events whose deliveries have ended may be gone
	loses     bool              // results may be lost with the connection to the database
	mayMiss   bool              // events may lack deliveries that were not configured when they came
	strays    bool              // there are deliveries to listeners that come and go
	others    bool              // there are events that the ledger does not know
	several   bool              // processes: what they accept at the same instant has the order of the commits, which nobody can see
	also      func(s *stored)   // further checks
	skips     map[string]string // how a listener's reason to skip an event begins
}

// stored is the database after the end.
type stored struct {
	events     map[string]*storedEvent // by id
	bySum      map[[sha256.Size]byte]*storedEvent
	deliveries []storedDelivery
}

type storedEvent struct {
	seq    int64
	id     string
	object string
	sum    [sha256.Size]byte
	at     int64 // when it occurred
}

type storedDelivery struct {
	event             *storedEvent
	listener          string
	state             core.State
	attempts, crashes int
	replays           int
	turn              int64
	why               string
}

// verify holds the ledgers against the store. Nothing may run any more.
func (r *round) verify(ctx context.Context) (err error) {
	db, err := r.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := r.checkIntegrity(ctx, db); err != nil {
		return err
	}
	s, err := r.readStored(ctx, db)
	if err != nil {
		return err
	}
	r.checkLedger(s)
	r.countStates(r.checkDeliveries(s))
	r.checkRuns(s)
	if r.rules.also != nil {
		r.rules.also(s)
	}
	r.count("%d stored", len(s.events))
	return nil
}

func (r *round) readStored(ctx context.Context, db *sql.DB) (*stored, error) {
	s := &stored{events: map[string]*storedEvent{}, bySum: map[[sha256.Size]byte]*storedEvent{}}
	bySeq := map[int64]*storedEvent{}
	rows, err := db.QueryContext(ctx, "SELECT seq, id, object_id, occurred_at, body FROM events ORDER BY seq")
	err = each(rows, err, func(rows *sql.Rows) error {
		var e storedEvent
		var body []byte
		if err := rows.Scan(&e.seq, &e.id, &e.object, &e.at, &body); err != nil {
			return err
		}
		e.sum = sha256.Sum256(body)
		if first, twice := s.bySum[e.sum]; twice {
			r.fail("I3", "one event is stored as %s and as %s", first.id, e.id)
		}
		s.events[e.id], s.bySum[e.sum], bySeq[e.seq] = &e, &e, &e
		return nil
	})
	if err != nil {
		return nil, err
	}
	rows, err = db.QueryContext(ctx, "SELECT event_seq, listener, state, attempts, crashes, replays, turn, last_error FROM deliveries ORDER BY event_seq, listener")
	return s, each(rows, err, func(rows *sql.Rows) error {
		var d storedDelivery
		var seq int64
		if err := rows.Scan(&seq, &d.listener, &d.state, &d.attempts, &d.crashes, &d.replays, &d.turn, &d.why); err != nil {
			return err
		}
		if d.event = bySeq[seq]; d.event == nil {
			r.fail("I6", "a delivery to %s has no event", d.listener)
			return nil
		}
		s.deliveries = append(s.deliveries, d)
		return nil
	})
}

func each(rows *sql.Rows, err error, do func(*sql.Rows) error) error {
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // Err says it all
	for rows.Next() {
		if err := do(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

func scanInto(list *[]int) func(*sql.Rows) error {
	return func(rows *sql.Rows) error {
		var n int
		err := rows.Scan(&n)
		*list = append(*list, n)
		return err
	}
}

// checkIntegrity is I6.
func (r *round) checkIntegrity(ctx context.Context, db *sql.DB) error {
	if r.store == sqlite {
		rows, err := db.QueryContext(ctx, "PRAGMA integrity_check")
		err = each(rows, err, func(rows *sql.Rows) error {
			var line string
			err := rows.Scan(&line)
			if line != "ok" {
				r.fail("I6", "integrity_check: %s", line)
			}
			return err
		})
		if err != nil {
			return err
		}
	} else if _, err := db.ExecContext(ctx, "CREATE EXTENSION IF NOT EXISTS amcheck"); err == nil {
		_, err := db.ExecContext(ctx, "SELECT bt_index_check(c.oid, true) FROM pg_class c JOIN pg_am a ON a.oid = c.relam WHERE a.amname = 'btree' AND c.relkind = 'i' AND c.relnamespace = 'public'::regnamespace")
		if err != nil {
			r.fail("I6", "amcheck: %v", err)
		}
	}
	for what, query := range map[string]string{
		"attempts without their delivery":         "SELECT count(*) FROM attempts a WHERE NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.event_seq = a.event_seq AND d.listener = a.listener)",
		"events without a body":                   "SELECT count(*) FROM events WHERE body IS NULL",
		"ended deliveries without the time of it": "SELECT count(*) FROM deliveries WHERE state <> 0 AND finished_at = 0",
	} {
		var n int
		if err := db.QueryRowContext(ctx, query).Scan(&n); err != nil {
			return err
		}
		if n > 0 {
			r.fail("I6", "there are %d %s", n, what)
		}
	}
	now, err := schemaOf(ctx, db)
	if now != r.schema && r.schema != 0 {
		r.fail("I6", "the schema's version was %d and is %d", r.schema, now)
	}
	return err
}

// checkLedger is I1, the half of I3 that is about rows, and the half of I4 that is about accepting.
func (r *round) checkLedger(s *stored) {
	known := map[[sha256.Size]byte]bool{}
	accepted := map[int][]accepting{}
	open, spooled := 0, r.spooled()
	for _, e := range r.load.entries {
		at := r.storedOf(s, e, known)
		if e.id == "" {
			open++
			continue
		}
		switch {
		case at == nil && !r.rules.forgets:
			r.fail("I1", "event %s was acknowledged at %s and is not stored with the bytes that were sent", e.id, e.acked.Format(time.StampMicro))
			continue
		case at == nil:
			continue
		case at.id != e.id && (!spooled || e.tries == 1):
			r.fail("I1", "event %s was acknowledged and is stored as %s", e.id, at.id)
		case at.object != fmt.Sprint(e.record):
			r.fail("I6", "event %s is about record %d and is stored as about %s", e.id, e.record, at.object)
		}
		if e.record != shared && !e.copies {
			accepted[e.record] = append(accepted[e.record], accepting{e.first, true, at}, accepting{e.acked, false, at})
		}
	}
	for record, moments := range accepted {
		r.checkAccepting(record, moments)
	}
	for sum, e := range s.bySum {
		if !known[sum] && !r.rules.others {
			r.fail("I1", "event %s is stored, and nobody sent it so", e.id)
		}
	}
	if open > 0 && !r.rules.unacked {
		r.fail("I5", "%d events were never acknowledged", open)
	}
	r.count("%s", r.load.outcome())
}

// spooled reports whether events went to the spool. Then what is sent twice is answered with two
// ids, and stored under one of them.
func (r *round) spooled() bool {
	for _, v := range r.all() {
		if len(v.told("the store does not take events", "an earlier process left events")) > 0 {
			return true
		}
	}
	return false
}

// checkDeliveries is I2.
func (r *round) checkDeliveries(s *stored) (states map[core.State]int) {
	states = map[core.State]int{}
	listeners := map[string][]string{}
	for _, d := range s.deliveries {
		if r.rules.strays && !slices.Contains(r.rules.listeners, d.listener) {
			continue
		}
		states[d.state]++
		listeners[d.event.id] = append(listeners[d.event.id], d.listener)
		switch d.state {
		case core.Done, core.Dead, core.Quarantined:
		case core.Skipped:
			if why := r.rules.skips[d.listener]; why == "" || !strings.HasPrefix(d.why, why) {
				r.fail("I2", "event %s is skipped for %s: %q", d.event.id, d.listener, d.why)
			}
		default:
			r.fail("I2", "event %s is %s for %s after %d attempts", d.event.id, d.state, d.listener, d.attempts)
		}
	}
	for id := range s.events {
		if !slices.Equal(listeners[id], r.rules.listeners) && !r.rules.mayMiss {
			r.fail("I2", "event %s has deliveries to %v, not to %v", id, listeners[id], r.rules.listeners)
		}
	}
	return states
}

func (r *round) countStates(states map[core.State]int) {
	text := fmt.Sprintf("%d done", states[core.Done])
	for _, state := range []core.State{core.Dead, core.Quarantined, core.Skipped} {
		if n := states[state]; n > 0 {
			text += fmt.Sprintf(", %d %s", n, state)
		}
	}
	r.count("%s", text)
}

// checkRuns is the half of I2 that is about effects, the half of I3 that is about completions, and
// I4: it holds what the listeners did against what the store says of it.
func (r *round) checkRuns(s *stored) {
	lines := r.linesInTime()
	type key struct{ event, listener string }
	replayed := map[key]bool{}
	for _, d := range s.deliveries {
		replayed[key{d.event.id, d.listener}] = d.replays > 0
	}
	completed := map[key][]runLine{}
	o := newOrder(r, s)
	starts := 0
	for _, line := range lines {
		k := key{line.event, line.listener}
		o.see(line, replayed[k])
		switch line.kind {
		case '>':
			starts++
		case '<':
			if before := completed[k]; len(before) > 0 {
				r.again++
				r.checkAgain(before[len(before)-1], line, replayed[k])
			}
			completed[k] = append(completed[k], line)
		}
	}
	for _, d := range s.deliveries {
		if k := (key{d.event.id, d.listener}); d.state == core.Done && len(completed[k]) == 0 {
			r.fail("I2", "event %s is done for %s, which never completed it", d.event.id, d.listener)
		}
	}
	r.count("%d runs, %d again", starts, r.again)
}

// linesInTime are all lines, with the ends of processes and of their turns among them.
func (r *round) linesInTime() []runLine {
	lines := r.runs.said()
	for _, v := range r.victims {
		lines = append(lines, runLine{at: v.died, victim: v.number, kind: '+'})
		for _, f := range v.frozen {
			lines = append(lines, runLine{at: f[0], victim: v.number, kind: '+'})
		}
	}
	slices.SortStableFunc(lines, func(a, b runLine) int { return cmp.Compare(a.at.UnixNano(), b.at.UnixNano()) })
	return lines
}

// savedWithin is how long a result may wait for its transaction, on a disk that many share.
const savedWithin = 3 * time.Second

// checkAgain judges that an event was completed twice: only the end of the process that did it
// first, before its result was on disk, is a reason, or that one of them was frozen over it.
func (r *round) checkAgain(first, second runLine, replayed bool) {
	v := r.victims[first.victim]
	if replayed || r.rules.loses || v.frozeOver(first, savedWithin) || r.victims[second.victim].frozeOver(second, 0) {
		return
	}
	if first.victim == second.victim || v.clean {
		r.fail("I3", "event %s was completed twice for %s, by processes %d and %d, and the first did not die", first.event, first.listener, first.victim, second.victim)
	} else if late := v.died.Sub(first.at); late > savedWithin {
		r.fail("I3", "event %s was completed for %s %s before process %d died, and again", first.event, first.listener, late, first.victim)
	}
}
