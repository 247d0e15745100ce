package worker

import (
	"bufio"
	"io"
	"sync"

	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/pipehook/pipehook/core/jshost/worker/message"
)

const (
	// maxUp bounds a message that comes from a child: a value or a question's body has at most a few MiB.
	maxUp = 16 << 20

	// maxPending is what may wait to be written before the next one waits itself.
	maxPending = 4 << 20

	readAhead = 64 << 10
)

// outbox writes messages in the order in which they come. Whoever brings one writes it, and with it
// what others bring meanwhile: a message is with the system, and so outlives us, when send returns,
// or soon afterwards.
type outbox struct {
	to io.Writer

	mu      sync.Mutex
	room    sync.Cond
	pending []byte
	spare   []byte
	writing bool
	err     error // of the first write that failed; nothing is written afterwards
}

func newOutbox(to io.Writer) *outbox {
	o := &outbox{to: to}
	o.room.L = &o.mu
	return o
}

// send writes a message. The error is that of any write before.
func (o *outbox) send(m proto.Message) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.pending) > maxPending && o.err == nil {
		o.room.Wait()
	}
	if o.err != nil {
		return o.err
	}
	if o.pending, o.err = appendDelimited(o.pending, m); o.err != nil || o.writing {
		return o.err
	}
	o.writing = true
	for len(o.pending) > 0 && o.err == nil {
		text := o.pending
		o.pending, o.spare = o.spare[:0], nil
		o.mu.Unlock()
		_, err := o.to.Write(text)
		o.mu.Lock()
		if cap(text) <= maxPending {
			o.spare = text
		}
		if err != nil {
			o.err = err
		}
		o.room.Broadcast()
	}
	o.writing = false
	return o.err
}

func appendDelimited(to []byte, m proto.Message) ([]byte, error) {
	size := proto.Size(m)
	to = protowire.AppendVarint(to, uint64(size))
	return proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(to, m)
}

// inbox reads messages.
type inbox struct{ from *bufio.Reader }

func newInbox(from io.Reader) *inbox { return &inbox{bufio.NewReaderSize(from, readAhead)} }

// down is the next message of the parent, who sends what it wants.
func (i *inbox) down() (*message.Down, error) {
	m := &message.Down{}
	return m, protodelim.UnmarshalOptions{MaxSize: -1}.UnmarshalFrom(i.from, m)
}

// up is the next message of a child, who may be out of its mind.
func (i *inbox) up() (*message.Up, error) {
	m := &message.Up{}
	return m, protodelim.UnmarshalOptions{MaxSize: maxUp}.UnmarshalFrom(i.from, m)
}
