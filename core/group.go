package core

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Service owns goroutines. Run works until its context ends and returns when they have all ended.
type Service interface {
	Run(ctx context.Context) error
}

// ServiceFunc makes a Service of a function.
type ServiceFunc func(ctx context.Context) error

// Run calls f.
func (f ServiceFunc) Run(ctx context.Context) error { return f(ctx) }

// Group runs services that need each other. They start in the order they were added and stop in
// reverse, each waited for before the one before it is told to stop, all within one grace period.
// The zero Group is ready.
type Group struct{ members []*member }

type member struct {
	name    string
	service Service
	cancel  context.CancelFunc
	done    chan struct{}
	err     error
}

// Add appends a service. It must not be called once Run has started.
func (g *Group) Add(name string, s Service) {
	g.members = append(g.members, &member{name: name, service: s, done: make(chan struct{})})
}

// Run starts all services and returns when ctx has ended or one of them has, and all have been
// stopped. A service that is still running when the grace period is over is left behind and named
// in the error. Errors are joined, each with its service's name.
func (g *Group) Run(ctx context.Context, grace time.Duration) error {
	return g.RunWithin(ctx, func() time.Duration { return grace })
}

// RunWithin is Run with a grace period that is asked for when the stop begins: it may have changed
// since the start.
func (g *Group) RunWithin(ctx context.Context, grace func() time.Duration) error {
	ended := make(chan struct{}, len(g.members))
	for _, m := range g.members {
		runCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		m.cancel = cancel
		go func() { // owned by m, ends with its service
			m.err = m.service.Run(runCtx)
			close(m.done)
			ended <- struct{}{}
		}()
	}
	select {
	case <-ctx.Done():
	case <-ended:
	}
	return g.stop(grace())
}

func (g *Group) stop(grace time.Duration) error {
	deadline := time.NewTimer(grace)
	defer deadline.Stop()
	var errs []error
	expired := false
	for i := len(g.members) - 1; i >= 0; i-- {
		m := g.members[i]
		m.cancel()
		if !expired {
			select {
			case <-m.done:
			case <-deadline.C:
				expired = true
			}
		}
		select {
		case <-m.done:
			if m.err != nil && !errors.Is(m.err, context.Canceled) {
				errs = append(errs, fmt.Errorf("%s: %w", m.name, m.err))
			}
		default:
			errs = append(errs, fmt.Errorf("%s: did not stop within %s", m.name, grace))
		}
	}
	return errors.Join(errs...)
}
