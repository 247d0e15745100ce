package spool

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"net/http"
	"net/netip"
	"time"

	"github.com/pipehook/pipehook/core"
)

// A record is: length of what follows the checksum, 4 bytes; CRC-32C of it, 4; length of the
// meta data, 4; the meta data as JSON; the body as it was received. Numbers are little endian.
const (
	frameSize = 8
	metaAt    = 4
	maxRecord = 1 << 30 // a length above is damage, not to be allocated
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errTorn says that a file ends within a record: the write was cut off, and nobody was told that
// the event is kept.
var errTorn = errors.New("the record is cut off")

// errDamaged says that what stands there was never written so.
var errDamaged = errors.New("the record is damaged")

// meta is what is kept of an event besides its body. The source reads the rest out of the body
// again.
type meta struct {
	ID         string
	Pipeline   string
	Source     string
	ReceivedAt time.Time
	Remote     netip.Addr
	Header     http.Header
	Action     string
	Object     string
	ObjectID   string
	OccurredAt time.Time
	Labels     map[string]string `json:",omitempty"`
	Overlay    string            `json:",omitempty"`
	Plan       core.Plan
	Steps      []core.StepTrace
	Refused    []core.Refusal
}

// appendRecord adds the event to buf.
func appendRecord(buf []byte, ev *core.Event) ([]byte, error) {
	text, err := json.Marshal(meta{
		ID: ev.ID, Pipeline: ev.Pipeline, Source: ev.Source, ReceivedAt: ev.ReceivedAt, Remote: ev.Remote,
		Header: core.KeptHeader(ev.Header), Action: ev.Action, Object: ev.Object, ObjectID: ev.ObjectID, OccurredAt: ev.OccurredAt,
		Labels: ev.Labels, Overlay: ev.Overlay, Plan: ev.Plan, Steps: ev.Steps, Refused: ev.Refused,
	})
	if err != nil {
		return buf, fmt.Errorf("event %s can't be written down: %w", ev.ID, err)
	}
	start := len(buf)
	buf = append(buf, make([]byte, frameSize)...)
	buf = binary.LittleEndian.AppendUint32(buf, uint32(len(text)))
	buf = append(append(buf, text...), ev.Body...)
	content := buf[start+frameSize:]
	binary.LittleEndian.PutUint32(buf[start:], uint32(len(content)))
	binary.LittleEndian.PutUint32(buf[start+4:], crc32.Checksum(content, castagnoli))
	return buf, nil
}

// nextRecord reads the record that data begins with and returns what follows it. The error is
// errTorn or errDamaged. The event's Body is a part of data.
func nextRecord(data []byte) (ev *core.Event, rest []byte, err error) {
	if len(data) < frameSize {
		return nil, nil, errTorn
	}
	size := binary.LittleEndian.Uint32(data)
	if size < metaAt || size > maxRecord {
		return nil, nil, errDamaged
	}
	if uint64(len(data)-frameSize) < uint64(size) {
		return nil, nil, errTorn
	}
	content := data[frameSize : frameSize+int(size)]
	if crc32.Checksum(content, castagnoli) != binary.LittleEndian.Uint32(data[4:]) {
		return nil, nil, errDamaged
	}
	metaLen := binary.LittleEndian.Uint32(content)
	if uint64(metaLen) > uint64(len(content)-metaAt) {
		return nil, nil, errDamaged
	}
	var m meta
	if err := json.Unmarshal(content[metaAt:metaAt+int(metaLen)], &m); err != nil {
		return nil, nil, errDamaged
	}
	return &core.Event{
		ID: m.ID, Pipeline: m.Pipeline, Source: m.Source, ReceivedAt: m.ReceivedAt, Remote: m.Remote, Header: m.Header,
		Action: m.Action, Object: m.Object, ObjectID: m.ObjectID, OccurredAt: m.OccurredAt,
		Labels: m.Labels, Overlay: m.Overlay, Body: content[metaAt+int(metaLen):], Plan: m.Plan, Steps: m.Steps, Refused: m.Refused,
	}, data[frameSize+int(size):], nil
}
