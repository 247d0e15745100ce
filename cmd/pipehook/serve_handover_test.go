package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core/coretest/testdb"
	"github.com/pipehook/pipehook/core/jshost/worker"
)

// handovers is how often the program is replaced under load: a few times by default, as often as
// this says for make test.
const handovers = "PIPEHOOK_TEST_HANDOVERS"

// falseSuccessor has the test binary, started as a successor, fail at the step that it names.
const falseSuccessor = "PIPEHOOK_TEST_FALSE_SUCCESSOR"

func TestMain(m *testing.M) {
	worker.Main()
	switch os.Getenv(falseSuccessor) {
	case "":
		code := m.Run()
		removeBuilds()
		os.Exit(code)
	case "at once":
	case "with the store":
		_, _ = io.WriteString(os.NewFile(4, ""), wordBuilt+"\n")
		_, _ = bufio.NewReader(os.NewFile(3, "")).ReadString('\n')
	}
	os.Exit(3)
}

func TestHandingOverUnderLoadRefusesNothingAndLosesNothing(t *testing.T) {
	bin := buildBinary(t)
	rounds := 5
	if os.Getenv(handovers) != "" {
		rounds = kills(t, handovers)
	}
	testdb.Each(t, func(t *testing.T, url string) {
		p := newProject(t, url, fullChain, nil)
		p.write(t, "scripts/count.js", `export default (event) => { event.current.title }`)
		pr := launch(t, p, exec.Command(bin, "serve", "--config", p.config))
		l, stop := p.press(t, 500, nil)
		pid := pr.cmd.Process.Pid
		for round := range rounds {
			l.more(t, 100)
			pr.signal(t, pid, syscall.SIGUSR2)
			pid = pr.says(t, "handed over", round+1).Successor
		}
		l.more(t, 100)
		stop()
		<-pr.exit
		l.flawless(t, p)
		t.Logf("%d hand-overs: %d events acknowledged, the slowest answer took %s", rounds, l.acked.Load(), l.slowest)
		pr.stop(t, p, pid)
	})
}

// stop ends the process and waits until nobody listens any more.
func (pr *process) stop(t *testing.T, p *project, pid int) {
	t.Helper()
	pr.signal(t, pid, syscall.SIGTERM)
	eventually(t, "nobody listens", func() bool {
		conn, err := net.Dial("tcp", p.hooks)
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	})
	pr.says(t, "pipehook has stopped", 1)
}

// Where the answer waits for the listener, the requests end before the attempts.
func TestHandingOverUnderLoadAnswersWhatWaitsForListeners(t *testing.T) {
	bin := buildBinary(t)
	p := newProject(t, testdb.SQLite(t), fullChain, map[string]string{"dispatch": `mode = "inline"`})
	p.write(t, "scripts/slow.js", `export default () => { for (const end = Date.now() + 5; Date.now() < end; ); }`)
	p.write(t, "pipeline.toml", readFile(t, p.config)+"[[listener]]\nname = \"slow\"\nscript = \"scripts/slow.js\"\norder = \"none\"\nconcurrency = 64\n")
	pr := launch(t, p, exec.Command(bin, "serve", "--config", p.config))
	l, stop := p.press(t, 100, nil)
	pid := pr.cmd.Process.Pid
	for round := range 3 {
		l.more(t, 30)
		pr.signal(t, pid, syscall.SIGUSR2)
		pid = pr.says(t, "handed over", round+1).Successor
	}
	l.more(t, 30)
	stop()
	l.flawless(t, p)
	pr.stop(t, p, pid)
}

// A plain stop answers what it took, on connections of both kinds; then it refuses.
func TestAStopUnderLoadResetsNobody(t *testing.T) {
	bin := buildBinary(t)
	p := newProject(t, testdb.SQLite(t), fullChain, nil)
	pr := launch(t, p, exec.Command(bin, "serve", "--config", p.config))
	l, stop := p.press(t, 500, nil)
	l.more(t, 200)
	pr.signal(t, pr.cmd.Process.Pid, syscall.SIGTERM)
	<-pr.exit
	stop()
	l.mu.Lock()
	for _, failure := range l.dropped {
		if !strings.Contains(failure, "connection refused") {
			t.Errorf("a request failed: %s", failure)
		}
	}
	l.dropped = nil
	l.mu.Unlock()
	l.flawless(t, p)
}

func TestASuccessorWithABrokenConfigurationChangesNothingUnderLoad(t *testing.T) {
	bin := buildBinary(t)
	p := newProject(t, testdb.SQLite(t), fullChain, nil)
	pr := launch(t, p, exec.Command(bin, "serve", "--config", p.config))
	l, stop := p.press(t, 200, nil)
	good, err := os.ReadFile(p.config)
	if err != nil {
		t.Fatal(err)
	}
	p.replace(t, strings.Replace(string(good), "dispatch", "despatch", 1))
	pr.signal(t, pr.cmd.Process.Pid, syscall.SIGUSR2)
	if failed := pr.says(t, "the successor did not start", 1); !strings.Contains(failed.Err, "exit status 2") {
		t.Errorf("it says %q", failed.Err)
	}
	l.more(t, 100)
	p.replace(t, string(good))
	pr.signal(t, pr.cmd.Process.Pid, syscall.SIGUSR2)
	next := pr.says(t, "handed over", 1).Successor
	l.more(t, 100)
	stop()
	l.flawless(t, p)
	pr.stop(t, p, next)
}

func TestASuccessorThatFailsIsReplacedByItsPredecessorUnderLoad(t *testing.T) {
	for step, says := range map[string]string{"at once": "the successor did not start", "with the store": "the successor did not take over"} {
		t.Run(step, func(t *testing.T) {
			t.Setenv(falseSuccessor, step)
			p := newProject(t, testdb.SQLite(t), fullChain, nil)
			errs := &screen{}
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan int, 1)
			go func() { done <- run(ctx, []string{"serve", "--config", p.config}, os.Environ(), nil, io.Discard, errs) }()
			if err := p.ready(t.Context()); err != nil {
				t.Error(err)
			}
			l, stop := p.press(t, 100, nil)
			l.more(t, 20)
			if err := syscall.Kill(os.Getpid(), syscall.SIGUSR2); err != nil {
				t.Error(err)
			}
			errs.shows(t, says)
			l.more(t, 50)
			stop()
			l.flawless(t, p)
			cancel()
			if code := <-done; code != exitDone {
				t.Errorf("exit code %d: %s", code, errs)
			}
		})
	}
}

// A listener that is busy must not make senders wait while the program is replaced.
func TestHandingOverUnderLoadDoesNotWaitForListenersBeforeItAnswers(t *testing.T) {
	bin := buildBinary(t)
	p := newProject(t, testdb.SQLite(t), fullChain, nil)
	p.write(t, "scripts/slow.js", `export default () => { for (const end = Date.now() + 3000; Date.now() < end; ); }`)
	pr := launch(t, p, exec.Command(bin, "serve", "--config", p.config))
	p.post(t, sampleBody(t))
	l, stop := p.press(t, 20, nil)
	l.more(t, 5)
	begun := time.Now()
	pr.signal(t, pr.cmd.Process.Pid, syscall.SIGUSR2)
	next := pr.says(t, "handed over", 1).Successor
	took := time.Since(begun)
	l.more(t, 5)
	stop()
	if took < time.Second {
		t.Errorf("no attempt ran: it took %s", took)
	}
	if l.slowest > 2*time.Second || len(l.dropped) > 0 || len(l.refused) > 0 {
		t.Errorf("the slowest answer took %s, %d had none, %v", l.slowest, len(l.dropped), l.refused)
	}
	t.Logf("it took %s, the slowest answer %s", took, l.slowest)
	pr.signal(t, next, syscall.SIGKILL) // its attempts take too long to wait for
}

func TestASecondSignalEndsAtOnce(t *testing.T) {
	bin := buildBinary(t)
	p := newProject(t, testdb.SQLite(t), fullChain, nil)
	p.write(t, "scripts/slow.js", `export default () => { for (;;); }`)
	edit(t, p.config, "[store]", "shutdown_grace = \"10m\"\n[store]")
	p.write(t, "pipeline.toml", readFile(t, p.config)+"[[listener]]\nname = \"slow\"\nscript = \"scripts/slow.js\"\ntimeout = \"10m\"\n")
	pr := launch(t, p, exec.Command(bin, "serve", "--config", p.config))
	p.post(t, sampleBody(t))
	pr.signal(t, pr.cmd.Process.Pid, syscall.SIGTERM)
	eventually(t, "it no longer listens", func() bool {
		conn, err := net.Dial("tcp", p.hooks)
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	})
	pr.signal(t, pr.cmd.Process.Pid, syscall.SIGTERM)
	<-pr.exit
}

func readFile(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// underManager starts the program as systemd would: with sockets, and somebody to tell.
func underManager(t *testing.T, p *project, bin string) (*process, <-chan string, map[string]net.Listener) {
	t.Helper()
	dir, err := os.MkdirTemp("", "m") // the name of a Unix socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "n"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = socket.Close() })
	told := make(chan string, 100)
	go func() { // ends with the socket
		buf := make([]byte, 1000)
		for {
			n, err := socket.Read(buf)
			if err != nil {
				return
			}
			told <- string(buf[:n])
		}
	}()
	cmd := exec.Command("sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`, bin, "serve", "--config", p.config)
	cmd.Env = append(os.Environ(), "LISTEN_FDS=2", "LISTEN_FDNAMES=admin:hooks", "NOTIFY_SOCKET="+socket.LocalAddr().String())
	listeners := map[string]net.Listener{}
	for _, name := range []string{adminDoor, hooksDoor} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ln.Close() })
		listeners[name] = ln
		file, err := (&socketOf{ln}).dup()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = file.Close() })
		cmd.ExtraFiles = append(cmd.ExtraFiles, file)
	}
	p.admin, p.hooks = listeners[adminDoor].Addr().String(), listeners[hooksDoor].Addr().String()
	return launch(t, p, cmd), told, listeners
}

type socketOf struct{ net.Listener }

func (s *socketOf) dup() (*os.File, error) { return (&socket{Listener: s.Listener}).dup() }

func hears(t *testing.T, told <-chan string, state string) {
	t.Helper()
	select {
	case got := <-told:
		if got != state && !strings.HasPrefix(got, state+"\n") {
			t.Errorf("the manager was told %q, want %q", got, state)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("the manager was not told %q", state)
	}
}

func TestAServiceManagersSocketsAreUsedAndItIsTold(t *testing.T) {
	bin := buildBinary(t)
	p := newProject(t, testdb.SQLite(t), fullChain, nil)
	pr, told, _ := underManager(t, p, bin)
	hears(t, told, stateReady)
	if r := p.post(t, sampleBody(t)); r.status != http.StatusOK {
		t.Errorf("answer %+v", r)
	}
	pr.signal(t, pr.cmd.Process.Pid, syscall.SIGHUP)
	hears(t, told, "RELOADING=1")
	hears(t, told, stateReady)
	pr.signal(t, pr.cmd.Process.Pid, syscall.SIGUSR2)
	next := pr.says(t, "handed over", 1).Successor
	var both []string
	for range 2 { // the successor and its predecessor speak at once
		select {
		case text := <-told:
			both = append(both, text)
		case <-time.After(20 * time.Second):
			t.Fatal("the manager was not told")
		}
	}
	if !slices.Contains(both, fmt.Sprintf("MAINPID=%d", next)) || !slices.Contains(both, stateReady) {
		t.Errorf("the manager was told %q", both)
	}
	if r := p.post(t, sampleBody(t)); r.status != http.StatusOK {
		t.Errorf("answer %+v", r)
	}
	pr.signal(t, next, syscall.SIGTERM)
	hears(t, told, stateStopping)
	pr.says(t, "pipehook has stopped", 1)
}

// Between two processes that a manager runs one after the other nobody is refused: the manager's
// socket stays open.
func TestARestartByTheManagerUnderLoadRefusesNothing(t *testing.T) {
	bin := buildBinary(t)
	p := newProject(t, testdb.SQLite(t), fullChain, nil)
	pr, _, listeners := underManager(t, p, bin)
	l, stop := p.press(t, 500, nil)
	for range 3 {
		l.more(t, 100)
		pr.signal(t, pr.cmd.Process.Pid, syscall.SIGTERM)
		<-pr.exit
		cmd := exec.Command(pr.cmd.Path, pr.cmd.Args[1:]...)
		cmd.Env = pr.cmd.Env
		for _, name := range []string{adminDoor, hooksDoor} {
			file, err := (&socketOf{listeners[name]}).dup()
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = file.Close() }()
			cmd.ExtraFiles = append(cmd.ExtraFiles, file)
		}
		pr = launch(t, p, cmd)
	}
	l.more(t, 100)
	stop()
	l.flawless(t, p)
	pr.stopManaged(t)
}

func (pr *process) stopManaged(t *testing.T) {
	t.Helper()
	pr.signal(t, pr.cmd.Process.Pid, syscall.SIGTERM)
	<-pr.exit
}

func TestASocketThatFitsNothingIsAMistake(t *testing.T) {
	p := newProject(t, testdb.SQLite(t), fullChain, nil)
	conf, err := (&cli{path: p.config}).load(nil)
	if err != nil {
		t.Fatal(err)
	}
	pass := func(door string) passed {
		s, err := listen("127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		file, err := s.dup()
		if err != nil {
			t.Fatal(err)
		}
		return passed{Door: door, Managed: true, file: file}
	}
	open := func(sockets ...passed) (*app, error) {
		logs, err := openLogs(io.Discard, conf)
		if err != nil {
			t.Fatal(err)
		}
		a, err := newApp(t.Context(), conf, parts{logs: logs, from: &inheritance{sockets: sockets}})
		if err == nil {
			t.Cleanup(func() { _ = a.close() })
		}
		return a, err
	}
	if _, err := open(pass(hooksDoor), pass("")); err == nil || !strings.Contains(hintOf(err), "FileDescriptorName=hooks") {
		t.Errorf("a socket without a name: %v, %q", err, hintOf(err))
	}
	a, err := open(pass(""))
	if err != nil {
		t.Fatal(err)
	}
	if at := a.doors[hooksDoor].socket(); !at.managed {
		t.Errorf("one socket alone is not for the hooks, which are at %s", at.Addr())
	}
}
