package main

import (
	"context"
	"slices"
	"time"

	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/effect"
	echoes "github.com/pipehook/pipehook/core/pipedrive/echo"
	stage "github.com/pipehook/pipehook/stages/echo"
)

// echoSpace is where writes are noted. No script and no plugin can have this name.
const echoSpace = "pipehook:echo"

// newLedger is the ledger of what is written through the account.
func (e *effects) newLedger(conf *config.Config) *echoes.Ledger {
	l := echoes.New(echoes.Options{
		Keep: func(ctx context.Context, op *effect.KVOp) (*effect.KVResult, error) {
			return e.remember(ctx, echoSpace, op)
		},
		Fields: definitions.fields, Now: time.Now, Alone: !sharedStore(conf), Log: e.log,
	})
	l.Use(echoWindow(conf))
	return l
}

// echoWindow is the longest window of any stage echo, 0 when there is none.
func echoWindow(conf *config.Config) (longest time.Duration) {
	for _, p := range conf.Pipelines {
		for _, s := range p.Stages {
			own := stage.Default()
			if s.Use == "echo" && s.Decode(&own) == nil {
				longest = max(longest, own.Window)
			}
		}
	}
	return longest
}

// idleEchoes warns of stages that wait for writes which nobody can make.
func idleEchoes(conf *config.Config) (all []string) {
	if conf.Pipedrive.Connected() {
		return nil
	}
	for _, p := range conf.Pipelines {
		if slices.Contains(kindsOf(p), "echo") {
			all = append(all, "pipeline "+p.Name+": echo has nothing to find: [pipedrive] connects no account, so nothing is written with ctx.pipedrive")
		}
	}
	return all
}
