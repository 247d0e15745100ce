//go:build unix

package plughost_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/plughost"
)

// A crash is known at once, also when something that the plugin has started, and that left its group,
// holds its output open.
func TestACrashFailsItsAttemptAtOnce(t *testing.T) {
	for name, before := range map[string]func(t *testing.T, p *plughost.Plugin){
		"alone":                  func(*testing.T, *plughost.Plugin) {},
		"with a child":           func(t *testing.T, p *plughost.Plugin) { number(t, p, "fork") },
		"with one that has left": func(t *testing.T, p *plughost.Plugin) { number(t, p, "fork far") },
	} {
		t.Run(name, func(t *testing.T) {
			p := newBench(t, plughost.Limits{}).lab(t, "")
			var all []time.Duration
			for range 4 {
				before(t, p)
				began := time.Now()
				if err := handle(t, p, "exit"); core.KindOf(err) != core.Crashed {
					t.Fatal(err)
				}
				all = append(all, time.Since(began))
				if err := handle(t, p, "nothing"); err != nil {
					t.Fatal(err)
				}
			}
			if quickest := slices.Min(all); quickest > 100*time.Millisecond { // the others had a busy machine
				t.Errorf("it took %v", all)
			}
		})
	}
}

func TestAFileThatAnybodyMayReplaceIsRunOnlyWhenItIsPinned(t *testing.T) {
	const remedy = "or pin the file that you trust with sha256"
	for _, test := range []struct {
		name       string
		file, dir  fs.FileMode
		link       bool // it is named by a link in another folder
		msg, chmod string
	}{
		{"nobody else may", 0o755, 0o755, false, "", ""},
		{"the group may, which was made for it", 0o775, 0o775, false, "", ""},
		{"anybody may write to it", 0o757, 0o755, false, "anybody may write to", "chmod o-w "},
		{"anybody may rename it", 0o755, 0o777, false, "in the place of", "chmod o-w "},
		{"anybody may rename what the link leads to", 0o755, 0o777, true, "in the place of", "chmod o-w "},
		{"anybody may add files, as in /tmp", 0o755, 0o777 | fs.ModeSticky, false, "", ""},
	} {
		dir := filepath.Join(t.TempDir(), "d")
		path := filepath.Join(dir, "plugin")
		err := os.Mkdir(dir, 0o700)
		if err == nil {
			err = errors.Join(os.WriteFile(path, nil, 0o700), os.Chmod(path, test.file), os.Chmod(dir, test.dir))
		}
		named := path
		if test.link {
			named = filepath.Join(t.TempDir(), "plugin")
			err = errors.Join(err, os.Symlink(path, named))
		}
		if err != nil {
			t.Fatal(err)
		}
		sum, err := plughost.Check(named, "")
		bad, _ := errors.AsType[*plughost.BinaryError](err)
		switch {
		case test.msg == "" && err != nil:
			t.Errorf("%s: %v", test.name, err)
		case test.msg != "" && (bad == nil || !strings.Contains(bad.Msg, test.msg) || !strings.HasPrefix(bad.Hint, test.chmod) || !strings.HasSuffix(bad.Hint, remedy)):
			t.Errorf("%s: %v", test.name, err)
		}
		if sum == "" {
			sum = fmt.Sprintf("%x", sha256.Sum256(nil))
		}
		if _, err := plughost.Check(named, sum); err != nil {
			t.Errorf("%s, and pinned: %v", test.name, err)
		}
	}
}
