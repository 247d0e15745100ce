// Package stages is the one list of the built-in kinds of stage.
package stages

import (
	"log/slog"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/stages/authenticate"
	"github.com/pipehook/pipehook/stages/dedupe"
	"github.com/pipehook/pipehook/stages/dispatch"
	"github.com/pipehook/pipehook/stages/echo"
	"github.com/pipehook/pipehook/stages/persist"
	"github.com/pipehook/pipehook/stages/plugin"
	"github.com/pipehook/pipehook/stages/script"
	"github.com/pipehook/pipehook/stages/validate"
)

// Deps are what the stages need of the rest. A chain that is only checked, not run, can be built
// without the store and the listeners.
type Deps struct {
	Log                  *slog.Logger
	Now                  func() time.Time
	Store                dedupe.Log
	Committer            core.Committer
	Deliverer            dispatch.Deliverer
	Resolve              func(path string) string
	AuthenticationFailed func(pipeline, method, reason string)
	JudgeCredential      func(pipeline, username, password string, configured, attempt bool) authenticate.Judgement
	OpenScript           func(script.Spec) (script.Runner, error)
	OpenPlugin           func(plugin.Config) (plugin.Runner, error)
	PluginLimits         core.ProgramLimits // of a plugin that has none of its own
	Echoes               echo.Ledger
	EchoSeen             func(pipeline, result string)
	TablesKept           func() bool
	LongestGuest         time.Duration // that a script or a plugin may take
}

// All makes the factories of every kind.
func All(d Deps) []core.Factory {
	return []core.Factory{
		authenticate.Factory(authenticate.Deps{Log: d.Log, Failed: d.AuthenticationFailed, Judge: d.JudgeCredential}),
		validate.Factory(validate.Deps{Resolve: d.Resolve}),
		script.Factory(script.Deps{Open: d.OpenScript, Longest: d.LongestGuest, Log: d.Log, Now: d.Now}),
		plugin.Factory(plugin.Deps{Open: d.OpenPlugin, Limits: d.PluginLimits, Longest: d.LongestGuest, Log: d.Log, Now: d.Now}),
		echo.Factory(echo.Deps{Ledger: d.Echoes, Seen: d.EchoSeen, Kept: d.TablesKept, Log: d.Log}),
		dedupe.Factory(dedupe.Deps{Log: d.Store, Now: d.Now}),
		persist.Factory(),
		dispatch.Factory(dispatch.Deps{Deliverer: d.Deliverer, Committer: d.Committer}),
	}
}
