package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/mattn/go-isatty"
	xterm "golang.org/x/term"

	"github.com/pipehook/pipehook/core"
)

// asker asks a person at a terminal.
type asker struct {
	in  *os.File
	out io.Writer
}

// asker is nil when nobody is there to answer: no terminal, or a program that reads JSON.
func (c *cli) asker() *asker {
	in, ok := c.stdin.(*os.File)
	if !ok || c.json || !isatty.IsTerminal(in.Fd()) {
		return nil
	}
	return &asker{in, c.stderr}
}

// text asks for a line; an empty one is the fallback.
func (a *asker) text(ctx context.Context, question, fallback string) (string, error) {
	if fallback != "" {
		question += " [" + fallback + "]"
	}
	fmt.Fprint(a.out, question, ": ")
	line, err := interruptible(ctx, a.line)
	if line = strings.TrimSpace(line); line == "" {
		line = fallback
	}
	return line, err
}

// fitting asks again until check has nothing against the answer.
func (a *asker) fitting(ctx context.Context, question, fallback string, check func(string) error) (string, error) {
	for {
		line, err := a.text(ctx, question, fallback)
		if err != nil {
			return "", err
		}
		wrong := check(line)
		if wrong == nil {
			return line, nil
		}
		fmt.Fprintln(a.out, plain(wrong.Error()))
	}
}

// sure asks whether to go on. Only yes is yes.
func (a *asker) sure(ctx context.Context, question string) (bool, error) {
	answer, err := a.text(ctx, question+" (yes/no)", "no")
	answer = strings.ToLower(answer)
	return answer == "yes" || answer == "y", err
}

// secret asks for what the terminal must not show.
func (a *asker) secret(ctx context.Context, question string) (core.Secret, error) {
	fd := int(a.in.Fd())
	before, err := xterm.GetState(fd)
	if err != nil {
		return "", err
	}
	defer func() { _ = xterm.Restore(fd, before) }() // also when the read goes on, because ctx has ended
	if err := hush(fd); err != nil {                 // before the question, which somebody may answer at once
		return "", err
	}
	fmt.Fprint(a.out, question, ": ")
	text, err := interruptible(ctx, func() (string, error) {
		text, err := xterm.ReadPassword(fd)
		return string(text), err
	})
	fmt.Fprintln(a.out)
	return core.Secret(text), err
}

// line reads no more than a line, so that nothing is kept from who reads next.
func (a *asker) line() (string, error) {
	var line []byte
	for one := make([]byte, 1); ; {
		n, err := a.in.Read(one)
		switch {
		case n == 1 && one[0] == '\n':
			return string(line), nil
		case n == 1:
			line = append(line, one[0])
		case err == io.EOF && len(line) > 0:
			return string(line), nil
		case err != nil:
			return "", fmt.Errorf("nobody answers: %w", err)
		}
	}
}

// interruptible stops waiting when ctx ends. What reads from a terminal can't be stopped: it is left, and the
// process is about to end.
func interruptible(ctx context.Context, read func() (string, error)) (string, error) {
	type answer struct {
		text string
		err  error
	}
	answers := make(chan answer, 1)
	go func() { // ends with the answer, or the process
		text, err := read()
		answers <- answer{text, err}
	}()
	select {
	case a := <-answers:
		return a.text, a.err
	case <-ctx.Done():
		return "", errors.New("interrupted")
	}
}

// confirm asks unless yes was said; where nobody can be asked yes must have been said.
func (c *cli) confirm(ctx context.Context, yes bool, question string) (bool, error) {
	if yes {
		return true, nil
	}
	a := c.asker()
	if a == nil {
		return false, usagef("add --yes", "this changes the account, and there is no terminal to ask at")
	}
	return a.sure(ctx, question)
}
