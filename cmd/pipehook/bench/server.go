package main

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pipehook/pipehook/cmd/pipehook/internal/program"
)

const (
	steadyRate = 1000
	handler    = `export const match = ["updated.deal"];
export default function (event) {
  if (event.changed("stage_id")) { event.current.title; event.current.value; }
}
`
)

type bench struct {
	options
	dir, bin string
	results  map[string][]result
	serial   int
	profiles int
	api      string // that engines ask, when it is not empty
}

// serveBare is contestant (a).
func serveBare() {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(ln.Addr())
	_ = http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			w.Header()["Content-Length"] = []string{"0"}
		}
	}))
}

// process is a contestant that runs.
type process struct {
	cmd            *exec.Cmd
	address, admin string
}

func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	_ = p.cmd.Wait()
}

// cpu is what the process has used so far.
func (p *process) cpu() time.Duration { return cpuOf(p.cmd.Process.Pid) }

func cpuOf(pid int) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond // ticks of 100 Hz
}

func (p *process) peakRSS() int64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kb << 10
		}
	}
	return 0
}

func (b *bench) bareRound(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, self, "bare")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	p := &process{cmd: cmd}
	defer p.stop()
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return err
	}
	p.address = strings.TrimSpace(address)
	r, _, err := b.measure(ctx, p)
	b.results["bare"] = append(b.results["bare"], r)
	return err
}

func (b *bench) measure(ctx context.Context, p *process) (result, int, error) {
	before := p.cpu()
	l, err := closedLoop(ctx, p.address, b.connections, b.duration)
	if err != nil {
		return result{}, 0, err
	}
	r := summary(l)
	r.cpu = (p.cpu() - before) / time.Duration(max(1, len(l.latencies)))
	r.rss = p.peakRSS()
	return r, len(l.latencies), nil
}

func summary(l load) result {
	slices.Sort(l.latencies)
	return result{rate: float64(len(l.latencies)) / l.elapsed.Seconds(), p50: percentile(l.latencies, .50), p99: percentile(l.latencies, .99)}
}

// saturate is one round of one store; it fails when not everything that was accepted was handled.
func (b *bench) saturate(ctx context.Context, store string) error {
	p, db, err := b.start(ctx, store)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	defer p.stop()
	r, accepted, err := b.measure(ctx, p)
	if err != nil {
		return err
	}
	b.results[store] = append(b.results[store], r)
	return allHandled(ctx, db, accepted)
}

// steady measures latencies and memory at a rate that leaves the machine room.
func (b *bench) steady(ctx context.Context, store string) error {
	p, db, err := b.start(ctx, store)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	defer p.stop()
	if _, err := openLoop(ctx, p.address, b.connections, steadyRate, time.Second); err != nil { // warm up
		return err
	}
	before, err := program.Metrics(p.admin)
	if err != nil {
		return err
	}
	l, err := openLoop(ctx, p.address, b.connections, steadyRate, b.duration)
	if err != nil {
		return err
	}
	after, err := program.Metrics(p.admin)
	if err != nil {
		return err
	}
	if err := allHandled(ctx, db, len(l.latencies)+steadyRate); err != nil {
		return err
	}
	r := summary(l)
	events := float64(len(l.latencies))
	r.bytes = (after["go_memstats_alloc_bytes_total"] - before["go_memstats_alloc_bytes_total"]) / events
	r.allocs = (after["go_memstats_mallocs_total"] - before["go_memstats_mallocs_total"]) / events
	r.heap = int64(after["go_memstats_heap_inuse_bytes"])
	r.rss = p.peakRSS()
	r.handledP50, r.handledP99, err = handledLatency(ctx, db, l.sent)
	b.results["steady "+store] = []result{r}
	return err
}

func (b *bench) start(ctx context.Context, store string) (*process, *sql.DB, error) {
	b.serial++
	dir := filepath.Join(b.dir, fmt.Sprint(b.serial))
	if err := os.MkdirAll(filepath.Join(dir, "scripts"), 0o755); err != nil {
		return nil, nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "scripts", "count.js"), []byte(handler), 0o644); err != nil {
		return nil, nil, err
	}
	storeURL, db, err := b.database(dir, store)
	if err != nil {
		return nil, nil, err
	}
	p := &process{address: program.FreeAddress(), admin: program.FreeAddress()}
	conf := fmt.Sprintf(`[server]
listen = %q
[store]
url = %q
[admin]
listen = %q
[log]
level = "warn"
[[pipeline]]
name = "pipedrive"
path = %q
source = "pipedrive"
  [[pipeline.stage]]
  use = "authenticate"
  basic = { username = %q, password = %q }
  [[pipeline.stage]]
  use = "validate"
  [[pipeline.stage]]
  use = "dedupe"
  [[pipeline.stage]]
  use = "persist"
  [[pipeline.stage]]
  use = "dispatch"
`, p.address, storeURL, p.admin, hookPath, username, password)
	path := filepath.Join(dir, "pipeline.toml")
	if err := os.WriteFile(path, []byte(conf), 0o600); err != nil {
		return nil, nil, err
	}
	p.cmd = exec.CommandContext(ctx, b.bin, "serve", "--config", path)
	p.cmd.Stderr = os.Stderr
	if b.profile != "" {
		p.cmd.Args = append(p.cmd.Args, "--cpu-profile", fmt.Sprintf("%s-%s-%d", b.profile, store, b.serial))
	}
	if err := p.cmd.Start(); err != nil {
		return nil, nil, err
	}
	return p, db, program.Ready(ctx, p.admin, 20*time.Second)
}

func (b *bench) database(dir, store string) (string, *sql.DB, error) {
	if store == "sqlite" {
		storeURL := "sqlite:" + filepath.Join(dir, "bench.db")
		db, err := program.Open(storeURL)
		return storeURL, db, err
	}
	storeURL, err := program.Database(context.Background(), b.postgres) // which goes with its server
	if err != nil {
		return "", nil, err
	}
	db, err := program.Open(storeURL)
	return storeURL, db, err
}

// allHandled waits until as many deliveries are done as events were accepted.
func allHandled(ctx context.Context, db *sql.DB, accepted int) error {
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	var events, done int
	for ctx.Err() == nil {
		if err := db.QueryRowContext(ctx, "SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM deliveries WHERE state = 1)").Scan(&events, &done); err != nil {
			return err
		}
		if done >= accepted {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if events != accepted || done != accepted {
		return fmt.Errorf("FAIL: %d were accepted, %d are stored, %d are handled", accepted, events, done)
	}
	return nil
}

func handledLatency(ctx context.Context, db *sql.DB, sent map[string]time.Time) (p50, p99 time.Duration, err error) {
	rows, err := db.QueryContext(ctx, "SELECT e.id, d.finished_at FROM events e JOIN deliveries d ON d.event_seq = e.seq")
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = rows.Close() }()
	var latencies []time.Duration
	for rows.Next() {
		var id string
		var finished int64
		if err := rows.Scan(&id, &finished); err != nil {
			return 0, 0, err
		}
		if at, ok := sent[id]; ok {
			latencies = append(latencies, time.UnixMicro(finished).Sub(at))
		}
	}
	slices.Sort(latencies)
	return percentile(latencies, .50), percentile(latencies, .99), rows.Err()
}
