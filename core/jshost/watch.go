package jshost

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// settle is how long folders must be quiet before a change counts: editors write in steps.
const settle = 100 * time.Millisecond

// restless bounds the wait when they are never quiet.
const restless = 2 * time.Second

// watched are the kinds of files that a bundle is made of.
var watched = []string{".js", ".mjs", ".cjs", ".jsx", ".ts", ".mts", ".cts", ".tsx", ".json"}

// Watch calls changed after files in the folders, or in folders inside them, have changed, until
// ctx ends. A folder that is not there, or goes away, is waited for. The calls come one at a time.
// Changes from before Watch has begun to listen are not noticed, so changed is called once at the
// start.
func Watch(ctx context.Context, dirs []string, changed func()) (err error) {
	notify, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	defer func() { err = errors.Join(err, notify.Close()) }()
	w := &watcher{notify: notify, dirs: slices.Clone(dirs), above: map[string]string{}}
	for i, dir := range w.dirs {
		w.dirs[i] = filepath.Clean(dir)
		if err := w.root(w.dirs[i]); err != nil {
			return fmt.Errorf("watch: %w", err)
		}
	}
	return w.run(ctx, changed)
}

// watcher belongs to the goroutine that runs Watch.
type watcher struct {
	notify *fsnotify.Watcher
	dirs   []string
	above  map[string]string // of each of dirs that is missing: the folder where it may appear
	since  time.Time         // of the first change that was not passed on; zero when there is none
}

func (w *watcher) run(ctx context.Context, changed func()) error {
	quiet := time.NewTimer(0) // the call at the start
	defer quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case event, ok := <-w.notify.Events:
			if !ok {
				return nil
			}
			if w.relevant(event) {
				quiet.Reset(w.wait())
			}
		case _, ok := <-w.notify.Errors: // events were lost: look at everything
			if !ok {
				return nil
			}
			for _, dir := range w.dirs {
				_ = w.root(dir) // what is not there now is found by the next event
			}
			quiet.Reset(w.wait())
		case <-quiet.C:
			w.since = time.Time{}
			changed()
		}
	}
}

func (w *watcher) wait() time.Duration {
	if w.since.IsZero() {
		w.since = time.Now()
	}
	return max(min(settle, restless-time.Since(w.since)), 0)
}

// relevant reports whether an event may change a program, and watches folders that are new.
func (w *watcher) relevant(event fsnotify.Event) bool {
	name := filepath.Clean(event.Name)
	switch {
	case event.Op == fsnotify.Chmod:
		return false
	case slices.Contains(w.dirs, name): // it came or went
		_ = w.root(name) // may be gone again; then another event says so
		return true
	case !w.inside(name):
		return w.awaited(name)
	}
	if event.Has(fsnotify.Create) {
		if info, err := os.Stat(name); err == nil && info.IsDir() {
			_ = w.tree(name)
			return true // files may have been in it before it was watched
		}
	}
	base := filepath.Base(name)
	switch {
	case base == "..data": // mounted configuration is replaced by changing where this link leads
		return true
	case strings.HasPrefix(base, "."):
		return false
	case filepath.Ext(base) == "": // perhaps a folder
		return event.Has(fsnotify.Remove | fsnotify.Rename)
	}
	return slices.Contains(watched, filepath.Ext(base))
}

func (w *watcher) inside(name string) bool {
	return slices.ContainsFunc(w.dirs, func(dir string) bool { return dir == "." || within(name, dir) })
}

func within(name, dir string) bool {
	return strings.HasPrefix(name, strings.TrimSuffix(dir, "/")+string(filepath.Separator))
}

// awaited looks for missing folders again when one above them has come or gone.
func (w *watcher) awaited(name string) (found bool) {
	for dir := range w.above {
		if within(dir, name) && w.root(dir) == nil {
			_, missing := w.above[dir]
			found = found || !missing
		}
	}
	return found
}

// root watches a folder and those inside. Of one that is not there it watches the next folder above
// that is; not otherwise, because a database that lives there would wake us with every write.
func (w *watcher) root(dir string) error {
	if isDir(dir) {
		w.settleAbove(dir)
		return w.tree(dir)
	}
	above := filepath.Dir(dir)
	for !isDir(above) && above != filepath.Dir(above) {
		above = filepath.Dir(above)
	}
	w.above[dir] = above
	if err := w.notify.Add(above); err != nil {
		return err
	}
	if isDir(dir) { // it came in between
		return w.root(dir)
	}
	return nil
}

// settleAbove ends the watch above a folder that is there again, unless something else needs it.
func (w *watcher) settleAbove(dir string) {
	above, ok := w.above[dir]
	if !ok {
		return
	}
	delete(w.above, dir)
	for _, other := range w.above {
		if other == above {
			return
		}
	}
	if !w.inside(above) && !slices.Contains(w.dirs, above) {
		_ = w.notify.Remove(above) // not watched any more is what we want
	}
}

func isDir(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

func (w *watcher) tree(root string) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case !d.IsDir():
			return nil
		case d.Name() == "node_modules" || path != root && strings.HasPrefix(d.Name(), "."):
			return filepath.SkipDir
		}
		return w.notify.Add(path)
	})
}
