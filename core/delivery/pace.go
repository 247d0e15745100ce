package delivery

import "time"

const (
	// batchMost is how many events a listener is given at once at most, and batchBytes how much of their bodies.
	batchMost  = 64
	batchBytes = 1 << 20

	// batchFor is how long they are expected to take together. What comes for a worker waits no longer
	// than that for calls that it could have gone ahead of.
	batchFor = 2 * time.Millisecond

	// batchWithin is when calls turn out to be longer than was expected: then what has not begun goes
	// back to where every worker can take it.
	batchWithin = 10 * batchFor
)

// pace is how long a listener's calls take, about. It begins with nothing known, which counts as long.
type pace struct{ mean time.Duration }

// size is how many calls make a batch.
func (p *pace) size() int {
	if p.mean == 0 {
		return 1
	}
	return int(max(1, min(batchMost, batchFor/p.mean)))
}

// note learns of a call. A long one counts at once, and as long as it takes short ones to make up for it.
func (p *pace) note(took time.Duration, crashed bool) {
	if p.mean == 0 || crashed {
		p.mean = max(p.mean, batchFor)
	}
	p.mean = max(p.mean+(took-p.mean)/4, 1)
	if took > batchFor {
		p.mean = max(p.mean, took)
	}
}

// slow forgets that calls are short.
func (p *pace) slow() { p.mean = max(p.mean, batchFor) }
