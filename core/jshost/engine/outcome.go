package engine

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/dop251/goja"

	"github.com/pipehook/pipehook/core"
)

// longestWait is the most that a script may ask for: what waits longer is forgotten by people.
const longestWait = 30 * 24 * time.Hour

// fail ends the call for good: ctx.fail(message). Another attempt would not help.
func (rt *runtime) fail(call goja.FunctionCall) goja.Value {
	msg := rt.told(call.Argument(0), "the handler gave up")
	panic(rt.outcome("PermanentFailure", msg, &core.Error{Kind: core.Permanent, Msg: msg}))
}

// retryAfter ends the call and says when to try again: ctx.retryAfter(60, message) in seconds, or
// ctx.retryAfter("5m", message).
func (rt *runtime) retryAfter(call goja.FunctionCall) goja.Value {
	var wait time.Duration
	switch given := plain(call.Argument(0)).(type) {
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
	msg := rt.told(call.Argument(1), "the handler asked to be called again in "+wait.String())
	panic(rt.outcome("TryAgain", msg, &core.Error{Kind: core.Failed, Msg: msg, RetryAfter: wait}))
}

// outcome is what to throw: an Error for the script, of which the engine knows what it means.
func (rt *runtime) outcome(name, msg string, meaning error) *goja.Object {
	thrown := rt.newError(name, "", msg)
	rt.meant = append(rt.meant, meant{thrown, meaning})
	return thrown
}

// drop ends the call of a stage: ctx.drop(reason). The event is not wanted.
func (rt *runtime) drop(call goja.FunctionCall) goja.Value {
	reason := rt.told(call.Argument(0), "the stage dropped it")
	panic(rt.outcome("Dropped", reason, &Dropped{Reason: reason}))
}

// statuses are those that a stage may answer with. Others would mean something else to a sender, or
// make it try again for nothing.
var statuses = []int64{400, 401, 403, 409, 413, 415, 422, 429, 503}

// reject ends the call of a stage: ctx.reject(status, message). The sender is told.
func (rt *runtime) reject(call goja.FunctionCall) goja.Value {
	status, ok := plain(call.Argument(0)).(int64)
	if !ok || !slices.Contains(statuses, status) {
		panic(rt.vm.NewTypeError("ctx.reject wants one of the statuses %s", strings.Trim(fmt.Sprint(statuses), "[]")))
	}
	msg := rt.told(call.Argument(1), "the stage rejected it")
	panic(rt.outcome("Rejected", msg, &Rejected{Status: int(status), Msg: msg}))
}

// told is what a script wants people to read.
func (rt *runtime) told(v goja.Value, otherwise string) string {
	return shortened(rt.redact(text(v, otherwise)), maxThrown)
}

func text(v goja.Value, otherwise string) string {
	if v == nil || goja.IsUndefined(v) || goja.IsNull(v) {
		return otherwise
	}
	return v.String()
}
