package main

import (
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uptrace/bun/driver/pgdriver"

	"github.com/pipehook/pipehook/plugins/sdk"
	"github.com/pipehook/pipehook/plugins/sdk/sdktest"
	"github.com/pipehook/pipehook/plugins/sdk/wire"
)

// database makes an empty one on the server that PIPEHOOK_TEST_POSTGRES names.
func database(t *testing.T) (dsn string, db *sql.DB) {
	t.Helper()
	server := os.Getenv("PIPEHOOK_TEST_POSTGRES")
	if server == "" {
		t.Skip("PIPEHOOK_TEST_POSTGRES names no server: whether rows are written was NOT tested")
	}
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal("PIPEHOOK_TEST_POSTGRES is not a URL")
	}
	admin := sql.OpenDB(pgdriver.NewConnector(pgdriver.WithDSN(server)))
	name := "pgupsert_" + strings.ToLower(rand.Text())
	if _, err := admin.Exec("CREATE DATABASE " + name); err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	db = sql.OpenDB(pgdriver.NewConnector(pgdriver.WithDSN(u.String())))
	t.Cleanup(func() {
		_ = db.Close()
		if _, err := admin.Exec("DROP DATABASE " + name + " WITH (FORCE)"); err != nil {
			t.Error(err)
		}
		_ = admin.Close()
	})
	return u.String(), db
}

// start runs the listener.
func start(t *testing.T, dsn string, config map[string]any) (*sdktest.Plugin, error) {
	t.Helper()
	u := &upsert{Table: "records", Connections: 4}
	p := sdk.Plugin{Name: "pgupsert", Version: "0", Config: u, Listener: u}
	return sdktest.TryStart(t, p, sdktest.Options{Config: config, Secrets: map[string]string{"dsn": dsn}})
}

func started(t *testing.T, dsn string) *sdktest.Plugin {
	t.Helper()
	p, err := start(t, dsn, map[string]any{"create": true})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// deal is an event of the deal 7 that occurred at a second.
func deal(action string, second int, current string) sdk.Event {
	ev := sdk.Event{
		ID: fmt.Sprintf("id-%03d", second), Action: action, Object: "deal", ObjectID: "7",
		OccurredAt: time.Unix(int64(second), 0), ReceivedAt: time.Unix(1_800_000_000, 0),
	}
	if current != "" {
		ev.Current = []byte(current)
	}
	return ev
}

// row is what the table says of the deal 7.
func row(t *testing.T, db *sql.DB) string {
	t.Helper()
	var text string
	err := db.QueryRow("SELECT coalesce(data::text, 'nothing') || ' ' || deleted || ' ' || event FROM records WHERE object = 'deal' AND id = '7'").Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return "no row"
	}
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestARowIsWhatTheNewestEventSays(t *testing.T) {
	dsn, db := database(t)
	p := started(t, dsn)
	for _, step := range []struct {
		name string
		ev   sdk.Event
		want string
	}{
		{"nothing is said of the record", deal("merged", 9, ""), "no row"},
		{"the first", deal("added", 10, `{"id":9007199254740993,"title":"it's"}`), `{"id": 9007199254740993, "title": "it's"} false id-010`},
		{"a newer one", deal("updated", 20, `{"title":"b"}`), `{"title": "b"} false id-020`},
		{"the same again", deal("updated", 20, `{"title":"b"}`), `{"title": "b"} false id-020`},
		{"an older one, late", deal("updated", 15, `{"title":"a"}`), `{"title": "b"} false id-020`},
		{"a deletion", deal("deleted", 30, ""), `nothing true id-030`},
		{"an older one after the deletion", deal("updated", 25, `{"title":"c"}`), `nothing true id-030`},
		{"a record that is back", deal("added", 40, `{"title":"d"}`), `{"title": "d"} false id-040`},
	} {
		if err := p.Handle(t.Context(), step.ev); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if got := row(t, db); got != step.want {
			t.Errorf("%s: %s, want %s", step.name, got, step.want)
		}
	}
	same := deal("updated", 40, `{"title":"e"}`)
	same.ID = "id-041" // received later, in the same second of the sender's
	if err := p.Handle(t.Context(), same); err != nil {
		t.Fatal(err)
	}
	if got := row(t, db); got != `{"title": "e"} false id-041` {
		t.Errorf("of two at the same time: %s", got)
	}
}

func TestAnyOrderAtOnceEndsWithTheNewest(t *testing.T) {
	dsn, db := database(t)
	p := started(t, dsn)
	var all sync.WaitGroup
	for _, n := range mathrand.Perm(100) {
		second := n + 1
		all.Go(func() {
			if err := p.Handle(t.Context(), deal("updated", second, fmt.Sprintf(`{"n":%d}`, second))); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := row(t, db); got != `{"n": 100} false id-100` {
		t.Error(got)
	}
}

func TestWhatCanNotWorkIsGivenUpAndTheRestIsTriedAgain(t *testing.T) {
	dsn, db := database(t)
	p := started(t, dsn)
	for name, test := range map[string]struct {
		ev        sdk.Event
		before    string
		permanent bool
		want      string
	}{
		"a text that the server can't hold": {ev: deal("added", 1, `{"title":"\u0000"}`), permanent: true, want: "22P05"},
		"a record without an id":            {ev: sdk.Event{ID: "1", Action: "added", Object: "deal", Current: []byte(`{}`)}, permanent: true, want: "which record"},
		"a constraint of the table's owner": {ev: deal("added", 2, `{}`), before: "ALTER TABLE records ADD CONSTRAINT titled CHECK (data ? 'title')", permanent: true, want: "23514"},
		"a table that is gone for a while":  {ev: deal("added", 3, `{"title":""}`), before: "ALTER TABLE records RENAME TO elsewhere", want: "42P01"},
	} {
		if test.before != "" {
			if _, err := db.Exec(test.before); err != nil {
				t.Fatal(err)
			}
		}
		err := p.Handle(t.Context(), test.ev)
		if err == nil || !strings.Contains(err.Error(), test.want) || sdktest.IsPermanent(err) != test.permanent {
			t.Errorf("%s: permanent is %v: %v", name, !test.permanent, err)
		}
		if strings.HasPrefix(test.before, "ALTER TABLE records RENAME") {
			if _, err := db.Exec("ALTER TABLE elsewhere RENAME TO records"); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestATableThatIsNotThereIsAStartToBeTriedAgain(t *testing.T) {
	dsn, _ := database(t)
	_, err := start(t, dsn, nil)
	if _, wrong := errors.AsType[*wire.ConfigError](err); err == nil || wrong || !strings.Contains(err.Error(), "42P01") {
		t.Errorf("error %v", err)
	}
	if _, err := start(t, dsn, map[string]any{"create": true, "table": "public.records"}); err != nil {
		t.Error(err)
	}
	if _, err := start(t, dsn, nil); err != nil {
		t.Error(err)
	}
}

func TestMistakesAreSaidWithoutTheSecret(t *testing.T) {
	const secret = "hunter2"
	for name, test := range map[string]struct {
		dsn    string
		config map[string]any
		want   string
		again  bool // the start is tried again
	}{
		"no dsn":              {want: "secrets.dsn: is missing"},
		"no URL":              {dsn: "postgres://u:hunter2@[::1/", want: "secrets.dsn: is no address of PostgreSQL"},
		"another scheme":      {dsn: "mysql://u:hunter2@h/d", want: "secrets.dsn: is no address of PostgreSQL"},
		"no word about TLS":   {dsn: "postgres://u:hunter2@h/d", want: "secrets.dsn: must say sslmode"},
		"an odd mode":         {dsn: "postgres://u:hunter2@h/d?sslmode=hunter2", want: "secrets.dsn: has an option that can't be used"},
		"a certificate":       {dsn: "postgres://u:hunter2@h/d?sslmode=verify-full&sslrootcert=/nowhere/hunter2", want: "secrets.dsn: has an option that can't be used"},
		"an odd table":        {dsn: "x", config: map[string]any{"table": "a; DROP TABLE b"}, want: "table: must be a name"},
		"too few connections": {dsn: "x", config: map[string]any{"connections": 0}, want: "connections: must be at least 1"},
		"nobody there":        {dsn: "postgres://u:hunter2@127.0.0.1:1/d?sslmode=disable", want: "connection refused", again: true},
	} {
		_, err := start(t, test.dsn, test.config)
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v, want %s", name, err, test.want)
		}
		if _, wrong := errors.AsType[*wire.ConfigError](err); wrong == test.again {
			t.Errorf("%s: it is a mistake of the configuration: %v", name, wrong)
		}
	}
}
