package jshost

import (
	"context"
	"errors"
	"time"

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
	began := time.Now()
	all := make([]Compiled, len(paths))
	if isolated && len(paths) > 0 {
		var err error
		if all, err = worker.Compile(ctx, paths); err != nil {
			return nil, err
		}
	} else {
		for i, path := range paths {
			all[i] = build(path)
		}
	}
	for _, c := range all {
		if e, ok := errors.AsType[*CompileError](c.Err); ok && e.Frame == "" {
			e.Frame = sourceOf(append(c.Code.Inputs, c.Path), began).frame(e.File, e.Line, e.Column)
		}
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
		return Compiled{Path: path, Code: engine.Code{Inputs: code.Inputs}, Err: err}
	}
	return Compiled{Path: path, Code: code, Match: p.Match(), Handles: p.Handles()}
}
