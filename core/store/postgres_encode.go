package store

import (
	"bytes"
	"encoding/hex"
	"math"
	"strconv"

	"github.com/pipehook/pipehook/core"
)

// encodePlans makes the arguments for the plans; news reports whether there is a delivery.
func encodePlans(plans []*plan, k keying) (args []any, news bool) {
	var id, pipeline, source, action, object, objectID, occurred, received, key, remote, header, at, length, trace array
	var dID, dListener, dRecord array
	var bodies bytes.Buffer
	for _, p := range plans {
		ev := p.ev
		if ev.Plan.Empty() {
			continue
		}
		id.text(ev.ID)
		pipeline.text(ev.Pipeline)
		source.text(ev.Source)
		action.text(ev.Action)
		object.text(ev.Object)
		objectID.text(ev.ObjectID)
		occurred.int(micros(ev.OccurredAt))
		received.int(micros(ev.ReceivedAt))
		remote.text(remoteText(ev.Remote))
		header.text(headerText(ev.Header))
		trace.text(ev.Trace())
		if k == keyed {
			key.bytes(ev.Plan.Key)
		} else {
			key.bytes(nil)
		}
		at.int(int64(bodies.Len()) + 1)
		if ev.Plan.Store {
			length.int(int64(len(ev.Body)))
			bodies.Write(ev.Body)
		} else {
			length.int(-1)
		}
		for _, listener := range ev.Plan.Listeners {
			if !ev.Plan.Store || k == keyless && !ev.Plan.DeliverDuplicate {
				break
			}
			dID.text(ev.ID)
			dListener.text(listener)
			dRecord.int(ev.Record())
			news = true
		}
	}
	args = literals(&id, &pipeline, &source, &action, &object, &objectID, &occurred, &received, &key, &remote, &header, &at, &length, &trace)
	args = append(args, bodies.Bytes())
	return append(args, literals(&dID, &dListener, &dRecord)...), news
}

// encodeOverlays makes the arguments for what was said of the plans' events.
func encodeOverlays(plans []*plan) (labels, overlays string) {
	var l, o array
	for _, p := range plans {
		if !p.ev.Plan.Empty() {
			l.text(p.ev.LabelsText())
			o.text(overlayText(p.ev))
		}
	}
	return l.literal(), o.literal()
}

// encodeStates makes the arguments for what may forestall the plans. A duplicate that is kept all the same
// asks for nothing.
func encodeStates(plans []*plan, k keying) []any {
	var state, age, later array
	for _, p := range plans {
		if p.ev.Plan.Empty() {
			continue
		}
		if k == keyless {
			state.bytes(nil)
			later.null()
		} else {
			state.bytes(p.ev.Plan.State)
			if after := afterSeq(p.ev); after == math.MaxInt64 {
				later.null()
			} else {
				later.int(after)
			}
		}
		age.int(windowMicros(p.ev))
	}
	return literals(&state, &age, &later)
}

// windowMicros is how old a key may be that still counts, in microseconds.
func windowMicros(ev *core.Event) int64 {
	if ev.Plan.Window == 0 {
		return math.MaxInt64
	}
	return ev.Plan.Window.Microseconds()
}

// afterSeq is the seq above which nothing may be stored about the event's record; none is above when it does
// not ask.
func afterSeq(ev *core.Event) int64 {
	if ev.Plan.After == 0 || ev.ObjectID == "" {
		return math.MaxInt64
	}
	return ev.Plan.After
}

func encodeAttempts(attempts []core.Attempt) []any {
	var shard, epoch, seq, listener, state, number, wait, started, finished, took, text, code, crashed, record, occurred, turn, output array
	for i := range attempts {
		a := &attempts[i]
		shard.int(int64(a.Shard))
		epoch.int(a.Epoch)
		seq.int(a.Seq)
		listener.text(a.Listener)
		state.int(int64(a.State))
		number.int(int64(a.Number))
		wait.int(a.Wait.Microseconds())
		started.int(micros(a.Started))
		finished.int(ended(a))
		took.int(a.Took.Microseconds())
		text.text(a.Err)
		code.text(a.Code)
		crashed.bool(a.Crashed)
		record.int(a.Record)
		occurred.int(micros(a.Occurred))
		turn.int(a.Turn)
		output.text(a.Output)
	}
	return literals(&shard, &epoch, &seq, &listener, &state, &number, &wait, &started, &finished, &took, &text, &code, &crashed, &record, &occurred, &turn, &output)
}

// array builds PostgreSQL's text form of an array.
type array struct{ b []byte }

func (a *array) sep() {
	if len(a.b) == 0 {
		a.b = append(a.b, '{')
	} else {
		a.b = append(a.b, ',')
	}
}

func (a *array) int(n int64) {
	a.sep()
	a.b = strconv.AppendInt(a.b, n, 10)
}

func (a *array) bool(v bool) {
	if v {
		a.int(1)
	} else {
		a.int(0)
	}
}

func (a *array) text(s string) {
	a.sep()
	a.b = append(a.b, '"')
	for _, r := range []byte(plainText(s)) {
		if r == '"' || r == '\\' {
			a.b = append(a.b, '\\')
		}
		a.b = append(a.b, r)
	}
	a.b = append(a.b, '"')
}

func (a *array) null() {
	a.sep()
	a.b = append(a.b, "NULL"...)
}

func (a *array) bytes(v []byte) {
	if v == nil {
		a.null()
		return
	}
	a.sep()
	a.b = append(a.b, `"\\x`...)
	a.b = hex.AppendEncode(a.b, v)
	a.b = append(a.b, '"')
}

func (a *array) literal() string {
	if len(a.b) == 0 {
		return "{}"
	}
	return string(append(a.b, '}'))
}

func literals(arrays ...*array) []any {
	all := make([]any, len(arrays))
	for i, a := range arrays {
		all[i] = a.literal()
	}
	return all
}
