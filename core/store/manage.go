package store

import (
	"context"
	"fmt"

	"github.com/pipehook/pipehook/core"
)

// Crash is a delivery whose attempt was under way when its process ended.
type Crash struct {
	core.DeliveryKey
	Number int
}

// Crashed counts a crash against each of the deliveries that has not ended since.
func (s *Store) Crashed(ctx context.Context, crashes []Crash) error {
	for _, c := range crashes {
		_, err := s.backend.edit().NewUpdate().Table("deliveries").Set("crashes = crashes + 1").Set("attempts = ?", c.Number).
			Where("event_seq = ?", c.Seq).Where("listener = ?", c.Listener).Where("state = 0").Where("attempts < ?", c.Number).Exec(ctx)
		if err != nil {
			return fmt.Errorf("count a crash: %w", err)
		}
		_, err = s.backend.edit().NewInsert().Model(&Attempt{
			EventSeq: c.Seq, Listener: c.Listener, Number: c.Number, StartedAt: s.opts.Now().UnixMicro(),
			Error: "the process ended while this attempt ran",
		}).On("CONFLICT DO NOTHING").Exec(ctx)
		if err != nil {
			return fmt.Errorf("note a crash: %w", err)
		}
	}
	return nil
}

// Paused lists the listeners that are paused, with the reason given.
func (r *Reader) Paused(ctx context.Context) (map[string]string, error) {
	var rows []struct{ Name, Reason string }
	if err := r.db.NewSelect().Table("listeners").Column("name", "reason").Scan(ctx, &rows); err != nil {
		return nil, fmt.Errorf("paused listeners: %w", err)
	}
	paused := make(map[string]string, len(rows))
	for _, row := range rows {
		paused[row.Name] = row.Reason
	}
	return paused, nil
}

// Paused lists the listeners that are paused.
func (s *Store) Paused(ctx context.Context) (map[string]string, error) { return s.Reader().Paused(ctx) }
