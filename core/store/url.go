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
		return &MissingError{path}
	}
	return nil
}

// HeldError says that another process holds a SQLite database. Its Kind is core.Invalid.
type HeldError struct{ PID string }

func (e *HeldError) Error() string {
	return "another pipehook (pid " + e.PID + ") is using it: stop that one first, or use PostgreSQL for several"
}

// Unwrap gives it its Kind.
func (e *HeldError) Unwrap() error { return &core.Error{Kind: core.Invalid, Msg: e.Error()} }

// MissingError says that a SQLite database was not made yet, or is another one. Its Kind is core.Invalid.
type MissingError struct{ Path string }

func (e *MissingError) Error() string { return "there is no database at " + e.Path }

// Unwrap gives it its Kind.
func (e *MissingError) Unwrap() error { return &core.Error{Kind: core.Invalid, Msg: e.Error()} }
