package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/jshost"
)

// wantedScript is a listener as it should be, before its file is looked at.
type wantedScript struct {
	config.Listener
	path string
	key  string // where the configuration names it, such as listener[0]; other files need not be listeners
	// wrong is why a file that is a listener after all can't be one under its name.
	wrong string
}

// wantedScripts are the listeners of the configuration, then the files that it does not mention.
func wantedScripts(conf *config.Config) ([]wantedScript, error) {
	var wanted []wantedScript
	mentioned, names := map[string]bool{}, map[string]bool{}
	for i, l := range conf.Listeners {
		names[l.Name] = true
		if !l.IsScript() {
			continue
		}
		path := beside(conf, l.Script)
		wanted = append(wanted, wantedScript{Listener: l, path: path, key: fmt.Sprintf("listener[%d]", i)})
		mentioned[filepath.Clean(path)] = true
	}
	if conf.Scripts.Dir == "" {
		return wanted, nil
	}
	found, err := jshost.Scan(beside(conf, conf.Scripts.Dir))
	for _, f := range found {
		if mentioned[filepath.Clean(f.Path)] {
			continue
		}
		if names[f.Name] && f.Wrong == "" {
			f.Wrong = fmt.Sprintf("the name %s is taken by another listener: rename the file or begin its name with _", f.Name)
		}
		l := config.ListenerDefaults()
		if l.Name = f.Name; f.Wrong != "" {
			l.Name = f.Path // no other's, until the file has a name of its own
		}
		names[l.Name] = true
		wanted = append(wanted, wantedScript{Listener: l, path: f.Path, wrong: f.Wrong})
	}
	return wanted, err
}

// buildAll compiles the files of listeners, each result in the place of its listener.
func buildAll(ctx context.Context, conf *config.Config, wanted []wantedScript) []jshost.Compiled {
	paths := make([]string, len(wanted))
	for i, w := range wanted {
		paths[i] = w.path
	}
	built, err := jshost.Build(ctx, isolated(conf), paths...)
	if err != nil {
		built = make([]jshost.Compiled, len(paths))
		for i, path := range paths {
			built[i] = jshost.Compiled{Path: path, Err: err}
		}
	}
	for i, w := range wanted {
		switch b := &built[i]; {
		case b.Err != nil:
		case b.Handles && w.wrong != "":
			b.Err = &jshost.CompileError{File: w.path, Msg: w.wrong}
		case !b.Handles && (w.key != "" || len(b.Match) > 0): // what says which events it wants is meant to get them
			b.Err = noFunction(w.path, "")
		}
	}
	return built
}

func noFunction(path, otherwise string) error {
	return &jshost.CompileError{File: path, Msg: "it exports no function: write export default function (event, ctx) { … }" + otherwise}
}

var everything = mustPattern("*.*")

func mustPattern(text string) core.Pattern {
	p, err := core.ParsePattern(text)
	if err != nil {
		panic(err) // the text is in this file
	}
	return p
}

// matchOf is what the configuration says, else what the file says, else everything.
func matchOf(w wantedScript, file []core.Pattern) []core.Pattern {
	if len(w.Match) > 0 {
		return w.Match
	}
	if len(file) > 0 {
		return file
	}
	return []core.Pattern{everything}
}

func patternTexts(patterns []core.Pattern) []string {
	texts := make([]string, len(patterns))
	for i, p := range patterns {
		texts[i] = p.String()
	}
	return texts
}

// scriptDirs are the folders to watch: the scripts folder, and those of files named elsewhere, in
// listeners and in chains.
func scriptDirs(conf *config.Config) []string {
	var dirs []string
	if conf.Scripts.Dir != "" {
		dirs = append(dirs, beside(conf, conf.Scripts.Dir))
	}
	for _, l := range conf.Listeners {
		if !l.IsScript() {
			continue
		}
		dirs = append(dirs, filepath.Dir(beside(conf, l.Script)))
	}
	for _, path := range chainFiles(conf) {
		dirs = append(dirs, filepath.Dir(path))
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}
