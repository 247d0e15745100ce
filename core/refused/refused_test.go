package refused

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pipehook/pipehook/core"
)

// shelf keeps batches, unless it is away.
type shelf struct {
	mu      sync.Mutex
	batches [][]core.Rejected
	err     error
	held    chan struct{} // a write waits for it, or for its time to be over; nil for none
}

func (s *shelf) KeepRefused(ctx context.Context, rs []core.Rejected) error {
	if s.held != nil {
		select {
		case <-s.held:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.batches = append(s.batches, rs)
	}
	return s.err
}

func (s *shelf) rows() (all []core.Rejected) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.batches {
		all = append(all, b...)
	}
	return all
}

type counts struct {
	mu sync.Mutex
	by map[string]int
}

func (c *counts) add(why string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.by == nil {
		c.by = map[string]int{}
	}
	c.by[why] += n
}

func (c *counts) of(why string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.by[why]
}

// start runs a keeper in a bubble.
func start(s *shelf) (k *Keeper, c *counts, stop func()) {
	c = &counts{}
	k = New(Options{Store: s, Dropped: c.add})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- k.Run(ctx) }()
	return k, c, func() {
		cancel()
		<-done
	}
}

func address(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{203, byte(i >> 16), byte(i >> 8), byte(i)})
}

func from(pipeline string, status int, a netip.Addr) core.Rejected {
	return core.Rejected{Pipeline: pipeline, Status: status, Remote: a}
}

func TestARefusedRequestIsWrittenAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{}
		k, _, stop := start(s)
		defer stop()
		k.Keep(core.Rejected{ID: "a", Pipeline: "crm", Status: 422})
		synctest.Wait()
		if got := s.rows(); len(got) != 1 || got[0].ID != "a" {
			t.Errorf("%+v", got)
		}
	})
}

func TestAFloodFromOneAddressIsBoundedAndPushesNobodyOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{}
		k, c, stop := start(s)
		defer stop()
		const seconds, perSecond = 60, 1000
		for range seconds {
			for range perSecond {
				k.Keep(from("crm", 401, address(1)))
			}
			k.Keep(from("crm", 422, address(2)))
			time.Sleep(time.Second)
		}
		synctest.Wait()
		by := map[int]int{}
		missed := 0
		for _, r := range s.rows() {
			by[r.Status]++
			missed += r.Missed
		}
		if by[401] < 20 || by[401] > 20+seconds/6 {
			t.Errorf("%d of the flood are kept", by[401])
		}
		if by[422] < 20+seconds/6-1 { // what one address may
			t.Errorf("%d of the others are kept", by[422])
		}
		if thinned := c.of(Thinned); thinned != seconds*(perSecond+1)-by[401]-by[422] || missed == 0 || missed > thinned {
			t.Errorf("%d thinned, %d told of", thinned, missed)
		}
	})
}

func TestAFloodFromVeryManyAddressesIsBoundedAndLeavesTheOtherKindsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{}
		k, c, stop := start(s)
		defer stop()
		const seconds, perSecond = 30, 2000
		for i := range seconds {
			for j := range perSecond {
				k.Keep(from("crm", 401, address(i*perSecond+j)))
			}
			k.Keep(from("crm", 500, address(1<<20+i)))
			k.Keep(from("shop", 401, address(1<<21+i)))
			time.Sleep(time.Second)
		}
		synctest.Wait()
		by := map[share]int{}
		for _, r := range s.rows() {
			by[share{r.Pipeline, r.Status}]++
		}
		if n := by[share{"crm", 401}]; n < 50 || n > 50+2*seconds {
			t.Errorf("%d of the flood are kept", n)
		}
		if a, b := by[share{"crm", 500}], by[share{"shop", 401}]; a != seconds || b != seconds {
			t.Errorf("%d and %d of %d others are kept", a, b, seconds)
		}
		if n := len(k.thin.senders); n > mostAddresses+2 {
			t.Errorf("%d addresses are remembered", n)
		}
		for _, b := range s.batches {
			if len(b) > batchRows {
				t.Errorf("a batch of %d", len(b))
			}
		}
		if c.of(Overflow) != 0 {
			t.Errorf("%d overflowed", c.of(Overflow))
		}
	})
}

func TestAddressesAreRememberedAgainOnceTheFloodIsOver(t *testing.T) {
	now := time.Now()
	thin := newThinner(func() time.Time { return now })
	for i := range 2 * mostAddresses {
		thin.allow("crm", 401, address(i))
	}
	now = now.Add(time.Hour)
	if _, ok := thin.allow("crm", 401, address(1<<22)); !ok || len(thin.senders) != 1 {
		t.Errorf("allowed %v, %d remembered", ok, len(thin.senders))
	}
}

func TestANetworkOfIPv6IsOneSender(t *testing.T) {
	thin := newThinner(time.Now)
	kept := 0
	for i := range 100 {
		if _, ok := thin.allow("crm", 401, netip.MustParseAddr(fmt.Sprintf("2001:db8::%x", i))); ok {
			kept++
		}
	}
	if _, ok := thin.allow("crm", 401, netip.MustParseAddr("2001:db8:1::1")); !ok || kept != addressBurst {
		t.Errorf("%d of one network, another %v", kept, ok)
	}
}

func TestAStoreThatHangsBlocksNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{held: make(chan struct{})}
		k, c, stop := start(s)
		const pipelines, each = 10, 50
		began := time.Now()
		for i := range pipelines {
			for j := range each {
				k.Keep(from(fmt.Sprint("p", i), 422, address(j)))
			}
		}
		if time.Since(began) != 0 {
			t.Error("Keep has waited")
		}
		synctest.Wait()
		stop()
		if took := time.Since(began); took > 2*writeTime {
			t.Errorf("the stop took %s", took)
		}
		if kept, dropped := len(s.rows()), c.of(Overflow)+c.of(NoStore); kept != 0 || dropped != pipelines*each {
			t.Errorf("%d kept, %d dropped", kept, dropped)
		}
	})
}

func TestAStoreThatIsAwayLosesWhatCameMeanwhileAndNothingAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{err: errors.New("away")}
		k, c, stop := start(s)
		defer stop()
		k.Keep(core.Rejected{ID: "a", Pipeline: "crm", Status: 503})
		time.Sleep(5 * time.Second)
		s.mu.Lock()
		s.err = nil
		s.mu.Unlock()
		k.Keep(core.Rejected{ID: "b", Pipeline: "crm", Status: 503})
		synctest.Wait()
		if got := s.rows(); len(got) != 1 || got[0].ID != "b" || c.of(NoStore) != 1 {
			t.Errorf("%+v, %d dropped", got, c.of(NoStore))
		}
	})
}

func TestAStopWritesWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{}
		k, _, stop := start(s)
		k.Keep(core.Rejected{ID: "a", Pipeline: "crm", Status: 422})
		synctest.Wait()
		k.Keep(core.Rejected{ID: "b", Pipeline: "crm", Status: 422}) // during the rest
		stop()
		if got := s.rows(); len(got) != 2 {
			t.Errorf("%+v", got)
		}
	})
}

func BenchmarkKeepInAFlood(b *testing.B) {
	k := New(Options{Store: &shelf{}})
	r := from("crm", 401, address(1))
	for b.Loop() {
		k.Keep(r)
	}
}
