package main

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/pipehook/pipehook/core/pipedrive/simulate"
)

func TestWhatCameBackIsPastedAtATerminalAndDoesNotShow(t *testing.T) {
	s := newAppStandIn(t, simulate.Options{})
	p := migrated(t, s, "company = \"acme\"")
	master, terminal := openTerminalPair(t)
	fd := terminal.Fd()
	var seen written
	go func() { _, _ = io.Copy(&seen, master) }() // ends with the test
	c := startConnect(t, p, terminal)
	back := agree(t, c.address(t))
	eventually(t, "the question", func() bool { return strings.Contains(c.errs.String(), "Address or code: ") && !terminalEchoes(t, fd) })
	if _, err := fmt.Fprintln(master, back); err != nil {
		t.Fatal(err)
	}
	if code := <-c.code; code != exitDone || !strings.Contains(c.out.String(), "acme") {
		t.Errorf("exit code %d\n%s%s", code, c.out.String(), c.errs.String())
	}
	if code := queryOf(t, back, "code"); strings.Contains(seen.String()+c.out.String()+c.errs.String(), code) {
		t.Errorf("the code shows: %s", seen.String())
	}
}

func TestTheTerminalIsAsItWasWhenTheCallbackComesFirst(t *testing.T) {
	s := newAppStandIn(t, simulate.Options{})
	p := migrated(t, s, "company = \"acme\"")
	p.serve(t)
	_, terminal := openTerminalPair(t)
	fd := terminal.Fd()
	c := startConnect(t, p, terminal)
	back := agree(t, c.address(t))
	eventually(t, "the question", func() bool { return !terminalEchoes(t, fd) })
	if status, text := open(t, back); status != 200 {
		t.Errorf("got %d %s", status, text)
	}
	if code := <-c.code; code != exitDone || !terminalEchoes(t, fd) {
		t.Errorf("exit code %d, the terminal echoes: %v", code, terminalEchoes(t, fd))
	}
}
