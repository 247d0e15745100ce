package main

import (
	"context"

	"github.com/pipehook/pipehook/core/effect"
	"github.com/pipehook/pipehook/core/plughost"
	"github.com/pipehook/pipehook/core/telemetry"
	"github.com/pipehook/pipehook/plugins/sdk/wire"
)

// pluginHost is the plughost.Services of one plugin.
type pluginHost struct {
	*userHost
	metrics *telemetry.Plugins
}

var _ plughost.Services = (*pluginHost)(nil)

// pluginServices is what answers plugins.
func (a *app) pluginServices() func(s *plughost.Spec) plughost.Services {
	metrics := a.metrics.Plugins(func() map[string]telemetry.Plugin { return a.plugins.standing() })
	return func(s *plughost.Spec) plughost.Services {
		return &pluginHost{a.effects.user(pluginHostSpec(s)), metrics}
	}
}

// pluginHostSpec is what a plugin may do.
func pluginHostSpec(s *plughost.Spec) hostSpec {
	return hostSpec{what: "plugin", name: s.Caller(), emits: s.Kind == wire.Listener, names: s.Kind == wire.Source}
}

// maxPluginAnswer is below the 4 MiB at which the libraries of gRPC stop.
const maxPluginAnswer = 3 << 20

// Pipedrive is part of plughost.Services.
func (h *pluginHost) Pipedrive(ctx context.Context, by effect.Caller, c *effect.APICall) (*effect.APIAnswer, error) {
	answer, err := h.userHost.Pipedrive(ctx, by, c)
	if err == nil && len(answer.Data) > maxPluginAnswer {
		return nil, &effect.Error{Code: "ETOOLARGE", Msg: "the answer has more than 3 MiB: ask for smaller pages, with limit in the query", Status: answer.Status}
	}
	return answer, err
}

// Measure is part of plughost.Services.
func (h *pluginHost) Measure(_ context.Context, by effect.Caller, measures []effect.Measure) error {
	return h.metrics.Measure(by.Name, measures)
}

// standing is where the plugins stand, by the names that they have for people. One plugin may have several
// processes, for places that configure it differently.
func (s *pluginSet) standing() map[string]telemetry.Plugin {
	all := map[string]telemetry.Plugin{}
	for _, r := range s.all() {
		state := r.plugin().State()
		name := r.spec.Caller()
		before, several := all[name]
		all[name] = telemetry.Plugin{
			Up: state.Word == plughost.Running && (before.Up || !several), Restarts: before.Restarts + state.Restarts,
		}
	}
	return all
}
