// Package refused keeps requests that were refused, so that somebody can ask why. It stands in the
// way of no answer, and what strangers send costs it a bounded share of memory and disk. It knows
// neither HTTP nor the database.
package refused

import (
	"context"
	"log/slog"
	"time"

	"github.com/pipehook/pipehook/core"
)

const (
	queued    = 256 // requests that wait to be written
	batchRows = 50
	batchRest = time.Second // between two batches: at most batchRows in so long
	writeTime = 2 * time.Second
)

// Store writes requests down.
type Store interface {
	KeepRefused(ctx context.Context, rs []core.Rejected) error
}

// Why a request was not kept.
const (
	Thinned  = "thinned"  // many like it were refused just before
	Overflow = "overflow" // too many waited
	NoStore  = "store"    // the store could not take it
)

// Options are what New needs. Log and Dropped may be nil.
type Options struct {
	Store   Store
	Log     *slog.Logger
	Dropped func(why string, n int) // counts what is not kept, and why
}

// Keeper takes requests from any goroutine and writes them from its own.
type Keeper struct {
	opts  Options
	thin  *thinner
	queue chan core.Rejected

	trouble core.Trouble // with writing; belongs to Run
}

// New makes a Keeper. What it is given waits until it runs.
func New(opts Options) *Keeper {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Dropped == nil {
		opts.Dropped = func(string, int) {}
	}
	return &Keeper{opts: opts, thin: newThinner(time.Now), queue: make(chan core.Rejected, queued)}
}

// Keep has the request written down, or counts it as dropped. It never blocks.
func (k *Keeper) Keep(r core.Rejected) {
	var ok bool
	if r.Missed, ok = k.thin.allow(r.Pipeline, r.Status, r.Remote); !ok {
		k.opts.Dropped(Thinned, 1)
		return
	}
	select {
	case k.queue <- r:
	default:
		k.opts.Dropped(Overflow, 1)
	}
}

// Run writes until ctx ends, then one batch more if something waits.
func (k *Keeper) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		select {
		case r := <-k.queue:
			k.write(ctx, k.gather(r))
		case <-ctx.Done():
			continue
		}
		rest := time.NewTimer(batchRest)
		select {
		case <-rest.C:
		case <-ctx.Done():
			rest.Stop()
		}
	}
	k.last(ctx)
	return nil
}

// last leaves what does not fit into one batch: a stop has more important things to wait for.
func (k *Keeper) last(ctx context.Context) {
	select {
	case r := <-k.queue:
		k.write(ctx, k.gather(r))
	default:
	}
	if n := len(k.queue); n > 0 {
		k.opts.Dropped(Overflow, n)
	}
}

// gather is a batch of what waits now, beginning with r.
func (k *Keeper) gather(r core.Rejected) []core.Rejected {
	batch := []core.Rejected{r}
	for len(batch) < batchRows {
		select {
		case r := <-k.queue:
			batch = append(batch, r)
			continue
		default:
		}
		break
	}
	return batch
}

// write gives a batch to the store. One that fails is not tried again: memory is for what follows.
func (k *Keeper) write(ctx context.Context, batch []core.Rejected) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTime)
	defer cancel()
	err := k.opts.Store.KeepRefused(ctx, batch)
	if err != nil {
		k.opts.Dropped(NoStore, len(batch))
	}
	k.trouble.Note(k.opts.Log, time.Now(), err, "refused requests can't be kept for now; they are in the log alone", "refused requests are kept again")
}
