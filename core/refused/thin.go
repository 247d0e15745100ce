package refused

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// One address may have a burst of requests kept, and then one more every few seconds; so may all
// addresses together, of one pipeline and status.
const (
	addressBurst, addressEvery = 20, 6 * time.Second
	shareBurst, shareEvery     = 50, time.Second / 2
)

// mostAddresses bounds the memory. The addresses beyond it count as one.
const mostAddresses = 4096

// share is what has a ring of its own in the store.
type share struct {
	pipeline string
	status   int
}

// sender is who sent requests of a share. An IPv6 network counts as one: its owner has as many
// addresses as he likes.
type sender struct {
	share
	from netip.Prefix
}

var everybody = netip.PrefixFrom(netip.IPv6Unspecified(), 0)

// counted is one sender's share, and how many were refused since the last that was let through.
type counted struct {
	*rate.Limiter
	missed int
}

// thinner lets a bounded number of requests through, such that neither one address, nor one kind of
// refusal, nor one pipeline takes the place of the others.
type thinner struct {
	now func() time.Time

	mu      sync.Mutex
	shares  map[share]*rate.Limiter // as many as there are pipelines and statuses
	senders map[sender]*counted
	swept   time.Time
}

func newThinner(now func() time.Time) *thinner {
	return &thinner{now: now, shares: map[share]*rate.Limiter{}, senders: map[sender]*counted{}}
}

// allow reports whether to keep a request, and how many of its sender were not kept since the last
// that was.
func (t *thinner) allow(pipeline string, status int, from netip.Addr) (missed int, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now, of := t.now(), share{pipeline, status}
	all := t.shares[of]
	if all == nil {
		all = rate.NewLimiter(rate.Every(shareEvery), shareBurst)
		t.shares[of] = all
	}
	one := t.bucketOf(sender{of, network(from)}, now)
	if one.TokensAt(now) < 1 || all.TokensAt(now) < 1 { // what one has left is not used up by the other
		one.missed++
		return 0, false
	}
	one.AllowN(now, 1)
	all.AllowN(now, 1)
	missed, one.missed = one.missed, 0
	return missed, true
}

func (t *thinner) bucketOf(who sender, now time.Time) *counted {
	if b := t.senders[who]; b != nil {
		return b
	}
	if len(t.senders) >= mostAddresses {
		if t.sweep(now); len(t.senders) >= mostAddresses {
			who.from = everybody
		}
	}
	b := t.senders[who]
	if b == nil {
		b = &counted{Limiter: rate.NewLimiter(rate.Every(addressEvery), addressBurst)}
		t.senders[who] = b
	}
	return b
}

// sweep forgets the senders that have not been heard of for so long that it makes no difference. It
// looks at all, so it does so at most once in a second.
func (t *thinner) sweep(now time.Time) {
	if now.Sub(t.swept) < time.Second {
		return
	}
	t.swept = now
	for who, b := range t.senders {
		if b.TokensAt(now) >= addressBurst {
			delete(t.senders, who)
		}
	}
}

func network(a netip.Addr) netip.Prefix {
	a = a.Unmap()
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, err := a.Prefix(bits)
	if err != nil { // no address is known
		return everybody
	}
	return p
}
