package bundle

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"sync"

	"github.com/evanw/esbuild/pkg/api"
)

// tries is how often files are read again because they were saved meanwhile.
const tries = 5

// sources are the files of one build as they were read. Files are read one after another, so of two
// that are saved in that time one may be seen as it was and the other as it is.
type sources struct {
	mu    sync.Mutex // the bundler reads several at once
	texts map[string][]byte
}

// loaded are the files that a build is made of.
const loaded = `\.([cm]?[jt]sx?|json)$`

// linkedMap is where a file says that its own source map is.
var linkedMap = regexp.MustCompile(`(//|/\*)([#@][ \t]*sourceMappingURL)=`)

// load reads a file for the bundler, and keeps that from opening what a file names as its source
// map: it takes any path, and shows what it finds there. Without changing a column, the word becomes another.
func (s *sources) load(args api.OnLoadArgs) (api.OnLoadResult, error) {
	text, err := os.ReadFile(args.Path)
	if err != nil {
		return api.OnLoadResult{}, fmt.Errorf("can't be read: %s", plainCause(err))
	}
	s.mu.Lock()
	s.texts[args.Path] = text
	s.mu.Unlock()
	if bytes.Contains(text, []byte("sourceMappingURL=")) {
		text = linkedMap.ReplaceAll(text, []byte("$1$2 "))
	}
	contents := string(text)
	return api.OnLoadResult{Contents: &contents, Loader: api.LoaderDefault}, nil
}

// changed reports whether a file is not what it was any more. When none is, all of them were there
// at one time: after the last was read first, and before the first was read again.
func (s *sources) changed() bool {
	for path, text := range s.texts {
		if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, text) {
			return true
		}
	}
	return false
}
