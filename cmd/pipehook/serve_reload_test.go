package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pipehook/pipehook/cmd/pipehook/internal/program"
	"github.com/pipehook/pipehook/core/coretest/testdb"
)

// replace puts another configuration in the place of the one there is, at once, as editors do.
func (p *project) replace(t testing.TB, text string) {
	t.Helper()
	p.write(t, "pipeline.toml.new", text)
	if err := os.Rename(p.config+".new", p.config); err != nil {
		t.Fatal(err)
	}
}

func (p *project) metric(t *testing.T, series string) string {
	t.Helper()
	m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(series) + ` (.*)$`).FindStringSubmatch(p.metrics(t))
	if m == nil {
		t.Fatalf("there is no %s", series)
	}
	return m[1]
}

// metrics is all that /metrics shows.
func (p *project) metrics(t *testing.T) string {
	t.Helper()
	resp, err := http.Get("http://" + p.admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// credentials are those that the sender uses at the moment. They change when no request is on its
// way with those before.
type credentials struct {
	mu       sync.RWMutex
	password string
}

func (c *credentials) use(r *http.Request) (done func()) {
	c.mu.RLock()
	r.SetBasicAuth("hook", c.password)
	return c.mu.RUnlock
}

func (c *credentials) change(password string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.password = password
}

func TestAPasswordIsChangedUnderLoad(t *testing.T) {
	bin := buildBinary(t)
	const first = `basic = { username = "hook", password = "password 0" }`
	p := newProject(t, testdb.SQLite(t), fullChain, map[string]string{"authenticate": first})
	pr := launch(t, p, exec.Command(bin, "serve", "--config", p.config))
	before := readFile(t, p.config)
	c := &credentials{password: "password 0"}
	l, stop := p.press(t, 500, c.use)
	const rounds = 50
	for n := range rounds {
		next := fmt.Sprintf("password %d", n+1)
		p.replace(t, strings.Replace(before, first, fmt.Sprintf(
			`basic = { username = "hook", password = %q, previous_password = "password %d" }`, next, n), 1))
		if n%10 != 0 { // now and then the saved file must be enough
			pr.signal(t, pr.cmd.Process.Pid, syscall.SIGHUP)
		}
		eventually(t, "the next password is good", func() bool {
			return p.post(t, sampleBody(t), func(r *http.Request) { r.SetBasicAuth("hook", next) }).status == http.StatusOK
		})
		l.more(t, 20)
		c.change(next)
		l.more(t, 20)
	}
	stop()
	if got := p.metric(t, `pipehook_config_reloads_total{result="failure"}`); got != "0" {
		t.Errorf("%s reloads failed", got)
	}
	t.Logf("%d reloads (%s taken): %d events acknowledged, the slowest answer took %s", rounds,
		p.metric(t, `pipehook_config_reloads_total{result="success"}`), l.acked.Load(), l.slowest)
	l.flawless(t, p)
	pr.stop(t, p, pr.cmd.Process.Pid)
}

// A configuration that was damaged is refused with its place, or is a valid one; either way no
// request is without an answer.
func TestADamagedConfigurationUnderLoadDropsNothing(t *testing.T) {
	bin := buildBinary(t)
	p := newProject(t, testdb.SQLite(t), fullChain, nil)
	p.write(t, "scripts/count.js", `export default (event) => { event.current.title }`)
	good := readFile(t, p.config) + "[[listener]]\nname = \"count\"\nmatch = [\"updated.deal\", \"*.person\"]\nscript = \"scripts/count.js\"\ntimeout = \"5s\"\nretry = { attempts = 3, first = \"2s\" }\n"
	p.replace(t, good)
	cmd := exec.Command(bin, "serve", "--config", p.config)
	// These may not be where the damage says, or there would be nobody to send to.
	cmd.Env = append(os.Environ(), "PIPEHOOK_SERVER__LISTEN="+p.hooks, "PIPEHOOK_ADMIN__LISTEN="+p.admin)
	pr := launch(t, p, cmd)
	l, stop := p.press(t, 200, nil)
	const refused, taken = "the configuration was not reloaded", "configuration reloaded"
	rng := rand.New(rand.NewPCG(7, 7))
	for round := range 200 {
		before := len(pr.said(t, refused)) + len(pr.said(t, taken))
		p.replace(t, damage(rng, good))
		pr.signal(t, pr.cmd.Process.Pid, syscall.SIGHUP)
		eventually(t, fmt.Sprintf("damage %d is judged", round), func() bool {
			return len(pr.said(t, refused))+len(pr.said(t, taken)) > before
		})
	}
	for _, line := range pr.said(t, refused) {
		if line.Level != "ERROR" || line.File != p.config || line.Line == 0 {
			t.Errorf("a mistake without its place: %+v", line)
		}
	}
	if len(pr.said(t, refused)) == 0 || len(pr.said(t, taken)) == 0 {
		t.Error("only one kind of damage was tried")
	}
	t.Logf("%d mistakes, %d valid configurations", len(pr.said(t, refused)), len(pr.said(t, taken)))
	p.replace(t, good)
	pr.signal(t, pr.cmd.Process.Pid, syscall.SIGHUP)
	eventually(t, "the good one is back", func() bool {
		return p.metric(t, "pipehook_config_last_reload_success") == "1" && p.post(t, sampleBody(t)).status == http.StatusOK
	})
	stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	for status, n := range l.refused {
		if status >= 500 { // not so another path or password, which damage may be
			t.Errorf("%d requests were answered %d", n, status)
		}
	}
	if len(l.dropped) > 0 {
		t.Errorf("%d requests had no answer; the first: %s", len(l.dropped), l.dropped[0])
	}
	t.Logf("%d events acknowledged, other answers %v", l.acked.Load(), l.refused)
	pr.stop(t, p, pr.cmd.Process.Pid)
}

func damage(rng *rand.Rand, text string) string {
	b := []byte(text)
	if rng.IntN(4) == 0 {
		return text[:rng.IntN(len(text))]
	}
	for range 1 + rng.IntN(3) {
		b[rng.IntN(len(b))] ^= 1 << rng.IntN(8)
	}
	return string(b)
}

func TestEverythingButTheStoreIsReloaded(t *testing.T) {
	bin := buildBinary(t)
	logFile := filepath.Join(t.TempDir(), "second.log")
	p := newProject(t, testdb.SQLite(t), fullChain, nil)
	p.write(t, "scripts/one.js", `export default (event, ctx) => ctx.log.info("one heard it")`)
	p.write(t, "others/two.js", `export default (event, ctx) => ctx.log.info("two heard it")`)
	pr := launch(t, p, exec.Command(bin, "serve", "--config", p.config))
	pid := pr.cmd.Process.Pid
	before := readFile(t, p.config)
	p.post(t, sampleBody(t))
	pr.says(t, "one heard it", 1)

	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = busy.Close() }()
	after := strings.NewReplacer(
		fmt.Sprintf("[server]\nlisten = %q", p.hooks), fmt.Sprintf("[server]\nlisten = %q\nmax_body = \"100B\"\nack_within = \"3s\"\nshutdown_grace = \"1s\"", busy.Addr()),
		fmt.Sprintf("[admin]\nlisten = %q", p.admin), "[admin]\nlisten = \"127.0.0.1:0\"\ntoken = \"token\"\n[scripts]\ndir = \"others\"\n[log]\nlevel = \"debug\"\nfile = \""+logFile+"\"\n",
		`path = "/hook"`, `path = "/other"`).Replace(before)

	p.replace(t, after)
	pr.signal(t, pid, syscall.SIGHUP)
	if line := pr.says(t, "the configuration was not reloaded", 1); line.Key != "server.listen" || line.Line != 2 || !strings.Contains(line.Err, "address already in use") {
		t.Errorf("a port in use: %+v", line)
	}
	if got := p.metric(t, "pipehook_config_last_reload_success"); got != "0" {
		t.Errorf("the last reload is counted as %s", got)
	}
	if r := p.post(t, sampleBody(t)); r.status != http.StatusOK {
		t.Errorf("after a reload that was refused: %+v", r)
	}

	p.replace(t, strings.Replace(before, p.storeURL, "sqlite:another.db", 1))
	pr.signal(t, pid, syscall.SIGHUP)
	if line := pr.says(t, "the configuration was not reloaded", 2); line.Key != "store.url" || line.Line == 0 || !strings.Contains(line.Hint, "kill -USR2") {
		t.Errorf("another store: %+v", line)
	}

	hooks, admin := p.hooks, p.admin
	p.hooks = program.FreeAddress()
	p.admin = program.FreeAddress()
	p.replace(t, strings.NewReplacer(busy.Addr().String(), p.hooks, "127.0.0.1:0", p.admin).Replace(after))
	pr.signal(t, pid, syscall.SIGHUP)
	pr.says(t, "configuration reloaded", 1)
	ask := func(path, body string) int {
		resp, err := http.Post("http://"+p.hooks+path, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	if got := ask("/hook", "{}"); got != http.StatusNotFound {
		t.Errorf("the path before answers %d", got)
	}
	if got := ask("/other", "{}"); got != http.StatusUnauthorized {
		t.Errorf("the new path answers %d", got)
	}
	if got := ask("/other", strings.Repeat(" ", 101)); got != http.StatusRequestEntityTooLarge {
		t.Errorf("a body above the new limit: %d", got)
	}
	resp, err := http.Get("http://" + p.admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("without the new token: %d", resp.StatusCode)
	}
	for _, address := range []string{hooks, admin} {
		eventually(t, "nobody listens at "+address, func() bool {
			conn, err := net.Dial("tcp", address)
			if err == nil {
				_ = conn.Close()
			}
			return err != nil
		})
	}
	eventually(t, "the new log file has lines of level debug", func() bool {
		text, err := os.ReadFile(logFile)
		return err == nil && strings.Contains(string(text), `"DEBUG"`)
	})
	if left := pr.said(t, "listener removed"); len(left) != 1 {
		t.Errorf("listeners that were removed: %+v", left)
	}
	p.write(t, "others/three.js", `export default (event, ctx) => {}`)
	eventually(t, "the new folder is watched", func() bool { return strings.Contains(pr.text(t), "three.js") })
	pr.stop(t, p, pid)
}

func TestHalfAFileIsNotTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "pipeline.toml")
		var text string
		grow := func() {
			text += "[server]\n"
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		grow()
		var taken atomic.Int64
		var last atomic.Value
		k := &keeper{path: path, taken: stamp(path), instead: func() {
			taken.Add(1)
			last.Store(readFile(t, path))
		}}
		go func() { _ = k.Run(t.Context()) }()
		for range 20 {
			time.Sleep(look - 10*time.Millisecond)
			grow()
		}
		synctest.Wait()
		if n := taken.Load(); n != 0 {
			t.Errorf("%d halves were taken", n)
		}
		time.Sleep(2 * look)
		synctest.Wait()
		if n := taken.Load(); n != 1 || last.Load() != text {
			t.Errorf("the whole was taken %d times: %q", n, last.Load())
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := taken.Load(); n != 1 {
			t.Errorf("what did not change was taken %d times", n)
		}
	})
}

func TestAPortThatPipehookItselfHoldsTakesAPlainRestart(t *testing.T) {
	bin := buildBinary(t)
	p := newProject(t, testdb.SQLite(t), fullChain, nil)
	pr := launch(t, p, exec.Command(bin, "serve", "--config", p.config))
	good := readFile(t, p.config)
	_, port, err := net.SplitHostPort(p.hooks)
	if err != nil {
		t.Fatal(err)
	}
	swapped := strings.NewReplacer(p.hooks, p.admin, p.admin, p.hooks).Replace(good)
	for n, wrong := range []string{strings.Replace(good, p.hooks, ":"+port, 1), swapped} {
		p.replace(t, wrong)
		l := pr.says(t, "the configuration was not reloaded", n+1)
		if l.Key != "server.listen" || !strings.Contains(l.Err, "pipehook itself holds the port") || !strings.Contains(l.Hint, "start it again") {
			t.Errorf("it says %+v", l)
		}
		pr.signal(t, pr.cmd.Process.Pid, syscall.SIGUSR2)
		pr.says(t, "the successor did not start", n+1)
		if text := pr.text(t); strings.Count(text, "pipehook: error: server.listen: can't be opened while pipehook itself holds the port") != n+1 || strings.Contains(text, "stop what listens there") {
			t.Errorf("the successor does not say why")
		}
	}
	pr.stop(t, p, pr.cmd.Process.Pid)
}

func TestAReloadTellsWhatWaitsForARemovedListener(t *testing.T) {
	p := newProject(t, testdb.SQLite(t), fullChain, map[string]string{"": moodyListener})
	p.write(t, "moody.js", `export default () => { throw new Error("not today") }`)
	pr := launch(t, p, exec.Command(buildBinary(t), "serve", "--config", p.config))
	id := p.post(t, sampleBody(t)).ID
	eventually(t, "it failed once", func() bool {
		_, out, _ := command(t, "events", "show", id, "--json", "--config", p.config)
		return strings.Contains(out, `"attempts": 1,`)
	})
	p.replace(t, strings.Replace(readFile(t, p.config), moodyListener, "", 1))
	pr.says(t, "deliveries wait for a listener that does not exist", 1)
	pr.stop(t, p, pr.cmd.Process.Pid)
}
