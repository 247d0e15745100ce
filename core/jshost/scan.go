package jshost

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/jshost/engine"
)

var (
	extensions = []string{".js", ".mjs", ".cjs", ".ts"}
)

// Found is a file that may be a listener, and the name it would have. Wrong is why that can't be one.
type Found struct{ Name, Path, Wrong string }

// beside are folders in which no listeners are.
var beside = []string{"stages", "sources", "lib", "node_modules", "test", "tests", "examples"}

// Beside are the names of folders in which no listeners are.
func Beside() []string { return slices.Clone(beside) }

// Scan lists the handler files in a folder and the folders inside, in the order of their paths: not
// tests, not declarations, not what begins with _ or a dot, and nothing in folders that begin so or that
// are for other things. A file's name has a - for each / of its path. A folder that is not there is
// empty.
func Scan(dir string) ([]Found, error) {
	found, err := scan(dir, "")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return found, err
}

func scan(dir, prefix string) (found []Found, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		name, path := e.Name(), filepath.Join(dir, e.Name())
		switch {
		case strings.HasPrefix(name, "_") || strings.HasPrefix(name, "."):
		case e.IsDir():
			if slices.Contains(beside, name) {
				continue
			}
			inside, err := scan(path, prefix+name+"-")
			if err != nil && !errors.Is(err, fs.ErrNotExist) { // it may have gone meanwhile
				return found, err
			}
			found = append(found, inside...)
		case isHandler(name):
			f := Found{Name: prefix + engine.Code{Path: name}.Name(), Path: path}
			if !core.IsName(f.Name) {
				f.Wrong = fmt.Sprintf("%q can't name a listener: rename the file to lower-case letters, digits, - and _, or begin its name with _", f.Name)
			}
			found = append(found, f)
		}
	}
	return found, nil
}

func isHandler(name string) bool {
	return slices.Contains(extensions, filepath.Ext(name)) && !strings.Contains(name, ".test.") && !strings.HasSuffix(name, ".d.ts")
}
