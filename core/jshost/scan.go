package jshost

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/pipehook/pipehook/core/jshost/engine"
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
		f := Found{Name: engine.Code{Path: name}.Name(), Path: filepath.Join(dir, name)}
		if !listenerName.MatchString(f.Name) {
			errs = append(errs, &CompileError{File: f.Path, Msg: fmt.Sprintf("%q can't name a listener: rename the file to lower-case letters, digits, - and _, or begin it with _", f.Name)})
			continue
		}
		found = append(found, f)
	}
	return found, errors.Join(errs...)
}
