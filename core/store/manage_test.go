package store_test

import (
	"database/sql"
	"fmt"
	"slices"
	"testing"

	"github.com/uptrace/bun/driver/pgdriver"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/coretest/testdb"
	"github.com/pipehook/pipehook/core/store"
)

// ended stores n events and ends their deliveries.
func (f *fixture) ended(t *testing.T, n int) (ids []string) {
	t.Helper()
	for range n {
		ev := f.event("", "audit")
		f.commit(t, ev)
		d, epoch := f.begin(t, "audit")
		f.Finish(finish(d, epoch, core.Dead, f.clock, "no"))
		f.commit(t, f.event("")) // with it or behind it
		ids = append(ids, ev.ID)
	}
	return ids
}

func TestReplayedDeliveriesStandBehindWhatIsPendingInTheOrderOfTheirEvents(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		f := open(t, url, &intake{full: true})
		ids := f.ended(t, 5)
		pending := f.event("", "audit")
		f.commit(t, pending)
		if n, err := hands(t, f).Replay(t.Context(), store.Choice{Listener: "audit"}, nil); n != 5 || err != nil {
			t.Fatalf("%d replayed (%v)", n, err)
		}
		later := f.event("", "audit")
		f.commit(t, later)
		var got []string
		for _, p := range f.pending(t, "audit") {
			d, err := f.Load(t.Context(), "audit", []int64{p.Seq}, false)
			if err != nil || len(d) != 1 {
				t.Fatalf("loaded %d (%v)", len(d), err)
			}
			got = append(got, d[0].Event.ID)
		}
		if want := append(append([]string{pending.ID}, ids...), later.ID); !slices.Equal(got, want) {
			t.Errorf("the order is %v, want %v", got, want)
		}
	})
}

// What reads the pending deliveries passes a turn that was drawn and can't be seen yet.
func TestABatchIsChangedByHandInOneStatementOnPostgres(t *testing.T) {
	url := testdb.Postgres(t)
	f := open(t, url, &intake{full: true})
	f.ended(t, 5)
	m, all := hands(t, f), store.Choice{Listener: "audit"}
	db := sql.OpenDB(pgdriver.NewConnector(pgdriver.WithDSN(url)))
	defer func() { _ = db.Close() }()
	for _, text := range []string{
		"CREATE TABLE statements (n INTEGER)",
		`CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO statements VALUES (1); RETURN NULL; END $$`,
		"CREATE TRIGGER note AFTER UPDATE ON deliveries FOR EACH STATEMENT EXECUTE FUNCTION note()",
	} {
		if _, err := db.Exec(text); err != nil {
			t.Fatal(err)
		}
	}
	for i, change := range []func() (int, error){
		func() (int, error) { return m.Replay(t.Context(), all, nil) },
		func() (int, error) { return m.Retry(t.Context(), all, nil) },
		func() (int, error) { return m.Cancel(t.Context(), all, nil) },
	} {
		if n, err := change(); n != 5 || err != nil {
			t.Fatalf("%d were changed (%v)", n, err)
		}
		var n int
		if err := db.QueryRow("SELECT count(*) FROM statements").Scan(&n); err != nil || n != i+1 {
			t.Errorf("%d statements after %d changes (%v)", n, i+1, err)
		}
	}
}

func TestEveryChangeByHandIsCountedForItsListener(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		f := open(t, url, &intake{full: true})
		f.ended(t, 2)
		f.commit(t, f.event("", "mirror"))
		m, all := hands(t, f), store.Choice{Listener: "audit"}
		for i, change := range []func() (int, error){
			func() (int, error) { return m.Replay(t.Context(), all, nil) },
			func() (int, error) { return m.Retry(t.Context(), all, nil) },
			func() (int, error) { return m.Cancel(t.Context(), all, nil) },
		} {
			if n, err := change(); n != 2 || err != nil {
				t.Fatalf("%d were changed (%v)", n, err)
			}
			edits, err := f.Edits(t.Context())
			if err != nil || edits["audit"] != int64(i+1) || edits["mirror"] != 0 {
				t.Errorf("after %d changes the counts are %v (%v)", i+1, edits, err)
			}
		}
	})
}

func TestAReplayKeepsWhatWasTriedBefore(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		f := open(t, url, &intake{full: true})
		m := hands(t, f)
		ev := f.event("", "audit")
		f.commit(t, ev)
		try := func(number int, state core.State) {
			t.Helper()
			d, epoch := f.begin(t, "audit")
			a := finish(d, epoch, state, f.clock, map[core.State]string{core.Waiting: "no"}[state])
			a.Number = number
			f.Finish(a)
			await(t, "the attempt is saved", func() bool {
				got := f.delivered(t, ev.ID)
				return got.Attempts == number && got.State == state
			})
		}
		try(1, core.Waiting)
		try(2, core.Done)
		if n, err := m.Replay(t.Context(), store.Choice{Events: []string{ev.ID}}, nil); n != 1 || err != nil {
			t.Fatalf("replayed %d: %v", n, err)
		}
		try(1, core.Waiting)
		try(2, core.Done)
		_, attempts, err := f.Reader().Event(t.Context(), ev.ID)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, a := range attempts {
			got = append(got, fmt.Sprint(a.Run, a.Number, a.Error))
		}
		slices.Sort(got)
		if want := "[0 1no 0 2 1 1no 1 2]"; fmt.Sprint(got) != want {
			t.Errorf("attempts %v, want %s", got, want)
		}
	})
}
