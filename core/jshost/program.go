// Package jshost runs listeners written in JavaScript or TypeScript: a file is bundled and compiled
// once, loaded once for each runtime of a small pool, and its exported function is called for every
// event. It knows goja and the file system, no store and no HTTP.
//
// A runtime is stopped at its deadline wherever the script's own code runs. Native functions that
// work for long (sorting a huge array, a regular expression that backtracks) end only by themselves,
// and nothing bounds memory, so scripts here are trusted not to attack.
package jshost

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/dlclark/regexp2/v2"
	"github.com/dop251/goja"
	"github.com/dop251/goja/parser"
	"github.com/evanw/esbuild/pkg/api"

	"github.com/pipehook/pipehook/core"
)

// loadTime bounds the run of a file's top level.
const loadTime = time.Second

// regexTime ends a regular expression that backtracks without end; it then counts as "no match",
// so it should be longer than any listener's deadline, which makes the attempt fail instead.
const regexTime = 30 * time.Second

func init() { regexp2.DefaultMatchTimeout = regexTime } // the library has no other setting

// Program is a compiled file. It is immutable and may be shared.
type Program struct {
	path     string
	hash     string
	compiled *goja.Program
	match    []core.Pattern
	handler  bool
}

// CompileError is a file that can't be a listener, with the place of the mistake.
type CompileError struct {
	File         string
	Line, Column int // 0 when not known
	Msg          string
	Frame        string // the line of code, empty when not known
}

func (e *CompileError) Error() string {
	place := e.File
	if e.Line > 0 {
		place = fmt.Sprintf("%s:%d:%d", e.File, e.Line, e.Column)
	}
	return place + ": " + e.Msg
}

// Compile reads, bundles and compiles a file with the files it imports, and runs its top level once
// to see what it exports. The error is a CompileError.
func Compile(path string) (*Program, error) {
	code, err := bundle(path)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(code)
	p := &Program{path: path, hash: hex.EncodeToString(sum[:6])}
	// In a wrapper without a line break, so that lines stay lines.
	wrapped := "(function(exports,require,module){" + string(code) + "\n})"
	ast, err := goja.Parse(path, wrapped, parser.WithSourceMapLoader(func(name string) ([]byte, error) {
		return nil, fmt.Errorf("the source map %s is not part of the file", name) // goja would read any file
	}))
	if err != nil {
		return nil, &CompileError{File: path, Msg: err.Error()}
	}
	if p.compiled, err = goja.CompileAST(ast, true); err != nil {
		return nil, &CompileError{File: path, Msg: err.Error()}
	}
	return p, p.inspect()
}

// bundle makes one CommonJS script of the file and its imports, in the language that goja knows.
func bundle(path string) ([]byte, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, &CompileError{File: path, Msg: err.Error()}
	}
	result := api.Build(api.BuildOptions{
		EntryPoints: []string{abs}, AbsWorkingDir: filepath.Dir(abs), Outdir: filepath.Dir(abs),
		Bundle: true, Write: false, LogLevel: api.LogLevelSilent, Charset: api.CharsetUTF8,
		Format: api.FormatCommonJS, Platform: api.PlatformNeutral, MainFields: []string{"module", "main"},
		Target: api.ES2022, Supported: map[string]bool{
			"async-generator": false, "for-await": false, "top-level-await": false, "dynamic-import": false,
			"import-meta": false, "regexp-match-indices": false, "regexp-set-notation": false,
		},
		Sourcemap: api.SourceMapInline, SourcesContent: api.SourcesContentExclude,
	})
	if len(result.Errors) > 0 {
		return nil, bundleError(path, result.Errors[0])
	}
	return result.OutputFiles[0].Contents, nil
}

func bundleError(path string, m api.Message) error {
	e := &CompileError{File: path, Msg: m.Text}
	if at := m.Location; at != nil {
		e.File = filepath.Join(filepath.Dir(path), at.File)
		e.Line, e.Column, e.Frame = at.Line, at.Column+1, at.LineText
	}
	return e
}

// inspect loads the program into a runtime of its own, where logging goes nowhere.
func (p *Program) inspect() error {
	rt, err := newRuntime(p, Options{})
	if err != nil {
		return p.loadError(err)
	}
	p.handler = rt.handler != nil
	match := rt.export("match")
	if match == nil {
		return nil
	}
	var texts []string
	switch v := match.Export().(type) {
	case string:
		texts = []string{v}
	case []any:
		for _, elem := range v {
			texts = append(texts, fmt.Sprint(elem))
		}
	default:
		return &CompileError{File: p.path, Msg: "match must be a pattern or a list of patterns, such as [\"updated.deal\"]"}
	}
	for _, text := range texts {
		pattern, err := core.ParsePattern(text)
		if err != nil {
			return &CompileError{File: p.path, Msg: "match: " + err.Error()}
		}
		p.match = append(p.match, pattern)
	}
	return nil
}

func (p *Program) loadError(err error) error {
	e := &CompileError{File: p.path, Msg: err.Error()}
	if failure, ok := errors.AsType[*scriptError](err); ok {
		e.Msg = failure.msg
		if failure.file != "" {
			e.File, e.Line, e.Column = failure.file, failure.line, failure.column
		}
	}
	return e
}

// Match is what the file exports as match; nil when it does not.
func (p *Program) Match() []core.Pattern { return p.match }

// Handles reports whether the file exports a function to call, by default or as the module itself.
func (p *Program) Handles() bool { return p.handler }

// Hash names the version of the code: it changes when the file or one of its imports does.
func (p *Program) Hash() string { return p.hash }

// nameOf is the listener that a file is: its name without the extension.
func nameOf(path string) string {
	base := filepath.Base(path)
	return strings.TrimSuffix(base, filepath.Ext(base))
}
