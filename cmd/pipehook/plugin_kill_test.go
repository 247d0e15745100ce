package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/coretest/testdb"
)

// pluginKills is how often the plugin's process is killed: some times by default, as often as this says
// for make test.
const pluginKills = "PIPEHOOK_TEST_PLUGIN_KILLS"

const killedRecords = 50

func TestAPluginThatIsKilledUnderLoadLosesNothingAndKeepsTheOrder(t *testing.T) {
	bin := buildBinary(t)
	for name, open := range map[string]func(testing.TB) string{
		"sqlite": func(t testing.TB) string { return testdb.SQLite(t) }, "postgres": func(t testing.TB) string { return testdb.Postgres(t) },
	} {
		t.Run(name, func(t *testing.T) { killPlugin(t, bin, open(t)) })
	}
}

func killPlugin(t *testing.T, bin, url string) {
	p, l := ledgerProject(t, url)
	pr := launch(t, p, exec.Command(bin, "serve", "--config", p.config))
	s := &orderly{pressure: &pressure{ids: map[string]bool{}, refused: map[int]int{}}, records: make([][]string, killedRecords)}
	stop := s.press(t, p, 500)
	rng, n := rand.New(rand.NewPCG(2, 3)), 40
	if os.Getenv(pluginKills) != "" {
		n = kills(t, pluginKills)
	}
	last := 0
	for i := range n {
		eventually(t, "another process runs", func() bool {
			pid := l.running()
			another := pid != last && pid != 0
			last = pid
			return another
		})
		if i%4 == 3 { // five that did little in a row would have it left alone for longer and longer
			eventually(t, "it has handled some", func() bool { return l.handledBy(last) > 120 })
		} else {
			<-time.After(time.Duration(5+rng.IntN(190)) * time.Millisecond) // the moment of the kill is what this test is about
		}
		if err := syscall.Kill(last, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	s.flawless(t, p)
	s.check(t, p, l)
	t.Logf("%d kills, %d events, %d attempts", n, len(s.ids), l.count("begin"))
	pr.signal(t, pr.cmd.Process.Pid, syscall.SIGTERM)
	<-pr.exit
}

// ledgerProject is a project with the plugin ledger as its listener.
func ledgerProject(t *testing.T, url string) (*project, *ledgerFile) {
	t.Helper()
	l := &ledgerFile{path: filepath.Join(t.TempDir(), "ledger")}
	p := newProject(t, url, fullChain, map[string]string{"": pluginListener("ledger", fmt.Sprintf(
		"config = { path = %q }\nretry = { attempts = 1000, first = \"10ms\", max = \"100ms\" }\nbreaker = { failures = 0 }", l.path))})
	buildPlugin(t, filepath.Join(p.dir, "plugins", "bin", "ledger"), "cmd/pipehook/testdata/ledger", "")
	return p, l
}

// ledgerFile is what the plugin writes.
type ledgerFile struct {
	path string
	seen int // bytes
	all  []ledgerLine
}

type ledgerLine struct {
	what      string
	pid, host int
	event     string
}

// lines are those so far. The last may be half a line: the plugin writes while this reads.
func (l *ledgerFile) lines() []ledgerLine {
	text, err := os.ReadFile(l.path)
	if err != nil {
		return nil // there is none yet
	}
	end := strings.LastIndexByte(string(text), '\n') + 1
	for line := range strings.Lines(string(text[l.seen:end])) {
		var n ledgerLine
		if _, err := fmt.Sscan(line, &n.what, &n.pid, &n.host, &n.event); err != nil {
			panic(fmt.Sprintf("the line %q: %v", line, err))
		}
		l.all = append(l.all, n)
	}
	l.seen = end
	return l.all
}

// running is the process that was started last.
func (l *ledgerFile) running() (pid int) {
	for _, n := range l.lines() {
		if n.what == "start" {
			pid = n.pid
		}
	}
	return pid
}

func (l *ledgerFile) handledBy(pid int) (n int) {
	for _, line := range l.lines() {
		if line.what == "end" && line.pid == pid {
			n++
		}
	}
	return n
}

func (l *ledgerFile) count(what string) (n int) {
	for _, line := range l.lines() {
		if line.what == what {
			n++
		}
	}
	return n
}

// lonely is in how many processes that were killed the event was the only one that had begun and not ended.
func (l *ledgerFile) lonely(event string) (n int) {
	open := map[int]map[string]bool{}
	for _, line := range l.lines() {
		switch line.what {
		case "start":
			open[line.pid] = map[string]bool{}
		case "begin":
			open[line.pid][line.event] = true
		case "end":
			delete(open[line.pid], line.event)
		}
	}
	for _, left := range open {
		if len(left) == 1 && left[event] {
			n++
		}
	}
	return n
}

// orderly sends the events of each record one after another.
type orderly struct {
	*pressure
	records [][]string // ids that were acknowledged, in their order
}

func (s *orderly) press(t *testing.T, p *project, perSecond int) (stop func()) {
	t.Helper()
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 256}}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for record := range s.records {
		wg.Go(func() {
			tick := time.NewTicker(time.Second * killedRecords / time.Duration(perSecond))
			defer tick.Stop()
			for ctx.Err() == nil {
				if id := s.send(p, client, sampleOf(t, record), nil); id != "" {
					s.records[record] = append(s.records[record], id)
				}
				select {
				case <-tick.C:
				case <-ctx.Done():
				}
			}
		})
	}
	return func() {
		cancel()
		wg.Wait()
		client.CloseIdleConnections()
	}
}

// check holds what the plugin did against what was sent: every event was handled, and none before the
// one before it of its record.
func (s *orderly) check(t *testing.T, p *project, l *ledgerFile) {
	t.Helper()
	guilty := map[string]bool{}
	for _, ev := range p.events(t) {
		for _, d := range ev.Deliveries {
			switch {
			case d.State == core.Quarantined && l.lonely(ev.ID) >= 3: // it was hit alone each time, and nobody can know better
				guilty[ev.ID] = true
			case d.State != core.Done:
				t.Errorf("event %s is %s: %+v", ev.ID, d.State, d)
			}
		}
	}
	began, ended := map[string]int{}, map[string]int{}
	for i, line := range l.lines() {
		into := map[string]map[string]int{"begin": began, "end": ended}[line.what]
		if _, again := into[line.event]; into != nil && !again {
			into[line.event] = i
		}
	}
	for record, ids := range s.records {
		for i, id := range ids {
			if _, ok := ended[id]; !ok && !guilty[id] {
				t.Errorf("event %s of record %d was not handled", id, record)
			}
			if i > 0 && began[id] < ended[ids[i-1]] {
				t.Errorf("event %s of record %d began before %s had ended", id, record, ids[i-1])
			}
		}
		if sorted := slices.IsSortedFunc(ids, func(a, b string) int { return began[a] - began[b] }); !sorted {
			t.Errorf("record %d was handled in another order", record)
		}
	}
}

// A plugin does not outlive its host, and a host's plugin begins after that of the one before it has ended.
func TestAHostThatIsKilledUnderLoadLeavesNoPluginBehind(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("who lives is read from /proc")
	}
	bin := buildBinary(t)
	p, l := ledgerProject(t, testdb.SQLite(t))
	s := &orderly{pressure: &pressure{ids: map[string]bool{}, refused: map[int]int{}}, records: make([][]string, killedRecords)}
	last := 0
	for range 3 {
		pr := launch(t, p, exec.Command(bin, "serve", "--config", p.config))
		stop := s.press(t, p, 300)
		eventually(t, "its plugin handles events", func() bool { return l.running() != last && l.handledBy(l.running()) > 50 })
		last = l.running()
		if err := pr.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		killed := time.Now()
		eventually(t, "the plugin is gone", func() bool { return !lives(last) })
		if took := time.Since(killed); took > time.Second {
			t.Errorf("it lived for %s", took)
		}
		<-pr.exit
		stop()
	}
	pr := launch(t, p, exec.Command(bin, "serve", "--config", p.config))
	s.check(t, p, l)
	pr.signal(t, pr.cmd.Process.Pid, syscall.SIGTERM)
	<-pr.exit
	now := ledgerLine{}
	for _, line := range l.lines() {
		if line.what == "start" {
			now = line
		}
		if line.pid != now.pid || line.host != now.host {
			t.Errorf("process %d of host %d said %s %s when process %d of host %d had begun", line.pid, line.host, line.what, line.event, now.pid, now.host)
		}
	}
}

// lives reports whether a process runs. One that has ended and was not waited for does not.
func lives(pid int) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(status), ") Z ")
}
