// Package database opens SQLite files and connections to PostgreSQL as all parts need them: a commit is on disk
// when it returns, no statement waits for ever, and no message shows a password. It knows no table.
package database

import (
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/pipehook/pipehook/core"
)

// Location is a parsed URL of a database.
type Location struct {
	SQLite bool
	Path   string // of the SQLite file
	Shown  string // fit for messages: no password

	key string   // of the configuration
	pg  *url.URL // PostgreSQL
}

// Parse reads "sqlite:PATH" or "postgres://…". What is wrong with it is said of the key that it stands
// under in the configuration.
func Parse(key, raw string) (Location, error) {
	if path, ok := strings.CutPrefix(raw, "sqlite:"); ok {
		path = strings.TrimPrefix(path, "//")
		if path == "" || path == ":memory:" {
			return Location{}, invalid("%s: sqlite needs a file, such as sqlite:pipehook.db", key)
		}
		return Location{SQLite: true, Path: path, Shown: "sqlite:" + path, key: key}, nil
	}
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		// The text may hold a password, so neither it nor the parser's error is repeated.
		return Location{}, invalid("%s is neither sqlite:FILE nor postgres://USER:PASSWORD@HOST:PORT/DATABASE: percent-encode @ / ? # and %% in the password", key)
	}
	if spilled(raw) {
		return Location{}, invalid("%s has an @ behind HOST:PORT: percent-encode @ / ? # and %% in the password", key)
	}
	if strings.Trim(u.Path, "/") == "" {
		return Location{}, invalid("%s names no database: end it with /DATABASE", key)
	}
	return Location{pg: u, Shown: u.Redacted(), key: key}, nil
}

// spilled reports whether a password may have been cut in two: a parser takes what stands behind a
// / ? or # in it for the path and the rest, which are shown.
func spilled(raw string) bool {
	_, rest, _ := strings.Cut(raw, "://")
	end := strings.IndexAny(rest, "/?#")
	return end >= 0 && strings.Contains(rest[end:], "@")
}

// Check reports what is wrong with a URL without opening it.
func Check(key, raw string) error {
	loc, err := Parse(key, raw)
	if err != nil || loc.SQLite {
		return err
	}
	_, err = loc.tls()
	return err
}

// Identity tells a database from others: it names the file or the server and its database, whoever connects
// and how.
func (l Location) Identity() string {
	if l.SQLite {
		if path, err := filepath.Abs(l.Path); err == nil {
			return "sqlite:" + path
		}
		return l.Shown
	}
	_, addr := address(l.pg)
	return "postgres://" + addr + "/" + strings.Trim(l.pg.Path, "/")
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
