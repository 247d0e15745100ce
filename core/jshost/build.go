package jshost

import (
	"context"

	"github.com/pipehook/pipehook/core/jshost/bundle"
	"github.com/pipehook/pipehook/core/jshost/engine"
	"github.com/pipehook/pipehook/core/jshost/worker"
)

// Compiled is a file as code that can be run, or why it is none.
type Compiled = worker.Compiled

// Build bundles and compiles files with what they import, and runs the top level of each once to see
// what it exports. When isolated, all of that happens in another process. The results are in the
// order of the paths; the error is for all of them.
func Build(ctx context.Context, isolated bool, paths ...string) ([]Compiled, error) {
	if isolated && len(paths) > 0 {
		return worker.Compile(ctx, paths)
	}
	all := make([]Compiled, len(paths))
	for i, path := range paths {
		all[i] = build(path)
	}
	return all, nil
}

func build(path string) Compiled {
	code, err := bundle.Make(path)
	if err != nil {
		return Compiled{Path: path, Err: err}
	}
	p, err := engine.Compile(code)
	if err != nil {
		return Compiled{Path: path, Err: err}
	}
	return Compiled{Path: path, Code: code, Match: p.Match(), Handles: p.Handles()}
}
