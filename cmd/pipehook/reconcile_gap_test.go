package main

import (
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core/coretest/testdb"
	"github.com/pipehook/pipehook/core/pipedrive/simulate"
	"github.com/pipehook/pipehook/core/store"
)

// missedDeletion is a project of which nobody took the webhook that a person was deleted.
func missedDeletion(t *testing.T) *project {
	t.Helper()
	crm, p := newAccount(t, testdb.SQLite(t))
	quiet := simulate.By{Quiet: true}
	for _, name := range []string{"Ann", "Ben"} {
		if _, err := crm.Create("person", simulate.Record{"name": name}, quiet); err != nil {
			t.Fatal(err)
		}
	}
	compared(t, p, "--deletes") // fills the tables
	compared(t, p, "--deletes") // so that it is not time for the look at all ids
	if err := crm.Delete("person", "1", quiet); err != nil {
		t.Fatal(err)
	}
	p.withStore(t, func(s *store.Store) error {
		return s.SetState(t.Context(), "pipedrive/alive", []byte(time.Now().UTC().Add(-10*time.Minute).Format(time.RFC3339Nano)))
	})
	return p
}

func (p *project) withStore(t *testing.T, do func(s *store.Store) error) {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{URL: p.storeURL, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := do(s); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func (p *project) deletionIsToldOf(t *testing.T) {
	t.Helper()
	eventually(t, "the deletion is told of", func() bool {
		all := p.events(t)
		return len(all) == 1 && all[0].Action == "deleted" && all[0].ObjectID == "1"
	})
}

func TestADeletionDuringAnOutageIsFoundAfterIt(t *testing.T) {
	p := missedDeletion(t)
	defer p.serve(t)()
	p.deletionIsToldOf(t)
}

// Who starts anew before an outage has settled has not forgotten it.
func TestADeletionDuringAnOutageIsFoundByTheProcessAfterTheNext(t *testing.T) {
	p := missedDeletion(t)
	own, file := readFile(t, p.config), filepath.Join(p.dir, "serve.log")
	p.write(t, "pipeline.toml", fmt.Sprintf("log = { file = %q }\n", file)+strings.Replace(own, `settle = "0s"`, `settle = "5m"`, 1))
	stop := p.serve(t)
	eventually(t, "the outage is noted", func() bool { return strings.Contains(readFile(t, file), "all is compared soon") })
	stop()
	if n := len(p.events(t)); n != 0 {
		t.Fatalf("%d events before it has settled", n)
	}
	p.write(t, "pipeline.toml", own)
	defer p.serve(t)()
	p.deletionIsToldOf(t)
}

// A comparison without a process that serves takes no webhooks.
func TestAComparisonByItselfEndsNoOutage(t *testing.T) {
	p := missedDeletion(t)
	state := func() (text string) {
		p.withStore(t, func(s *store.Store) error {
			kept, err := s.State(t.Context(), "pipedrive/alive")
			text = string(kept)
			return err
		})
		return text
	}
	before := state()
	compared(t, p, "deal")
	if after := state(); after != before {
		t.Errorf("the last sign of life is of %s, and was of %s", after, before)
	}
	defer p.serve(t)()
	p.deletionIsToldOf(t)
}

func TestOnlyAComparisonOfEverythingIsTheLastSuccess(t *testing.T) {
	crm, p := newAccount(t, testdb.SQLite(t))
	compared(t, p)
	defer p.serve(t)()
	if _, err := crm.Create("deal", simulate.Record{"title": "missed"}, simulate.By{Quiet: true}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args       []string
		found      string // in all
		everything bool
	}{{[]string{"--dry-run"}, "0", false}, {[]string{"deal", "--dry-run"}, "0", false}, {[]string{"--since", "1h"}, "1", false}, {[]string{"deal"}, "1", false}, {nil, "1", true}} {
		compared(t, p, c.args...)
		found, last := p.metric(t, "pipehook_pipedrive_reconcile_differences_total"), p.metric(t, "pipehook_pipedrive_reconcile_last_success_timestamp_seconds")
		if found != c.found || (last != "0") != c.everything {
			t.Errorf("after %v there were %s differences, and the last success was %s", c.args, found, last)
		}
	}
}

func TestAStoreOfANewerVersionIsNotOneThatSomebodyHolds(t *testing.T) {
	_, p := newAccount(t, testdb.SQLite(t))
	compared(t, p)
	db, err := sql.Open("sqlite", strings.TrimPrefix(p.storeURL, "sqlite:"))
	if err == nil {
		_, err = db.ExecContext(t.Context(), "INSERT INTO pipehook_migrations (version_id, is_applied) VALUES (99999999, 1)")
	}
	if err = errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	code, _, errs := command(t, "reconcile", "--config", p.config)
	if code == exitDone || !strings.Contains(errs, "schema version 99999999") || strings.Contains(errs, "can't be asked") {
		t.Errorf("exit code %d\n%s", code, errs)
	}
}
