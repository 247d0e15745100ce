package main

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// entry is one event in the sender's ledger.
type entry struct {
	record int
	body   []byte
	sum    [sha256.Size]byte
	forms  [][sha256.Size]byte // what it was sent as besides, when its sender says how often it tried

	first   time.Time // when it was sent
	tries   int       // how often it was sent
	acked   time.Time // when the first 2xx came; zero without
	id      string    // as it was answered
	refused bool      // it was answered 4xx
	copies  bool      // it is sent again after its answer
}

// shared is the record that every worker sends events of, at once. What is in order there only the
// database knows.
const shared = 1

// bodies makes bodies that no other in a run is like.
type bodies struct {
	rng *rand.Rand
	now time.Time
	n   int
}

// traps are titles that text columns, text protocols and careless code change or refuse.
var traps = []string{
	"plain", `\u0000`, `\ud800 alone`, `\"quoted\\`, "zw\u200bj \U0001F469\u200d\U0001F4BB", "\u202eright to left", "'); DROP TABLE events; --", `{\"a\":1}`, "%s%n", "tab\\tnewline\\n",
}

// make is the body of a change of the record. fails is how often its moody listener fails.
func (b *bodies) make(record, fails int) *entry {
	b.n++
	b.now = b.now.Add(time.Millisecond)
	size := 200 + b.rng.IntN(2000)
	if b.rng.IntN(50) == 0 {
		size = 60_000 + b.rng.IntN(60_000) // more than one read of a socket, and than a page
	}
	body := fmt.Appendf(nil, `{"data":{"id":%d,"title":"%s","stage_id":%d,"torture_ms":%d,"torture_fails":%d,"filler":"%s"},"previous":{"stage_id":1},`,
		record, traps[b.rng.IntN(len(traps))], 2+b.rng.IntN(5), b.rng.IntN(3), fails, strings.Repeat(string(rune('a'+b.rng.IntN(26))), size))
	body = fmt.Appendf(body, `"meta":{"action":"change","entity":"deal","entity_id":"%d","company_id":"1","webhook_id":"7","user_id":"3","id":"%s","correlation_id":"%s","timestamp":"%s","version":"2.0","attempt":1,"change_source":"app","is_bulk_edit":false}}`,
		record, b.uuid(), b.uuid(), b.now.UTC().Format("2006-01-02T15:04:05.000Z"))
	return &entry{record: record, body: body, sum: sha256.Sum256(body)}
}

func (b *bodies) uuid() string {
	return fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", b.rng.Uint32(), b.rng.IntN(1<<16), b.rng.IntN(1<<12), b.rng.IntN(1<<12), b.rng.Int64N(1<<48))
}

// fails draws how often the moody listener fails an event: mostly never, sometimes for ever.
func (b *bodies) fails() int {
	switch b.rng.IntN(40) {
	case 0:
		return 99
	case 1, 2, 3:
		return 1 + b.rng.IntN(3)
	default:
		return 0
	}
}
