package core

import (
	"hash/fnv"
	"time"
)

// Shards is into how many parts the records are divided. A process serves whole shards.
const Shards = 64

// Record is a number for what the event is about: equal for events of one source, object and object
// id, and 0 when the sender named none. Two records may share a number; they then share an order.
func (ev *Event) Record() int64 {
	if ev.ObjectID == "" {
		return 0
	}
	h := fnv.New64a()
	for _, part := range []string{ev.Source, ev.Object, ev.ObjectID} {
		_, _ = h.Write([]byte(part)) // a hash never fails
		_, _ = h.Write([]byte{0})
	}
	return int64(h.Sum64()>>1) | 1<<62
}

// DeliveryKey names a delivery: there is one for each event and listener.
type DeliveryKey struct {
	Seq      int64 // of the event
	Listener string
}

// Pending is a delivery that has not ended, without its event.
type Pending struct {
	Seq     int64         // of the event
	Turn    int64         // its place in the order
	Record  int64         // see Event.Record
	Due     time.Duration // from now until it may be attempted; 0 or less is at once
	Tried   int           // attempts made
	Crashes int           // attempts that ended the process or the runner
	Replay  bool          // it has ended before and was asked for again
}

// Shard is the part the delivery belongs to.
func (p *Pending) Shard() int { return ShardOf(p.Record, p.Seq) }

// ShardOf is the shard of a delivery: its record's, or the event's own when it has no record.
func ShardOf(record, seq int64) int {
	if record == 0 {
		record = seq
	}
	return int(record & (Shards - 1))
}

// Delivery is one stored event on its way to one listener.
type Delivery struct {
	Pending
	Listener string
	Event    Event
	Newest   time.Time // the latest OccurredAt already handled for the record, where that was asked for
}

// Attempt is the number of the attempt to make now, from 1.
func (d *Delivery) Attempt() int { return d.Tried + 1 }

// State is where a delivery stands.
type State uint8

// The states of a delivery. Their numbers are stored.
const (
	Waiting     State = iota // to be attempted, or attempted again, at its time
	Done                     // the listener succeeded
	Dead                     // given up after its last attempt, or after a permanent failure
	Skipped                  // not needed: older than one already handled, or part of another's attempt
	Quarantined              // it ended its runner too often to be tried again
	Cancelled                // somebody said so
)

var stateNames = [...]string{Waiting: "pending", Done: "done", Dead: "dead", Skipped: "skipped", Quarantined: "quarantined", Cancelled: "cancelled"}

func (s State) String() string { return stateNames[s] }

// States lists the states' names, in the order of their numbers.
func States() []string { return stateNames[:] }

// Attempt is what one try of a delivery came to.
type Attempt struct {
	DeliveryKey
	Shard   int
	Epoch   int64 // of the shard when the attempt began
	Turn    int64 // of the delivery when the attempt began; a replay changes it, and ends what the result would say
	Number  int   // 0 when the listener was not called, as for Skipped and Quarantined
	State   State // Waiting means: again after Wait
	Wait    time.Duration
	Started time.Time
	Took    time.Duration
	Err     string // why it did not succeed; empty for a success
	Output  string // what the listener said, a line each; cut when long
	Code    string // which version of the listener ran, for example a content hash
	Crashed bool   // it ended its runner

	// With Done, where it is asked for: the record's newest handled time becomes Occurred.
	Record   int64
	Occurred time.Time
}

// Intake takes deliveries straight from the transaction that stored them, so that in the usual
// case none is read back. The store calls Reserve before the transaction for every delivery, and
// after it exactly one of Take and Return. None of the methods blocks.
type Intake interface {
	Reserve(listener string, bytes int) (held bool) // false leaves the delivery on disk, to be read
	Take(d Delivery)                                // what was held is stored
	Return(listener string, held, stored bool)      // it is on disk, or was not stored
	Saved(attempts []Attempt)                       // these results are on disk, or found nothing pending
	Lost(attempts []Attempt)                        // these do not count: another process serves their shards, or did
	Look(again bool)                                // there may be more on disk; again: also behind what was read
}
