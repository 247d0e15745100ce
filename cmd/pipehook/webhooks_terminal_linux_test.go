package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pipehook/pipehook/core/pipedrive/hooks"
)

// person sits at a terminal: what is asked is answered when it shows.
type person struct {
	terminal *os.File
	master   *os.File
	mu       sync.Mutex
	seen     bytes.Buffer
}

// sitDown answers each question with what follows it, in order.
func sitDown(t *testing.T, dialogue ...string) *person {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("there are no terminals here: %v", err)
	}
	fd := int(master.Fd())
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	terminal, err := os.OpenFile(fmt.Sprint("/dev/pts/", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	p := &person{terminal: terminal, master: master}
	var wg sync.WaitGroup
	wg.Go(func() { // ends when the terminal is closed
		at := 0
		for buf := make([]byte, 4096); ; {
			n, err := master.Read(buf)
			if err != nil {
				return
			}
			p.mu.Lock()
			p.seen.Write(buf[:n])
			text := p.seen.String()
			p.mu.Unlock()
			for len(dialogue) >= 2 {
				i := strings.Index(text[at:], dialogue[0])
				if i < 0 {
					break
				}
				at += i + len(dialogue[0])
				_, _ = master.WriteString(dialogue[1] + "\n")
				dialogue = dialogue[2:]
			}
		}
	})
	t.Cleanup(func() {
		_ = terminal.Close()
		wg.Wait()
		_ = master.Close()
	})
	return p
}

func (p *person) screen() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen.String()
}

func TestWhatIsMissingIsAskedForOnATerminal(t *testing.T) {
	p, a := connected(t, ""), &fakeAccount{}
	who := sitDown(t, "event, such as", "updated.deal", "URL that", "https://elsewhere.example.com/x", "username", "somebody", "password", "canary-typed", "make a webhook", "yes")
	code, out := webhooksRun(t, p, a, who.terminal, who.terminal, "create")
	if code != exitDone || !strings.Contains(out, "webhook 101: change.deal to https://elsewhere.example.com/x") || a.passwords[101] != "canary-typed" {
		t.Errorf("exit code %d\n%s%s", code, out, who.screen())
	}
	if strings.Contains(who.screen(), "canary") {
		t.Errorf("the password shows\n%s", who.screen())
	}
}

func TestWhatCanNotBeIsAskedForAgain(t *testing.T) {
	p, a := connected(t, ""), &fakeAccount{}
	who := sitDown(t, "event, such as", "merged.deal", "event, such as", "*.deal", "URL that", "nonsense", "URL that", "", "username", "", "make a webhook", "no")
	code, _ := webhooksRun(t, p, a, who.terminal, who.terminal, "create")
	if code != exitFailed || len(a.all) > 0 || !strings.Contains(who.screen(), "the address is no address") {
		t.Errorf("exit code %d, made are %v\n%s", code, a.all, who.screen())
	}
	eventually(t, "what became of it shows", func() bool { return strings.Contains(who.screen(), "nothing was made") })
}

func TestWhatIsThereAnywayNeedsOnlyReturn(t *testing.T) {
	p, a := connected(t, ""), &fakeAccount{}
	who := sitDown(t, "event, such as", "", "URL that", "", "username", "", "make a webhook", "y")
	if code, out := webhooksRun(t, p, a, who.terminal, who.terminal, "create"); code != exitDone || !strings.Contains(out, "*.* to https://hooks.example.com/hook") || a.passwords[101] != "secret of the tests" {
		t.Errorf("exit code %d\n%s%s", code, out, who.screen())
	}
}

func TestWebhooksAreChosenFromAListOnATerminal(t *testing.T) {
	for answer, left := range map[string]int{"yes": 1, "no": 2, "": 2} {
		p, a := connected(t, ""), &fakeAccount{all: []hooks.Webhook{hookHere(7, "*.deal"), hookHere(8, "*.note")}}
		who := sitDown(t, "ids to delete", "8", "delete 1 webhook", answer)
		if code, out := webhooksRun(t, p, a, who.terminal, who.terminal, "delete"); code != exitDone || len(a.all) != left {
			t.Errorf("%q: exit code %d, left are %d\n%s%s", answer, code, len(a.all), out, who.screen())
		}
	}
}

func TestApplyAsksOnATerminal(t *testing.T) {
	for answer, made := range map[string]int{"yes": 1, "no": 0} {
		p, a := connected(t, "[[pipedrive.webhook]]\nevent = \"*.*\"\n"), &fakeAccount{}
		who := sitDown(t, "change 1 webhook", answer)
		if _, out := webhooksRun(t, p, a, who.terminal, who.terminal, "apply"); len(a.all) != made {
			t.Errorf("%q: made are %d\n%s%s", answer, len(a.all), out, who.screen())
		}
	}
}

func TestANewPasswordIsShownOnceAndOnATerminalOnly(t *testing.T) {
	p := connected(t, "") // its password stands in the file
	p.serve(t)
	a := &fakeAccount{all: []hooks.Webhook{hookHere(7, "*.deal")}}
	who := sitDown(t, "make 1 webhook anew", "yes")
	code, out := webhooksRun(t, p, a, who.terminal, who.terminal, "rotate")
	made := string(a.passwords[101])
	eventually(t, "the new password shows", func() bool { return strings.Contains(who.screen(), made) })
	if code != exitDone || len(a.all) != 1 || len(made) < 40 || strings.Count(who.screen(), made) != 1 || strings.Contains(out, made) {
		t.Errorf("exit code %d, left are %v\n%s%s", code, a.all, out, who.screen())
	}
}
