package core

import (
	"log/slog"
	"time"
)

// Trouble keeps what goes on failing from filling the log: it is said at once, then once a minute,
// and when it is over. Its zero value has seen no failure. It belongs to one goroutine.
type Trouble struct {
	since, told time.Time
	failed      int
}

// sayTroubleEvery is often enough for who looks at the end of a log.
const sayTroubleEvery = time.Minute

// Note is told what every try came to. failing and over are what the log says, with args beside the
// first.
func (t *Trouble) Note(log *slog.Logger, now time.Time, err error, failing, over string, args ...any) {
	switch {
	case err == nil && t.failed > 0:
		log.Info(over, "after", now.Sub(t.since).Round(time.Millisecond), "failed", t.failed)
		*t = Trouble{}
	case err == nil:
	case t.failed == 0:
		*t = Trouble{since: now, told: now, failed: 1}
		log.Error(failing, append(args, "err", err)...)
	default:
		if t.failed++; now.Sub(t.told) >= sayTroubleEvery {
			t.told = now
			log.Error(failing, append(args, "since", t.since.UTC().Format(time.RFC3339), "failed", t.failed, "err", err)...)
		}
	}
}
