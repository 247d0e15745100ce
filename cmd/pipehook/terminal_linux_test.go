package main

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// openTerminal is a terminal that nobody looks at.
func openTerminal(t *testing.T) *os.File {
	t.Helper()
	_, terminal := openTerminalPair(t)
	return terminal
}

// openTerminalPair is a terminal, and what types into it and sees it.
func openTerminalPair(t *testing.T) (master, terminal *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("there are no terminals here: %v", err)
	}
	t.Cleanup(func() { _ = master.Close() })
	fd := int(master.Fd())
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprint("/dev/pts/", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = terminal.Close() })
	return master, terminal
}

func TestABarNeedsATerminalThatCanMove(t *testing.T) {
	terminal := openTerminal(t)
	file, err := os.Create(t.TempDir() + "/out")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	for _, test := range []struct {
		name    string
		w       *os.File
		environ []string
		want    bool
	}{
		{"a terminal", terminal, []string{"TERM=xterm", "NO_COLOR=1"}, true},
		{"a dumb terminal", terminal, []string{"TERM=dumb"}, false},
		{"a file", file, []string{"TERM=xterm"}, false},
	} {
		if got := movable(test.w, test.environ); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

// terminalEchoes reports whether a terminal shows what is typed.
func terminalEchoes(t *testing.T, terminal uintptr) bool {
	t.Helper()
	state, err := unix.IoctlGetTermios(int(terminal), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return state.Lflag&unix.ECHO != 0
}
