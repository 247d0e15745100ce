package main

import (
	"crypto/sha256"
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core/store"
)

// A verifier that finds nothing is worth nothing unless it finds what is there.
func TestTheVerifierFindsWhatIsWrong(t *testing.T) {
	tests := []struct {
		name, invariant string
		sql             string         // done to the store
		do              func(r *round) // done to the ledgers
	}{
		{name: "nothing is wrong"},
		{name: "an acknowledged event is gone", invariant: "I1", sql: "DELETE FROM deliveries WHERE event_seq = 1; DELETE FROM events WHERE seq = 1"},
		{name: "a byte is another", invariant: "I1", sql: "UPDATE events SET body = X'63' WHERE seq = 1"},
		{name: "an event is stored twice", invariant: "I3", sql: "INSERT INTO events SELECT 9, 'id9', pipeline, source, action, object, object_id, occurred_at, received_at, NULL, remote, header, body, trace, labels, overlay FROM events WHERE seq = 1"},
		{name: "nobody sent it", invariant: "I1", do: func(r *round) { r.load.entries = r.load.entries[1:] }},
		{name: "a sender was never answered", invariant: "I5", do: func(r *round) { r.load.entries[0].id = "" }},
		{name: "a delivery is pending", invariant: "I2", sql: "UPDATE deliveries SET state = 0 WHERE event_seq = 1"},
		{name: "a delivery is missing", invariant: "I2", sql: "DELETE FROM deliveries WHERE event_seq = 2"},
		{name: "done without a run", invariant: "I2", do: func(r *round) { r.runs.lines = r.runs.lines[2:] }},
		{name: "completed twice by one process", invariant: "I3", do: func(r *round) { r.runs.lines = append(r.runs.lines, r.line(9, 0, '>', 2), r.line(10, 0, '<', 2)) }},
		{name: "completed twice after a clean stop", invariant: "I3", do: func(r *round) {
			r.victims = append(r.victims, &victim{number: 1, clean: true, died: r.started.Add(time.Minute)})
			r.runs.lines = append(r.runs.lines, r.line(9, 1, '>', 2), r.line(10, 1, '<', 2))
		}},
		{name: "completed twice, late by a process that was frozen", do: frozen(20)},
		{name: "completed twice by a process long after it was frozen", invariant: "I3", do: frozen(12)},
		{name: "the second before the first", invariant: "I4", do: func(r *round) {
			r.runs.lines = []runLine{r.line(1, 0, '>', 2), r.line(2, 0, '<', 2), r.line(3, 0, '>', 1), r.line(4, 0, '<', 1)}
		}},
		{name: "both at once", invariant: "I4", do: func(r *round) {
			r.runs.lines = []runLine{r.line(1, 0, '>', 1), r.line(2, 0, '>', 2), r.line(3, 0, '<', 1), r.line(4, 0, '<', 2)}
		}},
		{name: "stored in another order than answered", invariant: "I4", do: func(r *round) {
			r.load.entries[0], r.load.entries[1] = r.load.entries[1], r.load.entries[0]
		}},
		{name: "another schema", invariant: "I6", do: func(r *round) { r.schema = 99 }},
		{name: "an attempt of nothing", invariant: "I6", sql: "INSERT INTO attempts VALUES (77, 'ordered', 0, 1, 1, 1, '', '', '')"},
		{name: "skipped for no reason", invariant: "I2", sql: "UPDATE deliveries SET state = 3, last_error = 'stale: so' WHERE event_seq = 2"},
		{name: "events that two processes took at once", sql: ofShared, do: inBoth(time.Second)},
		{name: "the second before the first, which had been answered", invariant: "I4", sql: ofShared, do: inBoth(-time.Second)},
		{name: "stale, and skipped", sql: "UPDATE events SET occurred_at = 9 WHERE seq = 1; UPDATE deliveries SET state = 3, last_error = 'stale: so' WHERE event_seq = 2", do: func(r *round) {
			drops(r)
			r.runs.lines = r.runs.lines[:2]
		}},
		{name: "stale, and handled", invariant: "I4", sql: "UPDATE events SET occurred_at = 9 WHERE seq = 1", do: drops},
		{name: "not stale, and skipped", invariant: "I4", sql: "UPDATE events SET occurred_at = seq; UPDATE deliveries SET state = 3, last_error = 'stale: so' WHERE event_seq = 2", do: drops},
		{name: "the newest is not the last", invariant: "I4", sql: "UPDATE events SET occurred_at = 9 WHERE seq = 1; UPDATE deliveries SET state = 3, last_error = 'stale: so' WHERE event_seq = 2", do: drops},
		{name: "gathered", sql: gathered, do: gathers(1, 2)},
		{name: "gathered, and not given", invariant: "I2", sql: gathered, do: gathers(2)},
		{name: "gathered, and given twice", invariant: "I3", sql: gathered, do: gathers(1, 1, 2)},
		{name: "gathered into an older one", invariant: "I4", sql: "UPDATE deliveries SET state = 3, last_error = 'gathered: id1 stands for it' WHERE event_seq = 2", do: gathers(1, 2)},
		{name: "stored in two forms", invariant: "I3", do: func(r *round) {
			r.load.entries[0].forms = [][sha256.Size]byte{r.load.entries[1].sum}
		}},
		{name: "stored in another form", do: func(r *round) {
			e := r.load.entries[0]
			e.forms, e.sum = [][sha256.Size]byte{e.sum}, sha256.Sum256([]byte("never sent"))
		}},
		{name: "a file is left", invariant: "I8", do: func(r *round) {
			if err := (&project{config: filepath.Join(r.home, "rubbish")}).replace(""); err != nil {
				panic(err)
			}
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := sound(t, test.sql)
			if test.do != nil {
				test.do(r)
			}
			if err := r.checkLeft(); err != nil {
				t.Fatal(err)
			}
			if err := r.verify(t.Context()); err != nil {
				t.Fatal(err)
			}
			if test.invariant == "" && len(r.wrong) > 0 || test.invariant != "" && !strings.Contains(strings.Join(r.wrong, "\n"), test.invariant+": ") {
				t.Errorf("want %q, got %q", test.invariant, r.wrong)
			}
		})
	}
}

// frozen has another process complete an event again that was frozen until then, or until long before.
func frozen(until int) func(r *round) {
	return func(r *round) {
		begin, end := r.line(3, 1, '>', 2), r.line(20, 1, '<', 2)
		begin.at = begin.at.Add(time.Second / 2) // between the end of the first event and the second's by the other
		turn := [2]time.Time{begin.at.Add(time.Second / 4), r.started.Add(time.Duration(until) * time.Second)}
		r.victims = append(r.victims, &victim{number: 1, clean: true, died: end.at.Add(time.Minute), frozen: [][2]time.Time{turn}})
		r.runs.lines = append(r.runs.lines, begin, end)
	}
}

// ofShared makes the events those of the record that all senders share.
const ofShared = "UPDATE events SET object_id = '1'"

// inBoth has several processes take the two events of the shared record, the second of which runs
// first. The first was answered so long after the second was sent.
func inBoth(after time.Duration) func(r *round) {
	return func(r *round) {
		r.rules.several = true
		one, two := r.load.entries[0], r.load.entries[1]
		one.record, two.record = shared, shared
		one.first, one.acked = r.started.Add(-time.Hour), r.started.Add(after)
		two.first, two.acked = r.started, r.started.Add(time.Hour)
		r.runs.lines = []runLine{r.line(1, 0, '>', 2), r.line(2, 0, '<', 2), r.line(3, 1, '>', 1), r.line(4, 1, '<', 1)}
		r.victims = append(r.victims, &victim{number: 1, clean: true, died: r.started.Add(time.Hour)})
	}
}

// drops has the listener drop what is stale.
func drops(r *round) {
	r.rules.skips = map[string]string{"ordered": becauseStale}
	r.rules.also = func(s *stored) { r.checkStale(s, "ordered") }
}

// gathered is that the second event stands for the first.
const gathered = "UPDATE deliveries SET state = 3, last_error = 'gathered: id2 stands for it' WHERE event_seq = 1"

// gathers has the listener gather, and be given these events with the second.
func gathers(given ...int) func(r *round) {
	return func(r *round) {
		r.rules.skips = map[string]string{"ordered": becauseGathered}
		r.rules.also = func(s *stored) { r.checkGathered(s, "ordered") }
		r.runs.lines = []runLine{r.line(1, 0, '>', 2)}
		for _, n := range given {
			line := r.line(1, 0, '*', 2)
			line.other = fmt.Sprint("id", n)
			r.runs.lines = append(r.runs.lines, line)
		}
		r.runs.lines = append(r.runs.lines, r.line(2, 0, '<', 2))
	}
}

func (r *round) line(at, victim int, kind byte, n int) runLine {
	return runLine{at: r.started.Add(time.Duration(at) * time.Second), victim: victim, kind: kind, listener: "ordered", event: fmt.Sprint("id", n)}
}

// sound is a round of two events of one record, in which all is well but for what the statements do.
func sound(t *testing.T, statements string) *round {
	t.Helper()
	home := t.TempDir()
	file := filepath.Join(home, "torture.db")
	r := &round{torture: &torture{}, store: sqlite, home: home, storeURL: "sqlite:" + file, started: time.Now()}
	r.rules = rules{listeners: []string{"ordered"}}
	r.load = newLoad(r)
	r.victims = []*victim{{clean: true, died: r.started.Add(time.Hour)}}
	s, err := store.Open(t.Context(), store.Options{URL: r.storeURL})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.noteSchema(t.Context()); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for n, body := range []string{1: "a", 2: "b"} {
		if n == 0 {
			continue
		}
		id := fmt.Sprint("id", n)
		statements = fmt.Sprintf(`INSERT INTO events VALUES (%d, '%s', 'p', 's', 'a', 'o', '7', 0, 1, NULL, '', '', X'%x', '', '', '');
			INSERT INTO deliveries (event_seq, listener, state, attempts, next_at, finished_at, turn) VALUES (%d, 'ordered', 1, 1, 0, 5, %d);`, n, id, body, n, n) + statements
		r.load.entries = append(r.load.entries, &entry{record: 7, sum: sha256.Sum256([]byte(body)), id: id})
		r.runs.lines = append(r.runs.lines, r.line(2*n, 0, '>', n), r.line(2*n+1, 0, '<', n))
	}
	if _, err := db.Exec(statements); err != nil {
		t.Fatal(err)
	}
	return r
}
