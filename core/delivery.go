package core

import "time"

// Delivery is one stored event on its way to one listener, held by this process.
type Delivery struct {
	Seq      int64 // of the event, in the order of acceptance
	Listener string
	Attempt  int // the number of the attempt to make now, from 1
	Event    Event
}

// DeliveryKey names a delivery: there is one for each event and listener.
type DeliveryKey struct {
	Seq      int64
	Listener string
}

// State is where a delivery stands.
type State uint8

// The states of a delivery. Their numbers are stored.
const (
	Pending State = iota // to be attempted, or attempted again, at its time
	Done                 // the listener succeeded
	Dead                 // given up
)

func (s State) String() string {
	switch s {
	case Done:
		return "done"
	case Dead:
		return "dead"
	default:
		return "pending"
	}
}

// Attempt is what one try of a delivery came to.
type Attempt struct {
	DeliveryKey
	Number  int
	State   State     // Pending means: again at Next
	Next    time.Time // with Pending
	Started time.Time
	Took    time.Duration
	Err     string // empty for a success
	Code    string // which version of the listener ran, for example a content hash
}

// Intake takes deliveries straight from the transaction that stored them, so that in the usual
// case none is read back. The store calls it for every durable delivery: Reserve before the
// transaction, then exactly one of Take and Release for what was reserved, or Due for what was
// not. None of them blocks.
type Intake interface {
	Reserve(listener string) bool      // false leaves the delivery on disk for a later claim
	Release(listener string)           // the reserved delivery was not stored
	Take(d Delivery)                   // the reserved delivery was stored
	Due(listener string, at time.Time) // a delivery can be claimed from then on
}
