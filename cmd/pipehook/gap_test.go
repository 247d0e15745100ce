package main

import (
	"log/slog"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core/coretest/testdb"
	"github.com/pipehook/pipehook/core/pipedrive/simulate"
	"github.com/pipehook/pipehook/core/store"
)

func TestADeletionDuringAnOutageIsFoundAfterIt(t *testing.T) {
	crm, p := newAccount(t, testdb.SQLite(t))
	quiet := simulate.By{Quiet: true}
	if _, err := crm.Create("person", simulate.Record{"name": "Ann"}, quiet); err != nil {
		t.Fatal(err)
	}
	compared(t, p, "--deletes") // fills the tables
	compared(t, p, "--deletes") // so that it is not time for the look at all ids
	if err := crm.Delete("person", "1", quiet); err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), store.Options{URL: p.storeURL, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SetState(t.Context(), "pipedrive/alive", []byte(time.Now().UTC().Add(-10*time.Minute).Format(time.RFC3339Nano))); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	defer p.serve(t)()
	eventually(t, "the deletion is told of", func() bool {
		all := p.events(t)
		return len(all) == 1 && all[0].Action == "deleted" && all[0].ObjectID == "1"
	})
}
