package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/uptrace/bun/driver/pgdriver"

	"github.com/pipehook/pipehook/core/coretest/testdb"
	"github.com/pipehook/pipehook/core/samples"
)

const examplesPage = "plugins/examples/README.md"

var pluginKey = regexp.MustCompile(`(?m)^ *plugin += "([a-z]+)"`)

// examplesProject has a configuration of what the page says about the plugins, or about all when none is
// named, and what else the page asks for.
func examplesProject(t *testing.T, warehouse string, plugins ...string) *project {
	t.Helper()
	p := newProject(t, testdb.SQLite(t), "", nil)
	text := fmt.Sprintf("[server]\nlisten = %q\n[store]\nurl = %q\n[admin]\nlisten = %q\n", p.hooks, p.storeURL, p.admin)
	for _, m := range tomlExample.FindAllStringSubmatch(page(t, examplesPage), -1) {
		if named := pluginKey.FindStringSubmatch(m[1]); len(plugins) == 0 || named != nil && slices.Contains(plugins, named[1]) {
			text += m[1]
		}
	}
	p.write(t, "pipeline.toml", text)
	p.write(t, ".env", "PIPEDRIVE_WEBHOOK_PASSWORD=secret of the tests\nSHOP_SECRET=a secret of good length\nWAREHOUSE_DSN="+warehouse+"\n")
	p.write(t, "owners.csv", "user_id,team,tier\n12415231,north,gold\n")
	return p
}

func TestTheExamplesOfPluginsAreConfiguredWell(t *testing.T) {
	p := examplesProject(t, "postgres://u:p@h/d?sslmode=verify-full")
	for _, m := range pluginKey.FindAllStringSubmatch(page(t, examplesPage), -1) {
		name := filepath.Join("plugins", "bin", m[1])
		p.write(t, name, "#!/bin/sh\n") // check looks at it and starts nothing
		if err := os.Chmod(filepath.Join(p.dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if code, out, errs := command(t, "check", "--config", p.config); code != exitDone {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
	for _, name := range []string{"audit", "enrich", "orders", "pgupsert", "churn"} {
		if _, err := os.Stat(filepath.Join(p.dir, "plugins", "bin", name)); err != nil {
			t.Errorf("%s does not say how %s is configured", examplesPage, name)
		}
	}
}

// The plugins in Go run together as the page configures them; the one in Node.js has a test beside it.
func TestTheExamplesOfPluginsWorkTogether(t *testing.T) {
	plugins := []string{"audit", "enrich", "orders"}
	var warehouse *sql.DB
	var dsn string
	if os.Getenv(testdb.Env) != "" {
		dsn = testdb.Postgres(t)
		plugins = append(plugins, "pgupsert")
		warehouse = sql.OpenDB(pgdriver.NewConnector(pgdriver.WithDSN(dsn)))
		defer func() { _ = warehouse.Close() }()
	} else {
		t.Logf("%s names no server: pgupsert was NOT tested with the others", testdb.Env)
	}
	p := examplesProject(t, dsn, plugins...)
	for _, name := range plugins {
		buildPlugin(t, filepath.Join(p.dir, "plugins", "bin", name), "plugins/examples/"+name, "")
	}
	p.serve(t)

	_, deal, _ := samples.For("added.deal")
	crm := func(r *http.Request) {
		r.URL.Path = "/crm/webhook"
		r.SetBasicAuth("pipedrive", "secret of the tests")
	}
	if r := p.post(t, deal, crm); r.status != http.StatusOK {
		t.Errorf("a deal: %+v", r)
	}
	untitled := strings.Replace(string(deal), `"title"`, `"tilte"`, 1)
	if r := p.post(t, []byte(untitled), crm); r.status != http.StatusUnprocessableEntity || r.Error.Message != "a deal needs a title" {
		t.Errorf("a deal without a title: %+v", r)
	}
	order, err := os.ReadFile("../../plugins/examples/orders/testdata/paid.xml")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"accepted", "duplicate"} {
		if r := p.post(t, order, ofAShop(order)); r.status != http.StatusOK || r.Status != want {
			t.Errorf("an order: %+v, want %s", r, want)
		}
	}
	broken := []byte("<Order/>")
	if r := p.post(t, broken, ofAShop(broken)); r.status != http.StatusUnprocessableEntity || !strings.Contains(r.Error.Message, "no notification of a shop") {
		t.Errorf("another body: %+v", r)
	}

	eventually(t, "both are noted", func() bool { return auditLines(p, "audit.log") == 2 })
	var seen []string
	for _, ev := range p.events(t) {
		seen = append(seen, ev.Action+"."+ev.Object+" "+ev.ObjectID+" "+ev.Labels)
	}
	slices.Sort(seen)
	if want := []string{`added.deal 8 {"team":"north","tier":"gold"}`, "paid.order berlin/A-1001 "}; !slices.Equal(seen, want) {
		t.Errorf("stored %q, want %q", seen, want)
	}
	if warehouse == nil {
		return
	}
	var rows string
	if err := warehouse.QueryRow("SELECT string_agg(object || ' ' || id || ' ' || coalesce(data->>'title', data->>'total'), ', ' ORDER BY object) FROM records").Scan(&rows); err != nil || rows != "deal 8 Sample Org deal, order berlin/A-1001 32.00" {
		t.Errorf("the table has %q, %v", rows, err)
	}
}

// ofAShop makes a request one of a shop's.
func ofAShop(body []byte) func(r *http.Request) {
	return func(r *http.Request) {
		mac := hmac.New(sha256.New, []byte("a secret of good length"))
		mac.Write(body)
		r.URL = &url.URL{Scheme: "http", Host: r.URL.Host, Path: "/shops/webhook"}
		r.Header.Set("Content-Type", "application/xml; charset=utf-8")
		r.Header.Set("X-Shop-Signature", hex.EncodeToString(mac.Sum(nil)))
		r.Header.Del("Authorization")
	}
}
