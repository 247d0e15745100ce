package wire_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/plugins/sdk/wire"
	"github.com/pipehook/pipehook/plugins/sdk/wire/pluginv1"
)

// throwing is a plugin in which an exception of the author's, for an event with an object, becomes an
// error of gRPC.
type throwing struct{ foreign }

func thrown(ev *pluginv1.Event) error {
	if ev.GetObject() == "" {
		return nil
	}
	var code codes.Code
	if err := code.UnmarshalJSON([]byte(`"` + ev.GetObject() + `"`)); err != nil {
		panic(err)
	}
	return status.Error(code, "thrown for "+ev.GetId())
}

func (*throwing) Handle(_ context.Context, req *pluginv1.HandleRequest) (*pluginv1.HandleResponse, error) {
	return &pluginv1.HandleResponse{Results: []*pluginv1.Result{{Outcome: pluginv1.Outcome_OUTCOME_DONE}}}, thrown(req.GetEvents()[0])
}

func (*throwing) HandleBatch(req *pluginv1.HandleRequest, stream pluginv1.ListenerService_HandleBatchServer) error {
	for _, ev := range req.GetEvents() {
		if err := thrown(ev); err != nil {
			return err
		}
		if err := stream.Send(&pluginv1.HandleResponse{Results: []*pluginv1.Result{{Outcome: pluginv1.Outcome_OUTCOME_DONE}}}); err != nil {
			return err
		}
	}
	return nil
}

func (*throwing) Process(_ context.Context, req *pluginv1.ProcessRequest) (*pluginv1.ProcessResponse, error) {
	return nil, thrown(req.GetEvent())
}

func TestAnErrorOfGRPCIsThatOfTheEventWhoseTurnItIs(t *testing.T) {
	client := connectTo(t, &throwing{})
	for name, test := range map[string]struct {
		objects []string
		want    string
	}{
		"alone":            {[]string{"UNKNOWN"}, "[failed: thrown for 0] <nil>"},
		"the first":        {[]string{"UNKNOWN", "", ""}, "[failed: thrown for 0 <nil> <nil>] <nil>"},
		"in the middle":    {[]string{"", "INVALID_ARGUMENT", "", ""}, "[<nil> failed: thrown for 1 <nil> <nil>] <nil>"},
		"the last":         {[]string{"", "NOT_FOUND"}, "[<nil> failed: thrown for 1] <nil>"},
		"each":             {[]string{"ABORTED", "UNKNOWN", "UNKNOWN"}, "[failed: thrown for 0 failed: thrown for 1 failed: thrown for 2] <nil>"},
		"one of gRPC's":    {[]string{"INTERNAL"}, "[] thrown for 0 (Internal)"},
		"and in a batch":   {[]string{"", "UNAVAILABLE", ""}, "[<nil>] thrown for 1 (Unavailable)"},
		"after one's own":  {[]string{"UNKNOWN", "", "INTERNAL"}, "[failed: thrown for 0 <nil>] thrown for 2 (Internal)"},
		"not implemented":  {[]string{"UNIMPLEMENTED"}, "[] thrown for 0 (Unimplemented)"},
		"a call cancelled": {[]string{"CANCELLED"}, "[] thrown for 0 (Canceled)"},
	} {
		given := make([]wire.Given, len(test.objects))
		for i, object := range test.objects {
			given[i].Event = &core.Event{ID: fmt.Sprint(i), Object: object}
		}
		came := []string{}
		err := client.Handle(t.Context(), time.Second, given, func(i int, r wire.Result) {
			text := fmt.Sprint(r.Err)
			if core.KindOf(r.Err) == core.Failed {
				text = "failed: " + text
			}
			if came = append(came, text); i != len(came)-1 {
				t.Errorf("%s: result %d comes as number %d", name, i, len(came)-1)
			}
		})
		if got := fmt.Sprint(came, " ", err); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
	if _, err := client.Process(t.Context(), time.Second, wire.Given{Event: &core.Event{ID: "s", Object: "UNKNOWN"}}); core.KindOf(err) != core.Failed {
		t.Errorf("a stage's, kind %s: %v", core.KindOf(err), err)
	}
}
