package wire

import (
	"bytes"
	"fmt"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/plugins/sdk/wire/pluginv1"
)

// spans is what a Manifest has beside Listener when the plugin finds the parts of an event in its body.
// They are most of what there is to send, twice over.
const spans = "listener.spans"

// span finds what is sent of a part in the body, and reports whether it is there.
func span(body, part []byte, at, size *uint32) bool {
	if len(part) == 0 {
		return false
	}
	i := bytes.Index(body, part)
	if i < 0 { // a stage has changed it
		return false
	}
	*at, *size = uint32(i), uint32(len(part)) // no body is that long
	return true
}

// shorten says of the parts where they are, where that can be said.
func shorten(out *pluginv1.Event) {
	if span(out.Body, out.Current, &out.CurrentAt, &out.CurrentSize) {
		out.Current = nil
	}
	if span(out.Body, out.Previous, &out.PreviousAt, &out.PreviousSize) {
		out.Previous = nil
	}
	if span(out.Body, out.Meta, &out.MetaAt, &out.MetaSize) {
		out.Meta = nil
	}
}

// lengthen gives the event the parts that are in its body, which it shares with them.
func lengthen(ev *core.Event, in *pluginv1.Event) error {
	for _, part := range []struct {
		at, size uint32
		into     *[]byte
	}{
		{in.GetCurrentAt(), in.GetCurrentSize(), (*[]byte)(&ev.Current)}, {in.GetPreviousAt(), in.GetPreviousSize(), (*[]byte)(&ev.Previous)},
		{in.GetMetaAt(), in.GetMetaSize(), (*[]byte)(&ev.Meta)},
	} {
		if part.size == 0 {
			continue
		}
		end := int64(part.at) + int64(part.size)
		if end > int64(len(ev.Body)) {
			return fmt.Errorf("a part of the event is said to end at byte %d of a body of %d", end, len(ev.Body))
		}
		*part.into = ev.Body[part.at:end:end]
	}
	return nil
}
