package engine

import (
	"math"
	"time"

	"github.com/dop251/goja"

	"github.com/pipehook/pipehook/core"
)

// longestWait is the most that a script may ask for: what waits longer is forgotten by people.
const longestWait = 30 * 24 * time.Hour

// fail ends the call for good: ctx.fail(message). Another attempt would not help.
func (rt *runtime) fail(call goja.FunctionCall) goja.Value {
	panic(rt.outcome("PermanentFailure", text(call.Argument(0), "the handler gave up"), &core.Error{Kind: core.Permanent}))
}

// retryAfter ends the call and says when to try again: ctx.retryAfter(60, message) in seconds, or
// ctx.retryAfter("5m", message).
func (rt *runtime) retryAfter(call goja.FunctionCall) goja.Value {
	var wait time.Duration
	switch given := call.Argument(0).Export().(type) {
	case string:
		d, err := core.ParseDuration(given)
		if err != nil {
			panic(rt.vm.NewTypeError("ctx.retryAfter: %s", err.Error()))
		}
		wait = d
	case int64:
		wait = time.Duration(min(float64(given), longestWait.Seconds())) * time.Second
	case float64:
		if math.IsNaN(given) {
			given = -1
		}
		wait = time.Duration(min(given, longestWait.Seconds()) * float64(time.Second))
	default:
		panic(rt.vm.NewTypeError("ctx.retryAfter wants seconds, or a duration such as \"5m\""))
	}
	if wait <= 0 || wait > longestWait {
		panic(rt.vm.NewTypeError("ctx.retryAfter: the wait must be longer than nothing and at most %d days", longestWait/(24*time.Hour)))
	}
	panic(rt.outcome("TryAgain", text(call.Argument(1), "the handler asked to be called again in "+wait.String()),
		&core.Error{Kind: core.Failed, RetryAfter: wait}))
}

// outcome is what to throw: an Error for the script, which says to the engine what it means.
func (rt *runtime) outcome(name, msg string, meaning *core.Error) *goja.Object {
	meaning.Msg = msg
	thrown := rt.vm.NewGoError(meaning)
	_ = thrown.Set("name", name) // a new object takes any property
	return thrown
}

func text(v goja.Value, otherwise string) string {
	if v == nil || goja.IsUndefined(v) || goja.IsNull(v) {
		return otherwise
	}
	return v.String()
}
