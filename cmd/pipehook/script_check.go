package main

import (
	"context"
	"slices"
	"strings"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/config"
)

// checkScripts compiles everything once, for check. It returns what is wrong, and what may be.
func checkScripts(ctx context.Context, conf *config.Config) (listeners, warnings []string, errs []error) {
	wanted, err := wantedScripts(conf)
	if err != nil {
		errs = append(errs, err)
	}
	for i, built := range buildAll(ctx, conf, wanted) {
		w := wanted[i]
		switch {
		case built.Err != nil:
			errs = append(errs, built.Err)
		case built.Handles:
			listeners = append(listeners, w.Name)
			errs = append(errs, never(conf, w, built.Match)...)
			if len(w.Match) == 0 {
				warnings = append(warnings, strangeActions(w.Name, built.Match)...)
			}
		}
	}
	slices.Sort(listeners)
	return listeners, warnings, errs
}

// never are the rules that no event can fulfil because of what the script matches. What no event at
// all can meet, and what the configuration itself matches, was found when it was read.
func never(conf *config.Config, w wantedScript, match []core.Pattern) []error {
	if w.key == "" || len(w.Match) > 0 {
		return nil
	}
	var mistakes config.Mistakes
	if why := core.ImpossibleChanged(match, w.Changed); why != "" {
		mistakes = append(mistakes, conf.Mistake(w.key+".changed", "can never hold: "+why, "leave it out, or let "+w.Script+" match updated or merged"))
	}
	if len(w.Where.Impossible(nil)) == 0 {
		for _, why := range w.Where.Impossible(match) {
			path, reason, _ := strings.Cut(why, ": ")
			mistakes = append(mistakes, conf.Mistake(config.Join(w.key+".where", path), "can never hold: "+reason, "ask for less, or let "+w.Script+" match other events"))
		}
	}
	if err := mistakes.Err(); err != nil {
		return []error{err}
	}
	return nil
}
