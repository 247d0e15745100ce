package main

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/store"
	"github.com/pipehook/pipehook/stages/dedupe"
)

// bound turns events away while very much waits for its listeners, before the disk is full: a
// sender that is told to try again loses less than one that was told yes.
type bound struct {
	next interface {
		core.Committer
		dedupe.Log
	}
	pending func() int64
	log     *slog.Logger
	most    atomic.Int64 // 0 for any number
	closed  atomic.Bool
}

func (b *bound) limit(most int64) { b.most.Store(most) }

// errBacklog asks for more patience than a store that is away: a backlog takes its time.
var errBacklog = &core.Error{
	Kind: core.Unavailable, Msg: "too much waits to be handled", Err: errors.New("store.max_pending deliveries are pending"), RetryAfter: time.Minute,
}

// Commit is part of core.Committer.
func (b *bound) Commit(ctx context.Context, ev *core.Event) (core.Receipt, error) {
	if len(ev.Plan.Listeners) > 0 && b.full() {
		if first, ok := b.repeated(ctx, ev); ok {
			return core.Receipt{ID: first, Duplicate: true}, nil
		}
		return core.Receipt{}, errBacklog
	}
	return b.next.Commit(ctx, ev)
}

// repeated is the id of the event of which this is a repetition that adds nothing to what waits.
func (b *bound) repeated(ctx context.Context, ev *core.Event) (first string, ok bool) {
	plan := &ev.Plan
	if plan.Key == nil || plan.StoreDuplicate || plan.DeliverDuplicate {
		return "", false
	}
	var since time.Time
	if plan.Window > 0 {
		since = time.Now().Add(-plan.Window)
	}
	first, ok, err := b.next.Seen(ctx, ev.Pipeline, plan.Key, since)
	return first, ok && err == nil
}

// full closes at the limit and opens again at nine tenths of it, so that it does not flutter.
func (b *bound) full() bool {
	most, pending := b.most.Load(), b.pending()
	switch closed := b.closed.Load(); {
	case most == 0:
		b.closed.Store(false)
	case !closed && pending >= most:
		if b.closed.CompareAndSwap(false, true) {
			b.log.Error("store.max_pending is reached: senders are told to try again", "pending", pending)
		}
	case closed && pending <= most*9/10:
		if b.closed.CompareAndSwap(true, false) {
			b.log.Info("events are taken again", "pending", pending)
		}
	}
	return b.closed.Load()
}

func (b *bound) check() error {
	if b.full() {
		return errBacklog
	}
	return nil
}

func keepOf(conf *config.Config) store.Keep {
	return store.Keep{Age: conf.Store.Retention, Size: int64(conf.Store.MaxSize)}
}
