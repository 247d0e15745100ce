package jshost_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core/jshost"
)

func TestAFolderHasHandlersAndOtherFiles(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{
		"a.js", "b-c.ts", "d.mjs", "e.test.js", "types.d.ts", "_lib.js", ".hidden.js", "note.md", "Bad Name.js",
		"crm/deal.ts", "crm/deep/er.js", "crm/formatDate.js", "stages/tag.js", "sources/acme.ts", "lib/x.js", "crm/lib/x.js", "test/x.js",
		"node_modules/p/index.js", "_old/x.js", ".git/x.js", "examples/x.js",
	} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	linked := filepath.Join(t.TempDir(), "scripts") // as where configuration is mounted
	if err := os.Symlink(dir, linked); err != nil {
		t.Fatal(err)
	}
	found, err := jshost.Scan(linked)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range found {
		name := f.Name
		if f.Wrong != "" {
			name = "[" + name + "]"
		}
		names = append(names, name)
	}
	if got := strings.Join(names, " "); got != "[Bad Name] a b-c crm-deal crm-deep-er [crm-formatDate] d" {
		t.Errorf("found %s", got)
	}
	if found, err := jshost.Scan(filepath.Join(dir, "none")); found != nil || err != nil {
		t.Errorf("a folder that is not there: %v %v", found, err)
	}
}

// watching runs Watch and returns a channel with a value for each call, the first one taken: from
// then on changes are noticed.
func watching(t *testing.T, dirs ...string) <-chan struct{} {
	t.Helper()
	calls := make(chan struct{}, 100)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- jshost.Watch(ctx, dirs, func() { calls <- struct{}{} }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	await(t, calls, "the call at the start")
	return calls
}

func await(t *testing.T, calls <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-calls:
	case <-time.After(10 * time.Second):
		t.Fatalf("not noticed: %s", what)
	}
}

func TestEveryKindOfChangeIsNoticed(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "scripts")
	in := func(names ...string) string { return filepath.Join(append([]string{dir}, names...)...) }
	write := func(name string) func() error {
		return func() error { return os.WriteFile(name, []byte("1"), 0o600) }
	}
	calls := watching(t, dir) // it is not there yet
	for _, change := range []struct {
		name string
		do   func() error
	}{
		{"the folder is made", func() error { return os.Mkdir(dir, 0o700) }},
		{"a new file", write(in("a.js"))},
		{"a file written again", write(in("a.js"))},
		{"a file renamed over another, as editors save", func() error {
			if err := write(in(".a.js.swp"))(); err != nil {
				return err
			}
			return os.Rename(in(".a.js.swp"), in("a.js"))
		}},
		{"a new folder with a file", func() error {
			if err := os.MkdirAll(in("lib", "deep"), 0o700); err != nil {
				return err
			}
			return write(in("lib", "deep", "b.ts"))()
		}},
		{"a file in that folder", write(in("lib", "deep", "b.ts"))},
		{"a folder renamed", func() error { return os.Rename(in("lib"), in("lib2")) }},
		{"a file in the renamed folder", write(in("lib2", "deep", "c.json"))},
		{"a file removed", func() error { return os.Remove(in("a.js")) }},
		{"the folder goes away", func() error { return os.Rename(dir, filepath.Join(top, "old")) }},
		{"another one comes in its place", func() error { return os.Mkdir(dir, 0o700) }},
		{"a file in the new folder", write(in("a.js"))},
	} {
		if err := change.do(); err != nil {
			t.Fatalf("%s: %v", change.name, err)
		}
		await(t, calls, change.name)
	}
}

func TestOtherFilesAreNotNoticed(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "scripts")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	calls := watching(t, dir)
	for _, name := range []string{filepath.Join(top, "pipehook.db"), filepath.Join(top, "a.js"), filepath.Join(dir, ".a.js.swp"), filepath.Join(dir, "a.js~"), filepath.Join(dir, "README.md")} {
		if err := os.WriteFile(name, []byte("1"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-calls:
		t.Error("a call, though no script changed")
	case <-time.After(300 * time.Millisecond): // three times as long as a change takes to count
	}
	if err := os.WriteFile(filepath.Join(dir, "a.js"), []byte("1"), 0o600); err != nil {
		t.Fatal(err)
	}
	await(t, calls, "a script after all that")
}
