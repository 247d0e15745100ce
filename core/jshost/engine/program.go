// Package engine is the world of a script: a program of JavaScript is compiled once, loaded once for
// each runtime of a small pool, and its exported function is called for every event. It knows goja,
// and neither files, processes, stores nor the network: what a script does to the outside goes
// through a Host, and the time comes from a Clock.
//
// A runtime is stopped at its deadline wherever the script's own code runs, and its calls and the JSON
// that it reads are nested only so deep. Native functions that work for long (filling a huge array, a
// regular expression that backtracks) end only by themselves, those that recurse (JSON.stringify) do it
// as deep as a value is, and nothing here bounds memory: whoever needs that runs the engine in a
// process of its own.
package engine

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/dlclark/regexp2/v2"
	"github.com/dop251/goja"
	"github.com/dop251/goja/parser"

	"github.com/pipehook/pipehook/core"
)

// maxBundle is the largest bundle that is compiled: parsers recurse, and too deep an expression
// ends the process.
const maxBundle = 4 << 20

// regexTime ends a regular expression that backtracks without end. It then counts as "no match", so
// it must be longer than usual deadlines: the attempt fails then, instead of going on with a wrong
// answer.
const regexTime = 30 * time.Second

func init() { regexp2.DefaultMatchTimeout = regexTime } // the library has no other setting

// Code is a script ready to be compiled: one text with its source map inside.
type Code struct {
	Path   string   `json:"path"`   // as the user named the file
	Hash   string   `json:"hash"`   // 12 hex digits; changes when the file or an import does
	Text   []byte   `json:"text"`   // an expression: function (exports, require, module) { … }
	Inputs []string `json:"inputs"` // files it was built from, itself included, sorted
}

// Name is the listener that the file is when nothing else names it: its name without the extension.
func (c Code) Name() string {
	base := filepath.Base(c.Path)
	return strings.TrimSuffix(base, filepath.Ext(base))
}

// Program is compiled code. It is immutable and may be shared.
type Program struct {
	code     Code
	compiled *goja.Program
	match    []core.Pattern
	handler  bool
	exports  []string
}

// CompileError is a file that can't be a script, with the place of the mistake.
type CompileError struct {
	File   string `json:"file"`
	Line   int    `json:"line,omitempty"` // from 1; 0 when not known
	Column int    `json:"column,omitempty"`
	Msg    string `json:"msg"`
	Frame  string `json:"frame,omitempty"` // see CodeFrame; empty when not known
}

func (e *CompileError) Error() string {
	place := e.File
	if e.Line > 0 {
		place = fmt.Sprintf("%s:%d:%d", e.File, e.Line, e.Column)
	}
	return place + ": " + e.Msg
}

// Compile compiles code and runs its top level once to see what it exports. The error is a
// CompileError.
func Compile(code Code) (*Program, error) {
	p, err := CompileOnly(code)
	if err != nil {
		return nil, err
	}
	if err := p.inspect(); err != nil {
		return nil, err
	}
	return p, nil
}

// CompileOnly does not run anything, so it does not know what the program exports: for one that needs
// a Library. The error is a CompileError.
func CompileOnly(code Code) (*Program, error) {
	if len(code.Text) > maxBundle {
		return nil, &CompileError{File: code.Path, Msg: fmt.Sprintf("with its imports it has %d bytes; at most %d are taken", len(code.Text), maxBundle)}
	}
	p := &Program{code: code}
	ast, err := goja.Parse(code.Path, string(code.Text), parser.WithSourceMapLoader(func(name string) ([]byte, error) {
		return nil, fmt.Errorf("the source map %s is not part of the file", name) // goja would read any file
	}))
	if err != nil {
		return nil, p.refused(err)
	}
	if p.compiled, err = goja.CompileAST(ast, false); err != nil {
		return nil, p.refused(err)
	}
	return p, nil
}

// refused is code that the bundler takes and goja does not, such as a regular expression of a kind
// that it doesn't know.
func (p *Program) refused(err error) error {
	e := &CompileError{File: p.code.Path, Msg: err.Error()}
	if list, ok := errors.AsType[parser.ErrorList](err); ok && len(list) > 0 {
		e.Msg = list[0].Message // its place is one in the bundle
	}
	if syntax, ok := errors.AsType[*goja.CompilerSyntaxError](err); ok && syntax.File != nil {
		at := syntax.File.Position(syntax.Offset)
		e.Msg, e.File, e.Line, e.Column = "SyntaxError: "+syntax.Message, p.source(at.Filename), at.Line, at.Column+1
	}
	return e
}

// inspect loads the program into a runtime of its own, where logging goes nowhere, and looks at what
// it exports. That may be code, too: getters, or a proxy.
func (p *Program) inspect() error {
	ctx, cancel := context.WithTimeoutCause(context.Background(), loadTime, errLoadTime)
	defer cancel()
	rt, err := newRuntime(ctx, p, Options{}, &sync.WaitGroup{}, 0)
	if err != nil {
		return p.loadError(err)
	}
	p.handler = rt.handler != nil
	if rt.exports == nil {
		return nil
	}
	var texts []string
	ok := true
	err = rt.bounded(ctx, func() error {
		p.exports = rt.exports.Keys()
		texts, ok = matchTexts(rt.exports.Get("match"))
		return nil
	})
	if err != nil {
		return p.loadError(err)
	}
	if !ok {
		return &CompileError{File: p.code.Path, Msg: "match must be a pattern or a list of patterns, such as [\"updated.deal\"]"}
	}
	for _, text := range texts {
		pattern, err := core.ParsePattern(text)
		if err != nil {
			return &CompileError{File: p.code.Path, Msg: "match: " + err.Error()}
		}
		p.match = append(p.match, pattern)
	}
	return nil
}

// matchTexts are the patterns of a text or a list of texts; none when nothing is exported.
func matchTexts(match goja.Value) (texts []string, ok bool) {
	switch v := match.(type) {
	case nil:
		return nil, true
	case goja.String:
		return []string{v.String()}, true
	case *goja.Object:
		if v.ClassName() != "Array" {
			return nil, false
		}
		for i := range int(v.Get("length").ToInteger()) {
			text, ok := v.Get(strconv.Itoa(i)).(goja.String)
			if !ok {
				return nil, false
			}
			texts = append(texts, text.String())
		}
		return texts, true
	}
	return nil, goja.IsUndefined(match)
}

func (p *Program) loadError(err error) error {
	e := &CompileError{File: p.code.Path, Msg: err.Error()}
	if failure, ok := errors.AsType[*ScriptError](err); ok {
		e.Msg, e.File, e.Line, e.Column = failure.Msg, failure.File, failure.Line, failure.Column
	}
	return e
}

// Match is what the file exports as match; nil when it does not.
func (p *Program) Match() []core.Pattern { return p.match }

// Handles reports whether the file exports a function to call, by default or as the module itself.
func (p *Program) Handles() bool { return p.handler }

// Exports are the names that the file exports.
func (p *Program) Exports() []string { return slices.Clone(p.exports) }

// Code is what the program was compiled from.
func (p *Program) Code() Code { return p.code }

// Hash names the version of the code: it changes when the file or one of its imports does.
func (p *Program) Hash() string { return p.code.Hash }

// Path is the file as its code names it.
func (p *Program) Path() string { return p.code.Path }

// Name is that of its code.
func (p *Program) Name() string { return p.code.Name() }

// Inputs are the files that the program was built from, itself included, sorted.
func (p *Program) Inputs() []string { return slices.Clone(p.code.Inputs) }
