package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/failpoint"
)

// look is how often the configuration's file is looked at. Looking can't miss that a file is
// replaced, appears or goes, as notifications can. What was saved counts once two looks in a row
// find the same, so that half a file is left alone.
const look = 250 * time.Millisecond

// keeper keeps the running configuration as its file is.
type keeper struct {
	a       *app
	path    string
	load    func() (*config.Config, error)
	signals <-chan os.Signal           // SIGHUP and SIGUSR2; nil for none
	begin   func() (*successor, error) // starts a successor; nil where there can be none
	instead func()                     // is called in the place of a reload; may be nil
	taken   [2]fileStamp               // the stamp of what was loaded last, good or not
	missed  missedFiles                // with others what was loaded may be taken; nil when it was
}

// Run is a service: it reloads on SIGHUP and when the file has changed, or a plugin's without which it was
// not taken, and hands over on SIGUSR2.
func (k *keeper) Run(ctx context.Context) error {
	tick := time.NewTicker(look)
	defer tick.Stop()
	seen := k.taken
	for {
		select {
		case <-ctx.Done():
			return nil
		case s := <-k.signals:
			if s == syscall.SIGUSR2 {
				k.handOver(ctx)
				continue
			}
			k.taken = stamp(k.path)
			k.reload(ctx)
		case <-tick.C:
			now := stamp(k.path)
			if now == seen && now != k.taken || k.missed.changed() {
				k.taken = now
				k.reload(ctx)
			}
			seen = now
		}
	}
}

// stamp changes with the configuration's file and with the .env beside it.
func stamp(path string) [2]fileStamp {
	return [2]fileStamp{stampOf(path), stampOf(filepath.Join(filepath.Dir(path), ".env"))}
}

// reload takes the new configuration at once, or keeps the old one and says what is wrong.
func (k *keeper) reload(ctx context.Context) {
	if k.instead != nil {
		k.instead()
		return
	}
	a := k.a
	a.manager.tell(stateReloading())
	defer a.manager.tell(stateReady)
	conf, err := k.load()
	k.missed = nil
	if err == nil {
		files := missedBy(conf) // before they are read, so that no change is missed
		if err = a.take(ctx, conf); err != nil {
			k.missed = files
		}
	}
	a.reloads.Done(err == nil)
	if err != nil {
		for _, one := range complaints(err) {
			a.log.Error("the configuration was not reloaded; the old one goes on", complaintAttrs(one)...)
		}
		return
	}
	a.log.Info("configuration reloaded", "file", conf.Path)
	for _, cost := range warnings(conf) {
		a.log.Warn(cost)
	}
	tellFields(ctx, conf, a.log)
}

func complaintAttrs(one complaint) []any {
	attrs := []any{slog.String("err", one.text)}
	if one.Line > 0 {
		attrs = append(attrs, slog.String("file", one.File), slog.Int("line", one.Line), slog.Int("column", one.Column))
	}
	if one.Key != "" {
		attrs = append(attrs, slog.String("key", one.Key))
	}
	if one.Hint != "" {
		attrs = append(attrs, slog.String("hint", one.Hint))
	}
	return attrs
}

// take puts a configuration in the place of the one that runs. All that can fail comes first, on
// the side; when something does, nothing has changed.
func (a *app) take(ctx context.Context, conf *config.Config) error {
	a.loading.Lock()
	defer a.loading.Unlock()
	old := a.conf.Load()
	if err := movedStore(old, conf); err != nil {
		return err
	}
	bare := bareDraft(conf)
	if _, err := assemble(conf, bareDeps(conf), bare); err != nil {
		return err // before a script or a plugin is started
	}
	sink, err := a.logs.prepare(conf)
	if err != nil {
		return err
	}
	moves, err := a.prepareMoves(conf)
	if err != nil {
		return errors.Join(err, sink.close())
	}
	plugins, err := a.plugins.prepare(ctx, conf, bare.plugins) // a stop does not wait for it
	if err != nil {
		return errors.Join(err, sink.close(), closeMoves(moves))
	}
	tables, err := a.tables.prepare(ctx, conf)
	if err != nil {
		a.plugins.forget(plugins)
		return errors.Join(err, sink.close(), closeMoves(moves))
	}
	deps := a.deps
	deps.Resolve = func(path string) string { return beside(conf, path) }
	chain := a.chains.draft(conf, plugins.pluginMap)
	hooks, err := assemble(conf, deps, chain)
	if err != nil {
		chain.drop()
		a.plugins.forget(plugins)
		return errors.Join(err, a.tables.drop(tables), sink.close(), closeMoves(moves))
	}

	if err := a.logs.use(sink); err != nil {
		a.log.Warn("the log file before this one could not be closed", "err", err)
	}
	a.conf.Store(conf)
	definitions.use(conf)
	a.account.use(conf)
	a.effects.echoes.Use(echoWindow(conf))
	dropped := a.plugins.use(plugins)
	a.tables.use(tables)
	a.takeScripts()
	failpoint.Pass(failpoint.Reload)
	a.handler.Set(limitsOf(conf), hooks)
	request := old.Server.AckWithin + time.Second
	a.plugins.drop(dropped, request) // nothing more is given to them
	chain.use(request)
	a.doors[adminDoor].handle(a.adminHandler(conf))
	for _, m := range moves {
		m.door.move(m.to)
		a.log.Info("moved", "key", m.key, "listen", m.door.address())
	}
	if !slices.Equal(scriptDirs(old), scriptDirs(conf)) {
		notify(a.moved)
	}
	a.store.Retain(keepOf(conf))
	a.bound.limit(conf.Store.MaxPending)
	a.spool.Limit(spoolLimits(conf))
	a.tellOrphans(context.Background())
	return nil
}

// movedStore refuses what an open store can't follow.
func movedStore(old, conf *config.Config) error {
	const msg = "can't be changed while pipehook runs: what is stored would stay behind"
	hint := "set it back, or start pipehook anew; kill -USR2 " + strconv.Itoa(os.Getpid()) + " does that without refusing a connection"
	var mistakes config.Mistakes
	if storeURL(old) != storeURL(conf) {
		mistakes = append(mistakes, conf.Mistake("store.url", msg, hint))
	}
	if beside(old, old.Spool.Dir) != beside(conf, conf.Spool.Dir) {
		mistakes = append(mistakes, conf.Mistake("spool.dir", msg, hint))
	}
	return mistakes.Err()
}

// ownPort is the key of a door of this process that holds the port of an address at which it could
// not listen, and empty when somebody else does.
func (a *app) ownPort(err error, address string) string {
	if !errors.Is(err, syscall.EADDRINUSE) {
		return ""
	}
	for _, name := range []string{hooksDoor, adminDoor} {
		if s := a.doors[name].socket(); s != nil && samePort(s.Addr(), address) {
			return doorKeys[name]
		}
	}
	return ""
}

// move is a door's way to another socket; to is nil when it is to be shut.
type move struct {
	door *door
	key  string
	to   *socket
}

// prepareMoves opens the sockets at which the configuration wants the doors to be and they are not.
func (a *app) prepareMoves(conf *config.Config) (moves []move, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, closeMoves(moves))
		}
	}()
	for _, want := range []struct{ door, address string }{{hooksDoor, conf.Server.Listen}, {adminDoor, conf.Admin.Listen}} {
		d, key := a.doors[want.door], doorKeys[want.door]
		at := d.socket()
		if at != nil && at.managed && want.address != at.asked {
			a.log.Debug("the service manager's socket stays in use", "key", key)
		}
		if at == nil && want.address == "" || at != nil && at.fits(want.address) {
			continue
		}
		m := move{door: d, key: key}
		if want.address != "" {
			if m.to, err = listen(want.address); err != nil {
				if own := a.ownPort(err, want.address); own != "" {
					return moves, config.Mistakes{conf.Mistake(key, ownPortText(own), ownPortHint)}
				}
				return moves, config.Mistakes{conf.Mistake(key, err.Error(), listenHint(key))}
			}
		}
		moves = append(moves, m)
	}
	return moves, checkExposed(a.doors[adminDoor].socket(), conf)
}

func closeMoves(moves []move) (err error) {
	for _, m := range moves {
		if m.to != nil {
			err = errors.Join(err, m.to.Close())
		}
	}
	return err
}

// handOver starts a successor, and stops this process once it knows that the other is able to take
// its place.
func (k *keeper) handOver(ctx context.Context) {
	a := k.a
	if os.Getpid() == 1 {
		a.log.Error("the successor did not start; this process goes on", "err", "the container would end with this process")
		return
	}
	a.log.Info("a successor is started")
	next, err := k.begin()
	if err == nil {
		var word string
		if word, err = next.await(ctx, buildWithin); err == nil {
			next.serves = word == wordServing
			a.leaving.Store(next)
			a.quiesce()
			a.stop()
			return
		}
		if next.cmd.ProcessState == nil {
			_ = next.end()
		}
		next.forget()
	}
	if ctx.Err() == nil {
		a.log.Error("the successor did not start; this process goes on", "err", err)
	}
}
