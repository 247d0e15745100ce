package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/database"
	"github.com/pipehook/pipehook/core/delivery"
	"github.com/pipehook/pipehook/core/mirror"
	"github.com/pipehook/pipehook/core/pipedrive/shape"
	"github.com/pipehook/pipehook/core/strict"
)

// localTables is the listener that keeps the local tables. The tables are open only while a listener of the
// configuration wants them.
type localTables struct {
	log *slog.Logger

	mu     sync.RWMutex // held for reading while the tables are used
	mirror *mirror.Mirror
	terms  tableTerms

	told string // what was said of the listener; only the one who loads uses it
}

// tableTerms are what the tables are opened with.
type tableTerms struct{ url, objects string }

// preparedTables are those that a configuration wants, before it is known whether it is taken.
type preparedTables struct {
	mirror *mirror.Mirror // nil when none are wanted
	terms  tableTerms
}

// syncListener is the listener that keeps the local tables; nil when there is none.
func syncListener(conf *config.Config) *config.Listener {
	for i := range conf.Listeners {
		if conf.Listeners[i].Use == config.PipedriveSyncListener {
			return &conf.Listeners[i]
		}
	}
	return nil
}

// tablesKept reports whether a listener of the configuration that is in force keeps them.
func (a *app) tablesKept() bool {
	conf := a.conf.Load()
	return conf != nil && syncListener(conf) != nil
}

// tablesURL is where the local tables are: where the configuration says, else in the store's PostgreSQL database or in
// a file beside its SQLite file.
func tablesURL(conf *config.Config) string {
	if own := string(conf.Pipedrive.Sync.Database); own != "" {
		if loc, err := database.Parse("pipedrive.sync.database", own); err == nil && loc.SQLite {
			return "sqlite:" + beside(conf, loc.Path)
		}
		return own
	}
	if path, ok := strings.CutPrefix(storeURL(conf), "sqlite:"); ok {
		return "sqlite:" + filepath.Join(filepath.Dir(path), "pipedrive.db")
	}
	return storeURL(conf)
}

// checkTables finds what is wrong with the tables that are wanted and with the listener that keeps them.
func checkTables(conf *config.Config) config.Mistakes {
	var mistakes config.Mistakes
	var names []string
	for _, o := range shape.Objects() {
		names = append(names, o.Name)
	}
	for i, name := range conf.Pipedrive.Sync.Objects {
		if !slices.Contains(names, name) {
			key := fmt.Sprintf("pipedrive.sync.objects[%d]", i)
			mistakes = append(mistakes, conf.Mistake(key, fmt.Sprintf("%q is no object of Pipedrive's", name), strict.Suggest(name, names)))
		}
	}
	if own := string(conf.Pipedrive.Sync.Database); own != "" {
		mistakes = conf.Collect(mistakes, "pipedrive.sync.database", database.Check("pipedrive.sync.database", own))
	}
	if tablesURL(conf) == storeURL(conf) && strings.HasPrefix(storeURL(conf), "sqlite:") {
		mistakes = append(mistakes, conf.Mistake("pipedrive.sync.database", "is the file of the store, which one process alone may have open", "name another file, or leave it out"))
	}
	first := ""
	for i, l := range conf.Listeners {
		key := fmt.Sprintf("listener[%d].use", i)
		switch {
		case l.Use != config.PipedriveSyncListener:
		case first != "":
			mistakes = append(mistakes, conf.Mistake(key, "is that of the listener "+first+" too, and one keeps all tables", "leave one of them out"))
		case !slices.ContainsFunc(conf.Pipelines, func(p config.Pipeline) bool { return p.Source == mirror.Source }):
			mistakes = append(mistakes, conf.Mistake(key, "keeps tables by Pipedrive's events, and no pipeline has them", `give the pipeline that Pipedrive sends to source = "pipedrive"`))
		default:
			first = l.Name
			if left := leftOut(&l, conf.Pipedrive.Sync.Objects); left != "" {
				mistakes = append(mistakes, conf.Mistake(fmt.Sprintf("listener[%d].%s", i, left), "keeps events from the local tables: what does not come there, each comparison finds and tells of anew",
					"leave it out; pipedrive.sync.objects says what is kept"))
			}
		}
	}
	return mistakes
}

// leftOut is the key by which a listener does not get all events about the objects, empty when it does.
func leftOut(l *config.Listener, objects []string) string {
	if len(l.Changed) > 0 {
		return "changed"
	}
	for _, origin := range []string{"", core.OriginReconcile} {
		if all, _ := l.Where.Decide(&core.Event{Origin: origin}); !all {
			return "where"
		}
	}
	if len(objects) == 0 {
		objects = []string{core.Unknown}
	}
	for _, object := range objects {
		for _, action := range core.Actions() {
			ev := core.Event{Action: action, Object: object}
			if !slices.ContainsFunc(l.Match, func(p core.Pattern) bool { return p.Match(&ev) }) {
				return "match"
			}
		}
	}
	return ""
}

func termsOfTables(conf *config.Config) tableTerms {
	if syncListener(conf) == nil {
		return tableTerms{}
	}
	return tableTerms{tablesURL(conf), strings.Join(conf.Pipedrive.Sync.Objects, ",")}
}

// prepare opens the tables that a configuration wants, on the side. A PostgreSQL that can't be reached is no mistake in it:
// what is to be written waits.
func (t *localTables) prepare(ctx context.Context, conf *config.Config) (preparedTables, error) {
	next := preparedTables{terms: termsOfTables(conf)}
	t.mu.RLock()
	defer t.mu.RUnlock()
	if next.terms == t.terms {
		next.mirror = t.mirror
		return next, nil
	}
	if next.terms == (tableTerms{}) {
		return next, nil
	}
	ctx, cancel := context.WithTimeout(ctx, tablesWithin)
	defer cancel()
	var err error
	next.mirror, err = mirror.Open(ctx, mirror.Options{URL: next.terms.url, Objects: conf.Pipedrive.Sync.Objects, Log: t.log, Away: true, Fields: definitions.fields, Name: nameAgain})
	return next, err
}

// tablesWithin is how long a start or a reload waits for the tables.
const tablesWithin = 10 * time.Second

// use puts what was prepared in its place, and closes what is not used any more once nobody does.
func (t *localTables) use(next preparedTables) {
	t.mu.Lock()
	old := t.mirror
	t.mirror, t.terms = next.mirror, next.terms
	t.mu.Unlock()
	if old != nil && old != next.mirror {
		if err := old.Close(); err != nil {
			t.log.Warn("the local tables before these could not be closed", "err", err)
		}
	}
}

// drop closes what was prepared and is not to be used.
func (t *localTables) drop(next preparedTables) error {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if next.mirror == nil || next.mirror == t.mirror {
		return nil
	}
	return next.mirror.Close()
}

func (t *localTables) close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mirror == nil {
		return nil
	}
	return t.mirror.Close()
}

// subscriptions is the listener of the configuration that keeps the tables. It is told of when it is another than before.
func (t *localTables) subscriptions(conf *config.Config) []delivery.Subscription {
	l := syncListener(conf)
	if l == nil {
		t.told = ""
		return nil
	}
	if is := fmt.Sprint(l.Name, patternTexts(l.Match)); is != t.told {
		t.told = is
		t.log.Info("listener loaded", "listener", l.Name, "use", l.Use, "match", patternTexts(l.Match))
	}
	return []delivery.Subscription{t.subscription(conf)}
}

// subscription is that of the listener that keeps the tables. An event about an object that is not kept has no delivery: one
// that came to its end would say that the tables have got it, when the object is kept later.
func (t *localTables) subscription(conf *config.Config) delivery.Subscription {
	sub := subscriptionOf(*syncListener(conf), t, nil)
	sub.Source, sub.Keeps = mirror.Source, true
	if kept := conf.Pipedrive.Sync.Objects; len(kept) > 0 {
		sub.Refuses = func(ev *core.Event) string {
			if as, err := ev.AsNamed(nameAgain); err == nil && !slices.Contains(kept, as.Object) {
				return "objects: pipedrive.sync.objects does not list it"
			}
			return ""
		}
	}
	return sub
}

// Bulk implements core.BulkListener.
func (t *localTables) Bulk() int { return (*mirror.Mirror)(nil).Bulk() }

// Handle implements core.Listener.
func (t *localTables) Handle(ctx context.Context, ev core.Event) error {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.mirror == nil {
		return errNoTables
	}
	return t.mirror.Handle(ctx, ev)
}

// HandleBatch implements core.BatchListener.
func (t *localTables) HandleBatch(ctx context.Context, timeout time.Duration, batch []core.Delivery, begin func(i int) bool, done func(i int, out core.Outcome)) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.mirror != nil {
		t.mirror.HandleBatch(ctx, timeout, batch, begin, done)
		return
	}
	for i := range batch {
		if !begin(i) {
			return
		}
		done(i, core.Outcome{Err: errNoTables})
	}
}

// errNoTables is for what is on its way while a reload takes the listener out.
var errNoTables = &core.Error{Kind: core.Unreached, Msg: "the local tables are not kept any more", Err: errors.New("no listener of the configuration uses pipedrive_sync")}
