package conformance_test

import (
	"testing"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/coretest"
)

func TestAScriptTakesBatches(t *testing.T) {
	eachScript(t, func(t *testing.T, isolated bool) {
		coretest.Batch(t, script, func(t *testing.T) core.BatchListener { return startScript(t, "testdata/listener.js", isolated) })
	})
}
