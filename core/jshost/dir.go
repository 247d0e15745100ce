package jshost

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

var (
	listenerName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)
	extensions   = []string{".js", ".mjs", ".cjs", ".ts"}
)

// Found is a file that may be a listener, and the name it would have.
type Found struct{ Name, Path string }

// Scan lists the handler files directly in a folder: not tests, not declarations, not what begins
// with _ or a dot. Folders inside are for what handlers import. A folder that is not there is empty.
func Scan(dir string) ([]Found, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var found []Found
	var errs []error
	for _, e := range entries {
		name := e.Name()
		if e.IsDir() || !slices.Contains(extensions, filepath.Ext(name)) || strings.HasPrefix(name, "_") || strings.HasPrefix(name, ".") ||
			strings.Contains(name, ".test.") || strings.HasSuffix(name, ".d.ts") {
			continue
		}
		f := Found{Name: nameOf(name), Path: filepath.Join(dir, name)}
		if !listenerName.MatchString(f.Name) {
			errs = append(errs, &CompileError{File: f.Path, Msg: fmt.Sprintf("%q can't name a listener: rename the file to lower-case letters, digits, - and _, or begin it with _", f.Name)})
			continue
		}
		found = append(found, f)
	}
	return found, errors.Join(errs...)
}

// settle is how long a folder must be quiet before a change counts: editors write in steps.
const settle = 100 * time.Millisecond

// Watch calls changed after files in the folders, or in folders inside them, have changed, until
// ctx ends. Folders that are not there are left out. The calls come one at a time.
func Watch(ctx context.Context, dirs []string, changed func()) (err error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	for _, dir := range dirs {
		if err := watchTree(w, dir); err != nil {
			return fmt.Errorf("watch: %w", err)
		}
	}
	quiet := time.NewTimer(0)
	quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case event, ok := <-w.Events:
			if !ok {
				return nil
			}
			if event.Has(fsnotify.Create) {
				_ = watchTree(w, event.Name) // it may be gone again
			}
			if event.Op != fsnotify.Chmod {
				quiet.Reset(settle)
			}
		case <-w.Errors: // events were lost: look at everything
			quiet.Reset(settle)
		case <-quiet.C:
			changed()
		}
	}
}

func watchTree(w *fsnotify.Watcher, root string) error {
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
		return w.Add(path)
	})
}
