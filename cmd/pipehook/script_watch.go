package main

import (
	"context"

	"github.com/pipehook/pipehook/core/jshost"
)

// watchScripts loads scripts when they change, in the folders there are at the moment.
func (a *app) watchScripts(ctx context.Context) error {
	for first := true; ; first = false {
		watching, end := context.WithCancel(ctx)
		ended := make(chan error, 1)
		dirs := scriptDirs(a.conf.Load())
		go func() { ended <- jshost.Watch(watching, dirs, a.loadScripts) }() // ends with watching
		var err error
		select {
		case err = <-ended:
			if err != nil && !first { // the folders came with a reload, which must not end the service
				a.log.Error("scripts are not watched; reload the configuration to try again", "err", err)
				err = nil
			}
			if err == nil && ctx.Err() == nil {
				select {
				case <-a.moved:
				case <-ctx.Done():
				}
			}
		case <-a.moved:
			end()
			<-ended
		}
		end()
		if err != nil || ctx.Err() != nil {
			return err
		}
	}
}

// loadScripts takes the scripts as they are now.
func (a *app) loadScripts() {
	a.loading.Lock()
	defer a.loading.Unlock()
	a.takeScripts()
}

// takeScripts is loadScripts under its lock.
func (a *app) takeScripts() {
	conf := a.conf.Load()
	subs, renewed, changed := a.scripts.load(conf)
	subs = append(subs, a.plugins.subscriptions(conf)...)
	a.engine.Subscribe(append(subs, a.tables.subscriptions(conf)...))
	if a.chains.load() {
		changed = true
	}
	if changed && a.reloaded != nil {
		a.reloaded(renewed)
	}
}
