package wire_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/plugins/sdk/wire"
	"github.com/pipehook/pipehook/plugins/sdk/wire/pluginv1"
)

// telling says what it sees of an event's parts, as its failure.
type telling struct{ fake }

func (telling) Handle(_ context.Context, _ wire.Call, ev core.Event) error {
	return fmt.Errorf("%s|%s|%s", ev.Current, ev.Previous, ev.Meta)
}

func TestPartsThatAreInTheBodyAreTheSameInThePlugin(t *testing.T) {
	body := []byte(`{"meta":{"a":1},"data":{"a":1,"b":"ü"},"previous":{"a":1}}`)
	for name, test := range map[string]struct {
		ev   core.Event
		want string
	}{
		"all":       {core.Event{Body: body, Current: body[23:39], Previous: body[bytes.LastIndexByte(body, '{') : len(body)-1], Meta: body[8:15]}, `{"a":1,"b":"ü"}|{"a":1}|{"a":1}`},
		"none":      {core.Event{Body: body}, `||`},
		"changed":   {core.Event{Body: body, Current: json.RawMessage(`{"a":2}`), Meta: body[8:15]}, `{"a":2}||{"a":1}`},
		"no body":   {core.Event{Current: json.RawMessage(`{}`)}, `{}||`},
		"all of it": {core.Event{Body: body[8:15], Current: body[8:15]}, `{"a":1}||`},
	} {
		for _, events := range [][]core.Event{{test.ev}, {test.ev, test.ev}} {
			for _, err := range handle(t, connect(t, telling{}), events...) {
				if err.Error() != test.want {
					t.Errorf("%s: it sees %v, want %s", name, err, test.want)
				}
			}
		}
	}
}

func TestAPartThatEndsBehindTheBodyIsRefused(t *testing.T) {
	for name, ev := range map[string]*pluginv1.Event{
		"behind it": {Body: []byte("{}"), CurrentAt: 1, CurrentSize: 2},
		"far away":  {Body: []byte("{}"), MetaAt: 1<<32 - 1, MetaSize: 1<<32 - 1},
		"no body":   {PreviousSize: 1},
	} {
		if _, err := wire.Received(ev); err == nil {
			t.Errorf("%s: it was taken", name)
		}
	}
}
