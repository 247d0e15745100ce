package store

import (
	"fmt"
	"os"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/database"
)

func parseURL(raw string) (database.Location, error) { return database.Parse("store.url", raw) }

// Check reports what is wrong with a store URL without opening it.
func Check(rawURL string) error { return database.Check("store.url", rawURL) }

// Identity tells a store from others: it names the file or the server and its database, whoever
// connects and how.
func Identity(rawURL string) string {
	loc, err := parseURL(rawURL)
	if err != nil {
		return ""
	}
	return loc.Identity()
}

// Resolve passes the path of a SQLite URL through join and leaves other URLs alone.
func Resolve(rawURL string, join func(path string) string) string {
	loc, err := parseURL(rawURL)
	if err != nil || !loc.SQLite {
		return rawURL
	}
	return "sqlite:" + join(loc.Path)
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
