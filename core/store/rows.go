package store

import (
	"database/sql"
	"errors"
	"time"

	"github.com/pipehook/pipehook/core"
)

// pendingRows reads pendingColumns. next_at is compared with now, which is the clock that wrote it.
func pendingRows(rows *sql.Rows, now time.Time) (found []core.Pending, err error) {
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var r row
		if err := rows.Scan(r.pendingInto()...); err != nil {
			return nil, err
		}
		r.due -= now.UnixMicro()
		found = append(found, r.pending())
	}
	return found, rows.Err()
}

func wholeRows(rows *sql.Rows, now time.Time) (found []row, err error) {
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var r row
		if err := r.scan(rows.Scan); err != nil {
			return nil, err
		}
		r.due -= now.UnixMicro()
		found = append(found, r)
	}
	return found, rows.Err()
}
