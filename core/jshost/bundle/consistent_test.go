package bundle_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/pipehook/pipehook/core/jshost/bundle"
)

// What is built are files that were there at one time, however often they are saved meanwhile.
func TestFilesThatChangeMeanwhileAreNotMixed(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "it.js")
	save := func(name, text string) {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file+".tmp", []byte(text), 0o600); err != nil {
			t.Error(err)
		}
		if err := os.Rename(file+".tmp", file); err != nil {
			t.Error(err)
		}
	}
	both := func(n int) { // the handler is never older than what it imports
		save("it.js", fmt.Sprintf("import { lib } from './lib.js';\nexport default () => { const handler = 'v%d'; return handler + lib }", n))
		save("lib.js", fmt.Sprintf("export const lib = 'v%d';", n))
	}
	both(0)
	stop, stopped := make(chan struct{}), make(chan struct{})
	defer func() {
		close(stop)
		<-stopped
	}()
	go func() { // ends with stop
		defer close(stopped)
		for n := 1; ; n++ {
			select {
			case <-stop:
				return
			default:
				both(n)
			}
		}
	}()
	built := 0
	for range 300 {
		code, err := bundle.Make(path)
		if err != nil {
			continue // it says that it can't
		}
		built++
		// As text: the bundler writes the number 1000 as 1e3.
		handler := regexp.MustCompile(`handler = "v(\d+)"`).FindSubmatch(code.Text)
		lib := regexp.MustCompile(`lib = "v(\d+)"`).FindSubmatch(code.Text)
		var h, l int
		_, _ = fmt.Sscan(string(handler[1]), &h)
		_, _ = fmt.Sscan(string(lib[1]), &l)
		if h != l && h != l+1 {
			t.Fatalf("handler %d was built with import %d", h, l)
		}
	}
	t.Logf("%d of 300 were built", built)
}
