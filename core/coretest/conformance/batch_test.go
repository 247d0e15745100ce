package conformance_test

import (
	"testing"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/coretest"
	"github.com/pipehook/pipehook/plugins/sdk/wire"
)

func TestAScriptTakesBatches(t *testing.T) {
	eachScript(t, func(t *testing.T, isolated bool) {
		coretest.Batch(t, script, func(t *testing.T) core.BatchListener { return startScript(t, "testdata/listener.js", isolated) })
	})
}

func TestAPluginTakesBatches(t *testing.T) {
	eachPlugin(t, func(t *testing.T, path string) {
		coretest.Batch(t, plugin, func(t *testing.T) core.BatchListener { return startPlugin(t, wire.Listener, path) })
	})
}
