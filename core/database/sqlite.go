package database

import (
	"database/sql"
	"errors"
	"io/fs"
	"net/url"
	"os"

	driver "modernc.org/sqlite"
)

// SQLite opens the file so that a commit is on disk when it returns. busy_timeout comes first: the other
// pragmas may have to wait for a lock themselves.
func SQLite(path string, pragmas ...string) (*sql.DB, error) {
	// As SQLite does where it is built for the system: the time stamp that fsync also writes needs a
	// commit of the file system's journal. Some systems have no fdatasync; then fsync it is.
	if _, err := driver.Fdatasync(true); err != nil && !errors.Is(err, driver.ErrFdatasyncUnavailable) {
		return nil, err
	}
	q := url.Values{"_txlock": {"immediate"}, "_pragma": append([]string{"busy_timeout(5000)"}, pragmas...)}
	return sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+q.Encode())
}

// Own makes a file that is not there yet for its owner alone: it will hold what senders sent.
// SQLite gives the files beside it the same mode. One that is there is left as somebody wanted it.
func Own(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return f.Close()
}
