package conformance_test

import (
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
	pluginstage "github.com/pipehook/pipehook/stages/plugin"
	scriptstage "github.com/pipehook/pipehook/stages/script"
)

func TestAStageInGo(t *testing.T) {
	coretest.Stage(t, coretest.Differences{Trusted: true, Drop: 300}, func(*testing.T) core.Stage { return coretest.ObedientStage{} })
}

func TestAScriptIsAStage(t *testing.T) {
	eachScript(t, func(t *testing.T, isolated bool) {
		coretest.Stage(t, script, func(t *testing.T) core.Stage {
			s := startScript(t, "testdata/stage.js", isolated)
			factory := scriptstage.Factory(scriptstage.Deps{Open: func(scriptstage.Spec) (scriptstage.Runner, error) { return scriptRunner{s}, nil }})
			return made(t, factory, func(into any) {
				conf := into.(*scriptstage.Config)
				conf.Script, conf.Timeout, conf.OnFailure = "testdata/stage.js", 10*time.Second, "reject"
			})
		})
	})
}

func TestAPluginIsAStage(t *testing.T) {
	eachPlugin(t, func(t *testing.T, path string) {
		coretest.Stage(t, plugin, func(t *testing.T) core.Stage {
			p := startPlugin(t, wire.Stage, path)
			factory := pluginstage.Factory(pluginstage.Deps{Open: func(pluginstage.Config) (pluginstage.Runner, error) { return pluginRunner{p}, nil }})
			return made(t, factory, func(into any) {
				conf := into.(*pluginstage.Config)
				conf.Plugin, conf.Timeout, conf.OnFailure = "obedient", 10*time.Second, "reject"
			})
		})
	})
}

// pluginRunner runs a plugin as the program does for a chain.
type pluginRunner struct{ *plughost.Plugin }

func (pluginRunner) Name() string { return "obedient" }

func (p pluginRunner) Run(ctx context.Context, ev *core.Event, timeout time.Duration) pluginstage.Result {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	own := *ev
	said, err := p.Plugin.Process(ctx, &own)
	rejected, isReject := errors.AsType[*wire.Rejection](err)
	switch {
	case isReject:
		return pluginstage.Result{Reject: &pluginstage.Reject{Status: rejected.Status, Msg: rejected.Msg, RetryAfter: rejected.RetryAfter}}
	case err == nil && said.Dropped:
		return pluginstage.Result{Drop: &said.Reason}
	}
	return pluginstage.Result{Err: err, Amendment: said.Amendment}
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

func (s scriptRunner) Run(ctx context.Context, ev *core.Event, timeout time.Duration) (out scriptstage.Result) {
	own := *ev
	s.Script.Run(ctx, []engine.Call{{Kind: engine.Stage, Event: &own, Timeout: timeout}}, func(_ int, r engine.Result) {
		dropped, isDrop := errors.AsType[*engine.Dropped](r.Err)
		rejected, isReject := errors.AsType[*engine.Rejected](r.Err)
		switch {
		case isDrop:
			out.Drop = &dropped.Reason
		case isReject:
			out.Reject = &scriptstage.Reject{Status: rejected.Status, Msg: rejected.Msg}
		default:
			out.Err, out.Value = r.Err, r.Value
		}
	})
	return out
}
