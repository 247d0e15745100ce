package store

import (
	"testing"
	"time"
)

// twoClocks are moved by tests, each by itself.
type twoClocks struct{ moment }

func (c *twoClocks) now() moment { return c.moment }

// holding has some shards under a lease that ends in a minute.
func holding(shards ...int) (*holds, *twoClocks, map[int]int64) {
	c := &twoClocks{clocks()}
	h, ours := &holds{now: c.now}, map[int]int64{}
	for _, shard := range shards {
		ours[shard] = 7
	}
	h.set(ours, c.add(time.Minute))
	return h, c, ours
}

func TestALeaseIsOverWhenOneOfTheClocksSaysSo(t *testing.T) {
	for name, move := range map[string]func(*twoClocks){
		"time has passed":              func(c *twoClocks) { c.moment = c.add(time.Minute) },
		"the machine was suspended":    func(c *twoClocks) { c.wall = c.wall.Add(time.Minute) },
		"the clock was set back since": func(c *twoClocks) { c.steady, c.wall = c.steady.Add(time.Minute), c.wall.Add(-time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			h, c, _ := holding(3)
			if h.current(3) != 7 || !h.leased(0) || !h.begin(3, 7) {
				t.Fatal("what is held is not served")
			}
			move(c)
			if h.current(3) != 0 || h.leased(0) || h.begin(3, 7) || len(h.list()) != 0 {
				t.Error("it is still served")
			}
		})
	}
}

// What another process stored while the lease was over was left out of what was read then.
func TestALeaseThatIsRenewedTooLateIsAGain(t *testing.T) {
	h, c, ours := holding(3)
	c.moment = c.add(59 * time.Second)
	if h.set(ours, c.add(time.Minute)) {
		t.Error("a lease that was renewed in time is said to bring something new")
	}
	c.moment = c.add(time.Minute)
	if !h.set(ours, c.add(time.Minute)) {
		t.Error("nobody is told to look again")
	}
	c.moment = c.add(time.Minute)
	if h.set(nil, c.add(time.Minute)) {
		t.Error("nothing is held, and said to be new")
	}
}

func TestAShardThatIsKeptAfterAllIsSaidToStay(t *testing.T) {
	h, c, ours := holding(1, 2)
	for shard := range ours {
		h.begin(shard, 7)
	}
	if idle, stays := h.leave(2); len(idle) != 0 || stays || h.current(1) != 0 {
		t.Fatalf("idle are %v, stays %v", idle, stays)
	}
	if h.set(ours, c.add(time.Minute)) {
		t.Error("what is to be handed back is said to be new")
	}
	if _, stays := h.leave(1); !stays || h.current(1) != 7 || h.current(2) != 0 {
		t.Error("the one that stays is not served again")
	}
	h.end(2)
	if idle, stays := h.leave(1); len(idle) != 1 || idle[0] != 2 || stays {
		t.Errorf("idle are %v, stays %v", idle, stays)
	}
	delete(ours, 2)
	if h.set(ours, c.add(time.Minute)) {
		t.Error("what was handed back is said to be new")
	}
}
