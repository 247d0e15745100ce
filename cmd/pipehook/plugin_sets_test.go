package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/plughost"
)

// bareSet is a set without an app around it.
func bareSet(t *testing.T) *pluginSet {
	t.Helper()
	host, err := plughost.Open(plughost.Options{Dir: filepath.Join(t.TempDir(), "p"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	s := &pluginSet{log: slog.New(slog.DiscardHandler), host: host, running: pluginMap{}, closed: make(chan struct{})}
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// marked is a configuration in which a plugin is a stage of as many pipelines as there are marks, which are
// its configs.
func marked(t *testing.T, dir, more string, marks ...string) *config.Config {
	t.Helper()
	var text strings.Builder
	fmt.Fprintf(&text, "[plugins]\ndir = %q\n", dir)
	for i, mark := range marks {
		fmt.Fprintf(&text, "[[pipeline]]\nname = \"p%d\"\npath = \"/p%[1]d\"\nsource = \"pipedrive\"\n[[pipeline.stage]]\nuse = \"plugin\"\nplugin = \"tag\"\nconfig = { mark = %q }\n", i, mark)
	}
	text.WriteString(more)
	conf, err := config.Load(config.Options{Path: filepath.Join(dir, "pipeline.toml"), Text: []byte(text.String())})
	if err != nil {
		t.Fatal(err)
	}
	return conf
}

// chainUses are the plugins of the configuration's chains.
func chainUses(t *testing.T, conf *config.Config) []pluginUse {
	t.Helper()
	bare := bareDraft(conf)
	if _, err := assemble(conf, bareDeps(conf), bare); err != nil {
		t.Fatal(err)
	}
	return bare.plugins
}

// Whoever reads the answer twice can compare the two.
func TestTheStatesOfPluginsHaveAnOrder(t *testing.T) {
	s := bareSet(t)
	for _, use := range chainUses(t, marked(t, t.TempDir(), "", "a", "b")) {
		s.running[use.key()] = s.begin(use)
	}
	for range 50 {
		all := s.states()
		if len(all) != 2 || all[0].Key != "pipeline[0].stage[0]" || all[1].Key != "pipeline[1].stage[0]" || all[0].Since.Location() != time.UTC {
			t.Fatalf("%+v", all)
		}
	}
}

// Where a plugin stands is what the configuration says that runs, not one that was not taken.
func TestAReloadThatIsNotTakenMovesNoPlugin(t *testing.T) {
	s, dir := bareSet(t), t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "tag"), []byte("#!/bin/sh\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	begin := func(conf *config.Config) error {
		uses := chainUses(t, conf)
		next, err := s.prepare(t.Context(), conf, uses)
		if err == nil {
			s.use(next)
		}
		return err
	}
	first := marked(t, dir, "", "a", "b")
	for _, use := range chainUses(t, first) {
		r := s.begin(use)
		s.running[use.key()] = r
		if err := r.plugin().Ready(t.Context()); err == nil {
			t.Fatal("it runs")
		}
	}
	stand := func() map[string]string { // by the config
		keys := map[string]string{}
		for _, r := range s.all() {
			keys[string(r.spec.Config)] = r.stands().place()
		}
		return keys
	}
	if err := begin(marked(t, dir, pluginListener("gone", ""), "b", "a")); err == nil {
		t.Fatal("a listener without a file is taken")
	}
	if got := stand(); got[`{"mark":"a"}`] != "pipeline[0].stage[0]" {
		t.Errorf("after a reload that was refused they stand at %v", got)
	}
	if err := begin(marked(t, dir, "", "b", "a")); err != nil {
		t.Fatal(err)
	}
	if got := stand(); got[`{"mark":"a"}`] != "pipeline[1].stage[0]" || len(got) != 2 {
		t.Errorf("after a reload they stand at %v", got)
	}
}

// Who reads the log finds each place whose plugin goes on with its old file, and what is wrong there.
func TestANewFileThatIsNotUsedIsToldWithItsPlaces(t *testing.T) {
	s, dir := bareSet(t), t.TempDir()
	var log bytes.Buffer
	s.log = slog.New(slog.NewJSONHandler(&log, nil))
	conf := marked(t, dir, "", "a", "b")
	s.conf = func() *config.Config { return conf }
	path := filepath.Join(dir, "tag")
	testPlugin.install(t, path)
	next, err := s.prepare(t.Context(), conf, chainUses(t, conf))
	if err != nil {
		t.Fatal(err)
	}
	s.use(next)
	for name, test := range map[string]struct {
		install func()
		want    []string // what is said, and where
	}{
		"its configuration is refused": {func() { pickyPlugin.install(t, path) }, []string{
			"pipeline[0].stage[0].config.bad 10 must not be true", "pipeline[1].stage[0].config.bad 18 must not be true",
		}},
		"it does not start": {func() { installFile(t, path, "#!/bin/sh\nexit 3\n") }, []string{"pipeline[0].stage[0].plugin 9 does not start: it ended before it shook hands: exit status 3"}},
	} {
		log.Reset()
		test.install()
		s.renew(t.Context(), binaryStamp(path), s.byPath()[path])
		var got []string
		for text := range strings.Lines(log.String()) {
			var line logLine
			if err := json.Unmarshal([]byte(text), &line); err != nil {
				t.Fatal(err)
			}
			if line.Msg != "the plugin's new file is not used; the old one goes on" || line.File != conf.Path {
				t.Errorf("%s: %s", name, text)
			}
			_, why, _ := strings.Cut(line.Err, line.Key+": ")
			got = append(got, fmt.Sprint(line.Key, " ", line.Line, " ", why))
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: it is said %q", name, got)
		}
	}
}

// What comes of another file of a plugin that runs is the watch's to say. A reload that has nothing to do
// with it does not stumble over a file that is just being written.
func TestAReloadLeavesTheFilesOfPluginsThatRunAlone(t *testing.T) {
	s, dir := bareSet(t), t.TempDir()
	path, conf := filepath.Join(dir, "tag"), marked(t, dir, "", "a")
	installFile(t, path, "#!/bin/sh\nexit 1\n")
	uses := chainUses(t, conf)
	r := s.begin(uses[0])
	s.running[uses[0].key()] = r
	if err := r.plugin().Ready(t.Context()); err == nil {
		t.Fatal("it runs")
	}
	for name, change := range map[string]func() error{
		"half of it is there": func() error { return os.WriteFile(path, []byte("#!/bin/s"), 0o700) },
		"it is gone":          func() error { return os.Remove(path) },
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		next, err := s.prepare(t.Context(), conf, uses)
		if err != nil || next.pluginMap[uses[0].key()] != r {
			t.Errorf("%s: %v, %v", name, next, err)
		}
	}
}
