package worker

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/jshost/bundle"
	"github.com/pipehook/pipehook/core/jshost/engine"
	"github.com/pipehook/pipehook/core/jshost/worker/message"
)

const (
	compileMemory = 512 << 20
	compileWithin = 10 * time.Second // for each file
)

// Compiled is a file as code, or why it is none.
type Compiled struct {
	Path    string // as it was given
	Code    engine.Code
	Match   []core.Pattern // what the file exports as match
	Handles bool           // it exports a function to call
	Err     error          // an engine.CompileError; the rest is empty then
}

// Compile bundles and compiles files in a child that may only read: a file may be such that a parser
// ends the process it runs in. The results are in the order of the paths. The error is for all of
// them: no child can be started, or ctx has ended.
func Compile(ctx context.Context, paths []string) ([]Compiled, error) {
	done := make([]Compiled, len(paths))
	var c *compiler
	defer func() {
		if c != nil {
			c.end()
		}
	}()
	for i, path := range paths {
		if c == nil {
			var err error
			if c, err = newCompiler(); err != nil {
				return nil, err
			}
		}
		m, why := c.compile(ctx, path)
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		if m == nil {
			c.end()
			c = nil
			done[i] = Compiled{Path: path, Err: &engine.CompileError{File: path, Msg: why}}
			continue
		}
		done[i] = received(path, m)
	}
	return done, nil
}

// compiler is the parent's side of a child that compiles.
type compiler struct {
	*proc
	in  *inbox
	out *outbox
}

func newCompiler() (*compiler, error) {
	proc, err := spawn(compilesAs, "", "")
	if err != nil {
		return nil, fmt.Errorf("a process to compile scripts in can't be started: %w", err)
	}
	c := &compiler{proc, newInbox(proc.socket), newOutbox(proc.socket)}
	_ = c.out.send(&message.Down{Setup: &message.Setup{Memory: compileMemory, Reads: true, Size: int32(runtime.NumCPU())}}) // seen when reading
	return c, nil
}

// compile has one file compiled. Without an answer the child is of no more use; why says so.
func (c *compiler) compile(ctx context.Context, path string) (m *message.Compiled, why string) {
	bounded, cancel := context.WithTimeout(ctx, compileWithin)
	defer cancel()
	defer context.AfterFunc(bounded, c.kill)()
	_ = c.out.send(&message.Down{Compile: text(path)}) // another file, or none, where it is no text
	up, err := c.in.up()
	switch {
	case err == nil && up.GetCompiled() != nil:
		return up.GetCompiled(), ""
	case bounded.Err() != nil:
		return nil, fmt.Sprintf("it takes longer than %s to compile", compileWithin)
	case err != nil && !hungUp(err):
		return nil, "can't be compiled: " + err.Error()
	}
	if !c.wait(endsAbout) {
		c.kill()
		c.wait(0)
	}
	return nil, c.verdict()
}

// verdict is what the end of the child says about the file.
func (c *compiler) verdict() string {
	switch f := c.fate(); f {
	case diedOfMemory:
		return "it takes more than " + size(compileMemory) + " to compile"
	case diedOfDepth:
		return "it is nested too deep"
	default:
		return "can't be compiled: the process that tried has ended: " + c.status()
	}
}

func (c *compiler) end() {
	c.hangUp()
	if !c.wait(endsAbout) {
		c.kill()
		c.wait(0)
	}
}

// received is what the child has made of a file.
func received(path string, m *message.Compiled) Compiled {
	if f := m.GetFailure(); f != nil {
		return Compiled{Path: path, Err: &engine.CompileError{
			File: f.GetFile(), Line: int(f.GetLine()), Column: int(f.GetColumn()), Msg: f.GetMsg(), Frame: m.GetFrame(),
		}}
	}
	c := Compiled{Path: path, Handles: m.GetHandles(), Code: engine.Code{
		Path: m.GetPath(), Hash: m.GetHash(), Text: m.GetText(), Inputs: m.GetInputs(),
	}}
	for _, text := range m.GetMatch() {
		pattern, err := core.ParsePattern(text)
		if err != nil {
			return Compiled{Path: path, Err: &engine.CompileError{File: path, Msg: "match: " + err.Error()}}
		}
		c.Match = append(c.Match, pattern)
	}
	return c
}

// serveCompiler is the child's side.
func serveCompiler(in *inbox, out *outbox) error {
	for {
		m, err := in.down()
		if err != nil {
			return err
		}
		if err := out.send(&message.Up{Compiled: compile(m.GetCompile())}); err != nil {
			return err
		}
	}
}

func compile(path string) *message.Compiled {
	code, err := bundle.Make(path)
	if err != nil {
		return refused(path, err)
	}
	p, err := engine.Compile(code)
	if err != nil {
		return refused(path, err)
	}
	m := &message.Compiled{Path: code.Path, Hash: code.Hash, Text: code.Text, Inputs: code.Inputs, Handles: p.Handles()}
	for _, pattern := range p.Match() {
		m.Match = append(m.Match, pattern.String())
	}
	return m
}

func refused(path string, err error) *message.Compiled {
	e, ok := errors.AsType[*engine.CompileError](err)
	if !ok {
		e = &engine.CompileError{File: path, Msg: err.Error()}
	}
	return &message.Compiled{Frame: text(e.Frame), Failure: &message.Failure{
		File: text(e.File), Line: int32(e.Line), Column: int32(e.Column), Msg: text(e.Msg),
	}}
}
