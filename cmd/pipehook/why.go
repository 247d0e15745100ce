package main

import (
	"context"
	"fmt"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/store"
)

// listenersConf is the configuration as far as it says which listeners there are, or nil when it
// can't be relied on for that. What is stored can be told without it.
func (c *cli) listenersConf() *config.Config {
	conf, err := c.load(nil)
	if concerns(err, "listener") || concerns(err, "scripts") {
		return nil
	}
	return conf
}

// pendingWhys tells for each pending delivery of an event what it waits for, by listener. A process
// may know more: what it holds in memory and its circuit breakers are not stored.
func pendingWhys(ctx context.Context, r *store.Reader, conf *config.Config, ev *store.Event) (map[string]string, error) {
	paused, err := r.Paused(ctx)
	if err != nil {
		return nil, err
	}
	listeners := listenersOf(ctx, conf)
	whys := map[string]string{}
	for _, d := range ev.Deliveries {
		if d.State != core.Waiting {
			continue
		}
		reason, isPaused := paused[d.Listener]
		listener, exists := listeners[d.Listener]
		switch {
		case listeners != nil && !exists:
			whys[d.Listener] = "there is no such listener any more: it waits until there is, or is cancelled"
		case isPaused:
			whys[d.Listener] = "the listener is paused"
			if reason != "" {
				whys[d.Listener] += ": " + reason
			}
		default:
			if !exists {
				listener = config.ListenerDefaults()
			}
			if whys[d.Listener], err = whyWaits(ctx, r, &listener, d); err != nil {
				return nil, err
			}
		}
		if d.LastError != "" {
			whys[d.Listener] += "; the last attempt: " + d.LastError
		}
	}
	return whys, nil
}

// whyWaits is what a delivery waits for that may run.
func whyWaits(ctx context.Context, r *store.Reader, listener *config.Listener, d *store.Delivery) (string, error) {
	now := time.Now().UnixMicro()
	if listener.Order != "none" && d.Record != 0 {
		first, found, err := r.Before(ctx, d)
		if err != nil {
			return "", err
		}
		// One that waits for its time stands in nobody's way where a failure lets others go ahead.
		if found && (listener.OnFailure != "skip" || first.NextAt <= now) {
			text := "it waits behind event " + first.ID + " of its record"
			if first.LastError != "" {
				text += fmt.Sprintf(", which has failed (%s)", countTimes(first.Attempts))
			}
			return text, nil
		}
	}
	switch {
	case d.NextAt > now:
		return "it is attempted again at " + time.UnixMicro(d.NextAt).UTC().Format(time.RFC3339), nil
	case listener.Coalesce.Quiet > 0:
		return "it is due: it runs, or is gathered with what comes for its record", nil
	default:
		return "it is due: it runs, or waits for other deliveries of the listener, for its circuit breaker or for a process", nil
	}
}

func countTimes(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}
