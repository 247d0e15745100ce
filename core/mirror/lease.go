package mirror

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

const (
	leaseName = "lease"
	leaseFor  = time.Minute
	leaseBeat = leaseFor / 4
)

// Busy is the error of a comparison while another one runs, in whatever process.
type Busy struct {
	Owner string
	Until time.Time // when it ends if its process has died
}

func (e *Busy) Error() string {
	return fmt.Sprintf("%s compares the local tables with Pipedrive already; if it died, the next may begin at %s", e.Owner, e.Until.UTC().Format(time.DateTime))
}

// lease is who compares. That there is one at a time saves calls; two would do no harm, as an event about a state is
// stored once. So it is enough that the clocks of the processes agree within half a minute.
type lease struct {
	Owner string    `json:"owner"`
	Token string    `json:"token"`
	Until time.Time `json:"until"`
}

// leased runs work while this process holds the lease. Work's context ends when it is lost.
func (m *Mirror) leased(ctx context.Context, owner string, work func(ctx context.Context) error) error {
	mine := lease{Owner: owner, Token: rand.Text()}
	held, err := m.takeLease(ctx, &mine)
	if err != nil {
		return err
	}
	working, end := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	go func() { // owned here, and waited for; held is its own until then
		defer close(ended)
		tick := time.NewTicker(leaseBeat)
		defer tick.Stop()
		for {
			select {
			case <-working.Done():
				return
			case <-tick.C:
			}
			next := m.leaseText(&mine)
			ok, err := m.swap(working, leaseName, held, next)
			switch {
			case ok:
				held = next
			case err == nil:
				end(errors.New("another process has begun to compare the local tables"))
			}
		}
	}()
	err = work(working)
	if cause := context.Cause(working); cause != nil && ctx.Err() == nil {
		err = cause
	}
	end(nil)
	<-ended
	free, stop := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer stop()
	_, _ = m.swap(free, leaseName, held, []byte("{}")) // else it runs out
	return err
}

func (m *Mirror) leaseText(l *lease) []byte {
	l.Until = m.opts.Now().UTC().Add(leaseFor)
	text, _ := json.Marshal(l) // times and text can be encoded
	return text
}

func (m *Mirror) takeLease(ctx context.Context, mine *lease) ([]byte, error) {
	was, err := m.State(ctx, leaseName)
	if err != nil {
		return nil, err
	}
	var other lease
	now := m.opts.Now()
	if was != nil && json.Unmarshal(was, &other) == nil && other.Until.After(now) && other.Until.Before(now.Add(2*leaseFor)) { // later is by a clock that was ahead
		return nil, &Busy{other.Owner, other.Until}
	}
	next := m.leaseText(mine)
	ok, err := m.swap(ctx, leaseName, was, next)
	if err == nil && !ok {
		err = &Busy{"another process", mine.Until}
	}
	return next, err
}

// swap sets a state that is as it was read; nil is one that is not there.
func (m *Mirror) swap(ctx context.Context, name string, was, value []byte) (bool, error) {
	now := millis(m.opts.Now().UTC())
	query, args := "INSERT INTO pipedrive_sync_state (name, value, changed_at) VALUES (?, ?, ?) ON CONFLICT (name) DO NOTHING", []any{name, value, now}
	if was != nil {
		query, args = "UPDATE pipedrive_sync_state SET value = ?, changed_at = ? WHERE name = ? AND value = ?", []any{value, now, name, was}
	}
	done, err := m.db.ExecContext(ctx, m.dialect.bind(query), args...)
	if err != nil {
		return false, m.refusal(err)
	}
	n, err := done.RowsAffected()
	return n == 1, err
}
