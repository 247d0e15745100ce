package jshost

import (
	"strings"
	"sync"
)

// maxNotes is how much of what a call says is kept with its attempt, in bytes.
const maxNotes = 4 << 10

// notes are what the calls that run have said so far. A listener has an event once at a time, so the
// event's id tells the calls apart.
type notes struct {
	mu sync.Mutex
	of map[string]*strings.Builder
}

func (n *notes) begin(event string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.of == nil {
		n.of = map[string]*strings.Builder{}
	}
	n.of[event] = nil // most say nothing
}

func (n *notes) add(l Line) {
	n.mu.Lock()
	defer n.mu.Unlock()
	said, begun := n.of[l.Event]
	if !begun {
		return
	}
	if said == nil {
		said = &strings.Builder{}
		n.of[l.Event] = said
	}
	text := strings.ToLower(l.Level.String()) + " " + l.Text + "\n"
	switch left := maxNotes - said.Len(); {
	case left <= 0:
	case len(text) > left:
		said.WriteString(strings.ToValidUTF8(text[:left], "") + "…\n")
	default:
		said.WriteString(text)
	}
}

// take is what the call said, a line each. It has ended.
func (n *notes) take(event string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	said := n.of[event]
	delete(n.of, event)
	if said == nil {
		return ""
	}
	return said.String()
}
