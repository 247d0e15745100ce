// Command plugin does what the suites ask for, as a plugin.
package main

import (
	"github.com/pipehook/pipehook/core/coretest"
	"github.com/pipehook/pipehook/plugins/sdk"
)

func main() {
	sdk.Serve(sdk.Plugin{
		Name: "obedient", Version: "1.0.0",
		Listener: sdk.ListenerFunc(coretest.Obey), Stage: coretest.ObedientStage{Directly: true, Reject: sdk.Reject},
	})
}
