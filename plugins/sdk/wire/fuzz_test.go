package wire_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/effect"
	"github.com/pipehook/pipehook/plugins/sdk/wire"
	"github.com/pipehook/pipehook/plugins/sdk/wire/pluginv1"
)

// seed gives the fuzzer what was said by all minors.
func seed(f *testing.F, pattern string) {
	f.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "v*", pattern))
	if err != nil || len(files) == 0 {
		f.Fatal(files, err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
}

const longestMessage = 16<<10 + len("…")

// What a host sends can be read, or is refused; what was read can be sent, and is the same then.
func FuzzAnEventIsTheSameOnItsWay(f *testing.F) {
	seed(f, "handle-*.request")
	f.Fuzz(func(t *testing.T, text []byte) {
		var req pluginv1.HandleRequest
		if proto.Unmarshal(text, &req) != nil {
			return
		}
		for _, in := range req.GetEvents() {
			ev, err := wire.Received(in)
			if err != nil {
				continue
			}
			again, err := proto.Marshal(wire.Sent(&ev))
			if err != nil {
				t.Fatalf("it can't be sent: %v", err)
			}
			var sent pluginv1.Event
			if err := proto.Unmarshal(again, &sent); err != nil {
				t.Fatal(err)
			}
			same, err := wire.Received(&sent)
			if err != nil || !reflect.DeepEqual(withoutNothing(same), withoutNothing(ev)) {
				t.Errorf("%+v\nis on arrival %+v, %v", ev, same, err)
			}
		}
	})
}

// withoutNothing makes one of the ways in which nothing is said.
func withoutNothing(ev core.Event) core.Event {
	for _, part := range []*json.RawMessage{&ev.Current, &ev.Previous, &ev.Meta, (*json.RawMessage)(&ev.Body), (*json.RawMessage)(&ev.Key)} {
		if len(*part) == 0 {
			*part = nil
		}
	}
	for name, values := range ev.Header {
		if len(values) == 0 {
			ev.Header[name] = nil
		}
	}
	if len(ev.Labels) == 0 {
		ev.Labels = nil
	}
	return ev
}

// Whatever a listener answers is a result within bounds.
func FuzzAResultIsWithinBounds(f *testing.F) {
	seed(f, "handle-*.response")
	seed(f, "batch.response")
	f.Fuzz(func(t *testing.T, text []byte) {
		var answer pluginv1.HandleResponse
		if proto.Unmarshal(text, &answer) != nil {
			return
		}
		for _, r := range answer.GetResults() {
			got := wire.ResultOf(r)
			if failed, ok := errors.AsType[*core.Error](got.Err); got.Took < 0 || got.Err != nil && (!ok || outOfBounds(failed.Msg, failed.RetryAfter)) {
				t.Errorf("%v came as %+v", r, got)
			}
		}
	})
}

func outOfBounds(msg string, wait time.Duration) bool {
	return len(msg) > longestMessage || !utf8.ValidString(msg) || wait < 0 || wait > 30*24*time.Hour
}

// Whatever a stage or a source answers is a verdict within bounds, and an amendment that is taken or refused.
func FuzzAVerdictIsWithinBounds(f *testing.F) {
	for _, name := range []string{"process.response", "dropped.response", "rejected.response", "name.response"} {
		seed(f, name)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var judged pluginv1.ProcessResponse
		if proto.Unmarshal(text, &judged) == nil {
			said, err := wire.Judged(&judged)
			if wrong(err) || len(said.Reason) > longestMessage {
				t.Errorf("%v came as %+v, %v", &judged, said, err)
			}
			ev := old("1")
			was := old("1")
			if _, err := ev.Amend(said.Amendment); err != nil && !reflect.DeepEqual(ev, was) {
				t.Errorf("it was refused (%v), and changed %+v", err, ev)
			}
		}
		var named pluginv1.NameResponse
		if proto.Unmarshal(text, &named) == nil {
			ev, err := wire.Naming(&named)
			if wrong(err) || err == nil && (ev.ID != "" || ev.Body != nil || ev.Header != nil || ev.Labels != nil || ev.Attempt < 0) {
				t.Errorf("%v came as %+v, %v", &named, ev, err)
			}
		}
	})
}

func wrong(err error) bool {
	if rejected, ok := errors.AsType[*wire.Rejection](err); ok {
		return outOfBounds(rejected.Msg, rejected.RetryAfter)
	}
	failed, ok := errors.AsType[*core.Error](err)
	return err != nil && (!ok || outOfBounds(failed.Msg, failed.RetryAfter))
}

// Whatever a plugin asks for is asked, and the answer can be sent.
func FuzzAQuestionIsAnswered(f *testing.F) {
	for _, name := range []string{"kv.request", "emit.request", "measure.request"} {
		seed(f, name)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, err := range []error{nil, &effect.Error{Code: "EINVAL", Msg: string(text)}, errors.New(string(text))} {
			a := &answering{err: err}
			host := wire.HostEnd(a)
			var answers []proto.Message
			var kv pluginv1.KVRequest
			if proto.Unmarshal(text, &kv) == nil {
				answer, err := host.KV(t.Context(), &kv)
				if answers = append(answers, answer); err != nil {
					t.Error(err)
				}
				if op := a.asked[1].(effect.KVOp); kv.GetTtlMs() < 0 != (op.TTL < 0) {
					t.Errorf("%d ms are %s", kv.GetTtlMs(), op.TTL)
				}
			}
			var emit pluginv1.EmitRequest
			if proto.Unmarshal(text, &emit) == nil {
				answer, err := host.Emit(t.Context(), &emit)
				if answers = append(answers, answer); err != nil {
					t.Error(err)
				}
			}
			var measure pluginv1.MeasureRequest
			if proto.Unmarshal(text, &measure) == nil {
				answer, err := host.Measure(t.Context(), &measure)
				if answers = append(answers, answer); err != nil {
					t.Error(err)
				}
			}
			for _, answer := range answers {
				if _, err := proto.Marshal(answer); err != nil {
					t.Errorf("%v can't be sent: %v", answer, err)
				}
			}
		}
	})
}

// Whatever an author's stage makes of an event can be sent.
func FuzzWhatAStageMakesOfAnEventCanBeSent(f *testing.F) {
	f.Add("won", "deal", "7", `{"a":1}`, "size", "large", "it is gone")
	f.Add("\xff", "\x00", strings.Repeat("x", 300), "", "\xfe", "\xfd", "\xfc")
	f.Fuzz(func(t *testing.T, action, object, id, current, key, value, remark string) {
		stage := wire.ServerEnd(acting(func(_ context.Context, ev *core.Event) error {
			ev.Action, ev.Object, ev.ObjectID, ev.Current, ev.Labels = action, object, id, json.RawMessage(current), map[string]string{key: value}
			if remark != "" && remark[0] > 0x7f {
				return errors.New(remark)
			}
			return nil
		}))
		answer, err := stage.Process(t.Context(), &pluginv1.ProcessRequest{Event: wire.Sent(&core.Event{}), TimeoutMs: 1000})
		if err != nil {
			t.Fatal(err)
		}
		text, err := proto.Marshal(answer)
		if err != nil {
			t.Fatalf("it can't be sent: %v", err)
		}
		if err := proto.Unmarshal(text, answer); err != nil {
			t.Fatal(err)
		}
		if said, err := wire.Judged(answer); err == nil && said.Amendment.Action == nil && action != "" {
			t.Errorf("%+v", said)
		}
	})
}
