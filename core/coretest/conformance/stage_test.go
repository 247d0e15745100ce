package conformance_test

import (
	"cmp"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/coretest"
	"github.com/pipehook/pipehook/core/jshost"
	"github.com/pipehook/pipehook/core/jshost/engine"
	"github.com/pipehook/pipehook/core/plughost"
	"github.com/pipehook/pipehook/plugins/sdk/wire"
	stage "github.com/pipehook/pipehook/stages/script"
)

func TestAStageInGo(t *testing.T) {
	coretest.Stage(t, coretest.Differences{Trusted: true, Drop: 300}, func(*testing.T) core.Stage { return coretest.ObedientStage{} })
}

func TestAScriptIsAStage(t *testing.T) {
	eachScript(t, func(t *testing.T, isolated bool) {
		coretest.Stage(t, script, func(t *testing.T) core.Stage {
			s := startScript(t, "testdata/stage.js", isolated)
			factory := stage.Factory(stage.Deps{Open: func(stage.Spec) (stage.Runner, error) { return scriptRunner{s}, nil }})
			return made(t, factory, func(into any) {
				conf := into.(*stage.Config)
				conf.Script, conf.Timeout, conf.OnFailure = "testdata/stage.js", 10*time.Second, "reject"
			})
		})
	})
}

func TestAPluginIsAStage(t *testing.T) {
	eachPlugin(t, func(t *testing.T, path string) {
		coretest.Stage(t, plugin, func(t *testing.T) core.Stage { return judge{startPlugin(t, wire.Stage, path)} })
	})
}

// judge does to an event what a plugin says of it.
type judge struct{ *plughost.Plugin }

func (s judge) Process(ctx context.Context, ev *core.Event) (core.Verdict, error) {
	j, err := s.Plugin.Process(ctx, ev)
	if r, ok := errors.AsType[*wire.Rejection](err); ok && coretest.Kinds[r.Status] != core.Internal {
		e := &core.Error{Kind: coretest.Kinds[r.Status], Msg: cmp.Or(r.Msg, "turned away")[:min(len(cmp.Or(r.Msg, "turned away")), 1<<10)]}
		if r.Status == 401 {
			e.Challenge = "Custom"
		}
		return core.Continue, e
	}
	if err == nil && j.Dropped {
		ev.Remark(j.Reason)
		return core.Dropped, nil
	}
	if err == nil {
		_, err = ev.Amend(j.Amendment)
	}
	if err != nil {
		return core.Continue, &core.Error{Kind: core.Unavailable, Msg: "not now", Err: err}
	}
	return core.Continue, nil
}

// made is a factory's stage, with a configuration that set fills in.
func made(t *testing.T, f core.Factory, set func(into any)) core.Stage {
	t.Helper()
	s, err := f.New(func(into any) error {
		set(into)
		return nil
	}, core.Place{Pipeline: "crm", Kinds: []string{f.Kind}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// scriptRunner runs a script as the program does for a chain.
type scriptRunner struct{ *jshost.Script }

func (scriptRunner) Name() string { return "obedient" }

func (s scriptRunner) Run(ctx context.Context, ev *core.Event, timeout time.Duration) (out stage.Result) {
	own := *ev
	s.Script.Run(ctx, []engine.Call{{Kind: engine.Stage, Event: &own, Timeout: timeout}}, func(_ int, r engine.Result) {
		dropped, isDrop := errors.AsType[*engine.Dropped](r.Err)
		rejected, isReject := errors.AsType[*engine.Rejected](r.Err)
		switch {
		case isDrop:
			out.Drop = &dropped.Reason
		case isReject:
			out.Reject = &stage.Reject{Status: rejected.Status, Msg: rejected.Msg}
		default:
			out.Err, out.Value = r.Err, r.Value
		}
	})
	return out
}
