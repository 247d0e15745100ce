package store_test

import (
	"database/sql"
	"maps"
	"testing"
	"time"

	"github.com/uptrace/bun/driver/pgdriver"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/coretest/testdb"
)

// database is a connection past the store.
func database(t *testing.T, url string) *sql.DB {
	t.Helper()
	db := sql.OpenDB(pgdriver.NewConnector(pgdriver.WithDSN(url)))
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func run(t *testing.T, db *sql.DB, query string) {
	t.Helper()
	if _, err := db.Exec(query); err != nil {
		t.Fatal(err)
	}
}

func number(t *testing.T, db *sql.DB, query string) (n int64) {
	t.Helper()
	if err := db.QueryRow(query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// rebalance makes every process look at the shards now.
func rebalance(t *testing.T, db *sql.DB) {
	t.Helper()
	run(t, db, "SELECT pg_notify('pipehook', 'free')")
}

// serves is under which token the process serves which shard.
func (f *fixture) serves() map[int]int64 {
	tokens := map[int]int64{}
	for shard := range core.Shards {
		if epoch := f.Epoch(shard); epoch != 0 {
			tokens[shard] = epoch
		}
	}
	return tokens
}

func halves(t *testing.T, a, b *fixture) {
	t.Helper()
	db := database(t, a.url)
	await(t, "both live", func() bool {
		return number(t, db, "SELECT count(*) FROM replicas WHERE lease_until > pipehook_now()") == 2
	})
	rebalance(t, db)
	await(t, "they share", func() bool { return a.Shards() == core.Shards/2 && b.Shards() == core.Shards/2 })
	for shard := range a.serves() {
		if b.Epoch(shard) != 0 {
			t.Errorf("shard %d has two homes", shard)
		}
	}
}

func all(t *testing.T, f *fixture) {
	t.Helper()
	await(t, "one alone has all", func() bool { return f.Shards() == core.Shards })
}

func TestTwoReplicasShareTheShardsAndOneAloneHasAll(t *testing.T) {
	url := testdb.Postgres(t)
	a := open(t, url, &intake{})
	all(t, a)
	b := open(t, url, &intake{})
	halves(t, a, b)
	a.stop()
	all(t, b)
}

func TestShardsThatWereToBeHandedBackAreServedAgainWhenTheOtherLeaves(t *testing.T) {
	url := testdb.Postgres(t)
	a := open(t, url, &intake{})
	all(t, a)
	for shard, epoch := range a.serves() { // something runs in each
		if !a.Begin(shard, epoch) {
			t.Fatal("no attempt could begin")
		}
	}
	b := open(t, url, &intake{})
	await(t, "what is too much begins nothing more", func() bool { return a.Shards() < core.Shards })
	a.intake.mu.Lock()
	a.intake.looked = false
	a.intake.mu.Unlock()
	b.stop()
	all(t, a)
	await(t, "what came for them meanwhile is looked for", func() bool {
		a.intake.mu.Lock()
		defer a.intake.mu.Unlock()
		return a.intake.looked
	})
}

// Both leases are over then, and the first process to be back sees the other dead.
func TestADatabaseThatWasAwayMovesNoShards(t *testing.T) {
	url := testdb.Postgres(t)
	a, b := open(t, url, &intake{}), open(t, url, &intake{})
	db := database(t, url)
	halves(t, a, b)
	rebalance(t, db)
	before := number(t, db, "SELECT sum(epoch) FROM shards")
	tokens := a.serves()
	testdb.SetClock(t, url, a.clock.now().Add(time.Minute))
	rebalance(t, db)
	await(t, "both are back", func() bool {
		return number(t, db, "SELECT count(*) FROM replicas WHERE lease_until > pipehook_now()") == 2
	})
	halves(t, a, b)
	if after := number(t, db, "SELECT sum(epoch) FROM shards"); after != before || !maps.Equal(a.serves(), tokens) {
		t.Errorf("shards have changed hands %d times", after-before)
	}
}

func TestTheShardsOfADeadProcessAreTakenAtOnceAndAfterAnOutageALittleLater(t *testing.T) {
	url := testdb.Postgres(t)
	db := database(t, url)
	f := open(t, url, &intake{})
	all(t, f)
	run(t, db, "INSERT INTO replicas VALUES (99, 'dead', 0, 1)")
	run(t, db, "UPDATE shards SET holder = 99, epoch = epoch + 1 WHERE shard < 10")
	rebalance(t, db)
	await(t, "they are taken", func() bool { return f.Epoch(0) > 2 && f.Shards() == core.Shards })

	testdb.SetClock(t, url, f.clock.now().Add(time.Minute))
	run(t, db, "UPDATE shards SET holder = 99, epoch = epoch + 1 WHERE shard < 10")
	rebalance(t, db)
	await(t, "the lease is renewed", func() bool { return f.Shards() == core.Shards-10 })
	rebalance(t, db)
	all(t, f)
}

func TestTwoProcessesWithOneNumberServeNothingTogether(t *testing.T) {
	url := testdb.Postgres(t)
	db := database(t, url)
	a := openAs(t, url, &intake{}, 7)
	all(t, a)
	b := openAs(t, url, &intake{}, 7)
	all(t, b)
	rebalance(t, db)
	halves(t, a, b)
	if n := number(t, db, "SELECT count(*) FROM replicas WHERE lease_until > pipehook_now()"); n != 2 {
		t.Errorf("there are %d numbers", n)
	}
	b.commit(t, b.event("", "audit"))
	a.stop()
	all(t, b)
}
