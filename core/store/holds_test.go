package store

import (
	"testing"
	"time"
)

func TestAShardThatIsKeptAfterAllIsSaidToStay(t *testing.T) {
	var h holds
	h.set(map[int]int64{1: 1, 2: 1, 3: 1}, time.Now().Add(time.Hour))
	if !h.begin(3, 1) {
		t.Fatal("the shard is not held")
	}
	if idle, stays := h.leave(2); len(idle) != 1 || idle[0] != 2 || stays {
		t.Errorf("idle %v, stays %v, want the one without an attempt", idle, stays)
	}
	h.set(map[int]int64{1: 1, 3: 1}, time.Now().Add(time.Hour)) // it has gone
	if h.current(3) != 0 {
		t.Error("a shard that is to be handed back is still served")
	}
	if idle, stays := h.leave(0); len(idle) != 0 || !stays {
		t.Errorf("idle %v, stays %v, want the busy one to stay", idle, stays)
	}
	if h.current(3) != 1 {
		t.Error("a shard that stays is not served")
	}
	if _, stays := h.leave(0); stays {
		t.Error("what stays is said twice")
	}
}
