package store

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/pipehook/pipehook/core"
)

// location is a parsed store URL.
type location struct {
	sqlite bool
	path   string   // of the SQLite file
	pg     *url.URL // PostgreSQL
	shown  string   // fit for messages: no password
}

func parseURL(raw string) (location, error) {
	if path, ok := strings.CutPrefix(raw, "sqlite:"); ok {
		path = strings.TrimPrefix(path, "//")
		if path == "" || path == ":memory:" {
			return location{}, invalid("store.url: sqlite needs a file, such as sqlite:pipehook.db")
		}
		return location{sqlite: true, path: path, shown: "sqlite:" + path}, nil
	}
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		// The text may hold a password, so neither it nor the parser's error is repeated.
		return location{}, invalid("store.url is neither sqlite:FILE nor postgres://USER:PASSWORD@HOST:PORT/DATABASE: percent-encode @ / ? # and %% in the password")
	}
	if spilled(raw) {
		return location{}, invalid("store.url has an @ behind HOST:PORT: percent-encode @ / ? # and %% in the password")
	}
	if strings.Trim(u.Path, "/") == "" {
		return location{}, invalid("store.url names no database: end it with /DATABASE")
	}
	return location{pg: u, shown: u.Redacted()}, nil
}

// spilled reports whether a password may have been cut in two: a parser takes what stands behind a
// / ? or # in it for the path and the rest, which are shown.
func spilled(raw string) bool {
	_, rest, _ := strings.Cut(raw, "://")
	end := strings.IndexAny(rest, "/?#")
	return end >= 0 && strings.Contains(rest[end:], "@")
}

// Check reports what is wrong with a store URL without opening it.
func Check(rawURL string) error {
	loc, err := parseURL(rawURL)
	if err != nil || loc.sqlite {
		return err
	}
	_, err = tlsConfig(loc.pg)
	return err
}

// Identity tells a store from others: it names the file or the server and its database, whoever
// connects and how.
func Identity(rawURL string) string {
	loc, err := parseURL(rawURL)
	switch {
	case err != nil:
		return ""
	case loc.sqlite:
		if path, err := filepath.Abs(loc.path); err == nil {
			return "sqlite:" + path
		}
		return loc.shown
	default:
		_, addr := address(loc.pg)
		return "postgres://" + addr + "/" + strings.Trim(loc.pg.Path, "/")
	}
}

// Resolve passes the path of a SQLite URL through join and leaves other URLs alone.
func Resolve(rawURL string, join func(path string) string) string {
	loc, err := parseURL(rawURL)
	if err != nil || !loc.sqlite {
		return rawURL
	}
	return "sqlite:" + join(loc.path)
}

func local(host string) bool {
	if host == "" || strings.HasPrefix(host, "/") || host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

func invalid(format string, args ...any) error {
	return &core.Error{Kind: core.Invalid, Msg: fmt.Sprintf(format, args...)}
}

func mustExist(path string) error {
	if _, err := os.Stat(path); err != nil {
		return invalid("there is no database at %s: start pipehook serve or dev first, or name its configuration", path)
	}
	return nil
}
