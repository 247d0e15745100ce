package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/pipehook/pipehook/core"
)

// refusedShare is how many refused requests of one pipeline and status are kept, so that many of a
// kind do not push out the others.
const refusedShare = 200

// Refused is a request that was refused, as the command line reads it.
type Refused struct {
	bun.BaseModel `bun:"table:refused"`

	Seq      int64  `bun:"seq,pk,autoincrement"`
	ID       string `bun:"id"`
	At       int64  `bun:"at"`
	Pipeline string `bun:"pipeline"`
	Remote   string `bun:"remote"`
	Status   int    `bun:"status"`
	Code     string `bun:"code"`
	Error    string `bun:"error"`
	Header   string `bun:"header"`
	Bytes    int64  `bun:"bytes"`
	Trace    string `bun:"trace"`
	Missed   int    `bun:"missed"`
}

// KeepRefused writes refused requests down beside the write loop, and deletes the oldest beyond
// what is kept of their pipeline and status.
func (s *Store) KeepRefused(ctx context.Context, rs []core.Rejected) error {
	if !s.ready.Load() {
		return unavailable("the store can't be used yet", nil)
	}
	rows := make([]Refused, len(rs))
	for i := range rs {
		rows[i] = refusedRow(&rs[i])
	}
	err := s.backend.edit().RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		if _, err := tx.NewInsert().Model(&rows).Returning("NULL").Exec(ctx); err != nil {
			return err
		}
		return trimRefused(ctx, tx, rows)
	})
	if err != nil {
		return fmt.Errorf("refused requests: %w", err)
	}
	return nil
}

// trimRefused goes through the shares in one order, so that two processes do not wait for each
// other.
func trimRefused(ctx context.Context, tx bun.Tx, rows []Refused) error {
	type share struct {
		pipeline string
		status   int
	}
	shares := make([]share, len(rows))
	for i, r := range rows {
		shares[i] = share{r.Pipeline, r.Status}
	}
	slices.SortFunc(shares, func(a, b share) int {
		return cmp.Or(cmp.Compare(a.pipeline, b.pipeline), cmp.Compare(a.status, b.status))
	})
	for _, of := range slices.Compact(shares) {
		_, err := tx.NewRaw(`DELETE FROM refused WHERE pipeline = ? AND status = ? AND seq <=
			(SELECT seq FROM refused WHERE pipeline = ? AND status = ? ORDER BY seq DESC LIMIT 1 OFFSET ?)`,
			of.pipeline, of.status, of.pipeline, of.status, refusedShare).Exec(ctx)
		if err != nil {
			return err
		}
	}
	return nil
}

func refusedRow(r *core.Rejected) Refused {
	header, err := json.Marshal(r.Header)
	if err != nil { // strings always encode
		header = []byte("{}")
	}
	trace, err := json.Marshal(core.Trace{Steps: r.Steps})
	if err != nil { // texts and numbers always encode
		trace = nil
	}
	return Refused{
		ID: plainText(r.ID), At: micros(r.At), Pipeline: plainText(r.Pipeline), Remote: remoteText(r.Remote), Status: r.Status,
		Code: plainText(r.Code), Error: plainText(r.Reason), Header: plainText(string(header)), Bytes: r.Bytes,
		Trace: plainText(string(trace)), Missed: r.Missed,
	}
}

// RefusedFilter chooses refused requests; its zero value chooses all.
type RefusedFilter struct {
	Pipeline string
	Code     string
	Status   int
	Since    time.Time
	Limit    int // 0 for 50
}

// Refused lists the newest refused requests first.
func (r *Reader) Refused(ctx context.Context, f RefusedFilter) ([]Refused, error) {
	var found []Refused
	if f.Limit <= 0 {
		f.Limit = 50
	}
	q := r.db.NewSelect().Model(&found).Order("seq DESC").Limit(int64(f.Limit))
	if f.Pipeline != "" {
		q = q.Where("pipeline = ?", f.Pipeline)
	}
	if f.Code != "" {
		q = q.Where("code = ?", f.Code)
	}
	if f.Status != 0 {
		q = q.Where("status = ?", f.Status)
	}
	if !f.Since.IsZero() {
		q = q.Where("at >= ?", f.Since.UnixMicro())
	}
	if err := q.Scan(ctx); err != nil {
		return nil, fmt.Errorf("refused requests: %w", err)
	}
	return found, nil
}

// Rejection is the refused request with the id, if it was kept.
func (r *Reader) Rejection(ctx context.Context, id string) (found Refused, ok bool, err error) {
	err = r.db.NewSelect().Model(&found).Where("id = ?", id).Order("seq DESC").Limit(1).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return Refused{}, false, nil
	}
	if err != nil {
		return Refused{}, false, fmt.Errorf("refused request %s: %w", id, err)
	}
	return found, true, nil
}
