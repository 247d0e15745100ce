package delivery

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/pipehook/pipehook/core"
)

// watches are the requests that wait for their event's first attempts.
type watches struct {
	some atomic.Int64
	mu   sync.Mutex
	by   map[watchKey]chan<- error
}

type watchKey struct{ event, listener string }

// Watch watches the event's next attempt by each of the listeners; call it before the event can
// reach them. wait waits for all and returns the first failure, of Kind Failed with the listener's
// name, or an error of Kind Unavailable when ctx ends. forget must be called in the end.
func (e *Engine) Watch(event string, listeners []string) (wait func(ctx context.Context) error, forget func()) {
	results := make(chan error, len(listeners))
	e.watches.add(event, listeners, results)
	wait = func(ctx context.Context) error {
		var failed error
		for range listeners {
			select {
			case err := <-results:
				if failed == nil {
					failed = err
				}
			case <-ctx.Done():
				return &core.Error{Kind: core.Unavailable, Msg: "the listeners did not finish in time", Err: context.Cause(ctx)}
			}
		}
		return failed
	}
	return wait, func() { e.watches.forget(event, listeners) }
}

func (w *watches) add(event string, listeners []string, results chan<- error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.by == nil {
		w.by = map[watchKey]chan<- error{}
	}
	for _, name := range listeners {
		w.by[watchKey{event, name}] = results
	}
	w.some.Add(int64(len(listeners)))
}

func (w *watches) forget(event string, listeners []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, name := range listeners {
		delete(w.by, watchKey{event, name})
	}
	w.some.Add(-int64(len(listeners)))
}

func (w *watches) tell(event, listener string, err error) {
	if w.some.Load() == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	k := watchKey{event, listener}
	results, ok := w.by[k]
	if !ok {
		return
	}
	delete(w.by, k)
	if err != nil {
		err = &core.Error{Kind: core.Failed, Msg: fmt.Sprintf("listener %s failed", listener), Err: err}
	}
	results <- err
}
