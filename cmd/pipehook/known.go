package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/config"
)

// knownListener is a listener as far as it can be known without the process that serves. Its match
// is that of the configuration, else that of its file.
type knownListener struct {
	config.Listener
	broken error // its file does not compile now; a process may go on with an older version
}

// knownListeners are the plugins, what is built in and the scripts of the configuration, then the files of the scripts
// folder that export a function.
func knownListeners(ctx context.Context, conf *config.Config) ([]knownListener, error) {
	wanted, err := wantedScripts(conf)
	if err != nil {
		return nil, err
	}
	var known []knownListener
	for _, l := range conf.Listeners {
		if !l.IsScript() {
			known = append(known, knownListener{Listener: l})
		}
	}
	for i, built := range buildAll(ctx, conf, wanted) {
		w, one := wanted[i], knownListener{Listener: wanted[i].Listener}
		switch {
		case w.key != "" && len(w.Match) > 0: // whatever its file says
		case built.Err != nil && w.wrong != "":
			continue
		case built.Err != nil:
			one.broken = built.Err
		case !built.Handles:
			continue
		default:
			one.Match = matchOf(w, built.Match)
		}
		known = append(known, one)
	}
	return known, nil
}

// listenersOf are the listeners there are by name, or nil when they are not known.
func listenersOf(ctx context.Context, conf *config.Config) map[string]config.Listener {
	if conf == nil {
		return nil
	}
	known, err := knownListeners(ctx, conf)
	if err != nil {
		return nil
	}
	all := make(map[string]config.Listener, len(known))
	for _, l := range known {
		all[l.Name] = l.Listener
	}
	return all
}

// whyNot tells why a listener that there is now has no delivery of an event.
func (l *knownListener) whyNot(ev *core.Event) string {
	switch {
	case l.broken != nil:
		return fmt.Sprintf("what it matches is not known, since its file does not compile: %v", l.broken)
	case len(l.Match) > 0 && !slices.ContainsFunc(l.Match, func(p core.Pattern) bool { return p.Match(ev) }):
		return fmt.Sprintf("match is %v, and the event is %s", patternTexts(l.Match), ev.Type())
	default:
		return "it was not there, or had other rules, when the event was accepted"
	}
}
