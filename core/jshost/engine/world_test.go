package engine_test

import (
	"context"
	"testing"
	"time"

	"github.com/dop251/goja"

	"github.com/pipehook/pipehook/core/jshost/engine"
)

// The time of a call within another may be over at the same moment as that of the other.
func TestADeadlineEndsACallAndTheOneAroundIt(t *testing.T) {
	for range 50 {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		library := &engine.Library{Name: "pipehook/test", Load: func(w *engine.World) (goja.Value, goja.Callable, error) {
			module := w.VM().NewObject()
			return module, nil, module.Set("run", func(call goja.FunctionCall) goja.Value {
				f, _ := goja.AssertFunction(call.Argument(0))
				return w.Later("run", func() goja.Value {
					ev := sample(t)
					w.Call(ctx, engine.Call{Event: &ev, Timeout: time.Minute}, f)
					return goja.Undefined()
				})
			})
		}}
		_, program, err := compile(t, "it.js", `export default async () => { await require("pipehook/test").run(() => { for (;;); }); for (;;); }`)
		if err != nil {
			t.Fatal(err)
		}
		p := engine.NewPool(program, engine.Options{Library: library})
		ended := make(chan struct{})
		ev := sample(t)
		go func() {
			defer close(ended)
			p.Run(ctx, []engine.Call{{Event: &ev}}, func(int, engine.Result) {})
		}()
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			t.Fatal("the outer call goes on") // for ever: the pool can't be closed
		}
		cancel()
		p.Close()
	}
}
