package engine

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/dop251/goja"

	"github.com/pipehook/pipehook/core/effect"
	"github.com/pipehook/pipehook/core/jshost/web"
)

// platform gives the engine's global object what scripts expect of the web, when they first ask for
// any of it.
func (rt *runtime) platform(original *goja.Object) *goja.Object {
	if rt.web != nil {
		return original
	}
	deps := web.Deps{
		Async: func(op func(context.Context) (func(*goja.Runtime) goja.Value, error)) goja.Value {
			by := rt.by() // the operation runs beside the call, which may be another one later
			return rt.async("fetch", func(ctx context.Context) (func(*goja.Runtime) goja.Value, error) {
				return op(context.WithValue(ctx, callerKey{}, by))
			})
		},
		After: func(d time.Duration, f func() error) func() { return rt.after("AbortSignal.timeout", d, f) },
		// Random is the system's: tests that want the same bytes each time have no use for these.
		Random: rand.Reader,
	}
	if rt.opts.Host != nil {
		deps.Fetch = rt.fetch
	}
	var err error
	rt.vm.SetGlobalObject(original) // where it defines them
	rt.web, err = web.Install(rt.vm, deps)
	rt.vm.SetGlobalObject(rt.global.self)
	if err != nil {
		panic(err) // it was given all that it needs
	}
	return original
}

// callerKey finds the Caller that an operation of web was begun by; web knows of none.
type callerKey struct{}

// fetch asks the host. It runs on a goroutine of its own.
func (rt *runtime) fetch(ctx context.Context, r *web.FetchRequest) (*web.FetchResponse, error) {
	by, _ := ctx.Value(callerKey{}).(effect.Caller)
	response, err := rt.opts.Host.Fetch(ctx, by, &FetchRequest{Method: r.Method, URL: r.URL, Header: r.Header, Body: r.Body, Redirect: r.Redirect})
	if known, ok := errors.AsType[*effect.Error](err); ok {
		return nil, &web.FetchError{Code: known.Code, Msg: known.Msg}
	}
	if err != nil && ctx.Err() == nil {
		if rt.opts.Log != nil {
			rt.opts.Log.Error("an operation of a script failed", "listener", rt.opts.Name, "operation", "fetch", "err", err)
		}
		return nil, &web.FetchError{Code: "EINTERNAL", Msg: "pipehook could not do it; its log says why"}
	}
	if err != nil {
		return nil, err
	}
	return &web.FetchResponse{Status: response.Status, StatusText: response.StatusText, URL: response.URL, Redirected: response.Redirected, Header: response.Header, Body: response.Body}, nil
}

// deadlineSignal is ctx.signal. It is aborted a little before the deadline: at the deadline itself
// nothing of the script runs any more.
func (rt *runtime) deadlineSignal() goja.Value {
	if rt.signal != nil {
		return rt.signal
	}
	if rt.calling == nil {
		return goja.Undefined()
	}
	rt.platform(rt.global.original)
	signal, err := rt.web.NewSignal()
	if err != nil {
		panic(err)
	}
	left := time.Until(rt.deadline)
	if !rt.shown.IsZero() {
		left = rt.shown.Sub(rt.now())
	}
	if !rt.shown.IsZero() || !rt.deadline.IsZero() && rt.opts.Clock == nil { // another clock knows nothing of the deadline
		rt.after("ctx.signal", left-min(left/10, 250*time.Millisecond), func() error {
			return signal.Abort("TimeoutError", "the call's deadline is near")
		})
	}
	rt.signal = signal.Value()
	return rt.signal
}
