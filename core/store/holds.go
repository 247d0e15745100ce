package store

import (
	"math"
	"sync"
	"time"

	"github.com/pipehook/pipehook/core"
)

// moment is now by both clocks of this machine: the steady one is never set but may stand still while
// the machine is suspended, and the one on the wall goes on.
type moment struct{ steady, wall time.Time }

func clocks() moment {
	now := time.Now()
	return moment{now, now.Round(0)}
}

func (m moment) add(d time.Duration) moment { return moment{m.steady.Add(d), m.wall.Add(d)} }

// before is false as soon as one of the clocks says so.
func (m moment) before(end moment) bool {
	return m.steady.Before(end.steady) && m.wall.Before(end.wall)
}

// holds are the shards that this process serves: the token of each, and how many attempts are
// under way in it. It never gives out a token after the lease has run out by this process's own
// clocks, whatever the database still says.
type holds struct {
	now     func() moment
	mu      sync.Mutex
	epoch   [core.Shards]int64 // 0: not held
	leaving [core.Shards]bool  // to be handed back: nothing more begins
	active  [core.Shards]int   // begun, and the result not yet on disk
	until   moment
	renewed chan struct{} // closed and replaced when until moves
}

// all holds everything for ever, as the only process there can be.
func (h *holds) all() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.epoch {
		h.epoch[i] = 1
	}
	never := time.Unix(math.MaxInt32*1000, 0) // no lease
	h.until = moment{never, never}
}

func (h *holds) current(shard int) int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.token(shard)
}

func (h *holds) token(shard int) int64 {
	if h.leaving[shard] || !h.now().before(h.until) {
		return 0
	}
	return h.epoch[shard]
}

func (h *holds) begin(shard int, epoch int64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if epoch == 0 || h.token(shard) != epoch {
		return false
	}
	h.active[shard]++
	return true
}

func (h *holds) end(shard int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.active[shard]--
}

func (h *holds) list() []int {
	h.mu.Lock()
	defer h.mu.Unlock()
	var held []int
	for i := range h.epoch {
		if h.token(i) != 0 {
			held = append(held, i)
		}
	}
	return held
}

// set takes what the database says is ours until the lease ends, and reports whether something is
// served from now on that was not just before: it was left out of what was read then. What was to be
// handed back stays so unless it was lost meanwhile.
func (h *holds) set(ours map[int]int64, until moment) (gained bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	gained = len(ours) > 0 && !h.now().before(h.until)
	for i := range h.epoch {
		if h.epoch[i] != ours[i] {
			gained = gained || ours[i] != 0
			h.epoch[i], h.leaving[i] = ours[i], false
		}
	}
	h.until = until
	if h.renewed != nil {
		close(h.renewed)
		h.renewed = nil
	}
	return gained
}

// leased waits up to most for a lease that runs.
func (h *holds) leased(most time.Duration) bool {
	h.mu.Lock()
	if h.now().before(h.until) {
		h.mu.Unlock()
		return true
	}
	if h.renewed == nil {
		h.renewed = make(chan struct{})
	}
	renewed := h.renewed
	h.mu.Unlock()
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-renewed:
	case <-timer.C:
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now().before(h.until)
}

// leave picks n shards to hand back, and returns all that are idle by now. stays reports whether
// one that was to be handed back is kept after all: what came for it meanwhile was not read.
func (h *holds) leave(n int) (idle []int, stays bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	before := h.leaving
	clear(h.leaving[:])
	defer func() {
		for i := range before {
			stays = stays || before[i] && !h.leaving[i] && h.epoch[i] != 0
		}
	}()
	for i := core.Shards - 1; i >= 0 && n > 0; i-- {
		if h.epoch[i] == 0 {
			continue
		}
		h.leaving[i] = true
		n--
		if h.active[i] == 0 {
			idle = append(idle, i)
		}
	}
	return idle, stays
}
