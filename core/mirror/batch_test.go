package mirror_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/coretest/testdb"
	"github.com/pipehook/pipehook/core/database"
)

// While somebody else has the file, no event of a batch is to blame: they are not tried one by one, each with a wait.
func TestABatchDoesNotWaitForEachOfItsEvents(t *testing.T) {
	url := testdb.SQLite(t)
	m := open(t, url, "deal")
	other, err := database.SQLite(strings.TrimPrefix(url, "sqlite:"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	tx, err := other.BeginTx(t.Context(), nil) // which takes the lock
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	batch := make([]core.Delivery, 50)
	for i := range batch {
		id := strconv.Itoa(i + 1)
		batch[i].Event = named(t, []byte(`{"meta":{"version":"2.0","action":"change","entity":"deal","entity_id":"`+id+`","id":"x"},"data":{"id":`+id+`},"previous":{}}`))
	}
	began, ended := time.Now(), 0
	m.HandleBatch(t.Context(), 100*time.Millisecond, batch, func(int) bool { return true }, func(_ int, out core.Outcome) {
		if ended++; core.KindOf(out.Err) != core.Unavailable {
			t.Errorf("it came to %v", out.Err)
		}
	})
	if took := time.Since(began); ended != len(batch) || took > 4*time.Second {
		t.Errorf("%d have ended, after %v", ended, took)
	}
}
