package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pipehook/pipehook/cmd/pipehook/internal/program"
)

// secondProcess is F11: processes that start on a file that another one holds end at once, say who
// holds it, and disturb nobody; when that one is killed the next may have it.
func secondProcess(ctx context.Context, r *round) error {
	p, err := r.newProject()
	if err != nil {
		return err
	}
	other, err := r.newProject()
	if err != nil {
		return err
	}
	v, err := r.start(ctx, p, r.readyWithin())
	if err != nil {
		return err
	}
	r.load.begin(ctx, p)
	times := max(3, r.kills/20)
	for range times {
		out, err := exec.CommandContext(ctx, r.bin, "serve", "--config", other.config).CombinedOutput()
		if err == nil {
			r.fail("I6", "a second process served the same file")
		}
		if !strings.Contains(string(out), fmt.Sprintf("pid %d", v.cmd.Process.Pid)) {
			r.fail("I5", "a second process does not name the first, %d: %s", v.cmd.Process.Pid, out)
		}
		if err := r.load.more(ctx, 5, 10*time.Second); err != nil {
			return err
		}
		if r.rng.IntN(3) == 0 {
			v.kill()
			if v, err = r.start(ctx, p, r.readyWithin()); err != nil {
				return err
			}
		}
	}
	r.count("%d refused", times)
	return r.end(ctx, v)
}

// clientsThatGo is F35. What is cut short is answered 400 where somebody still listens, and is never
// stored; what was whole is stored once, however often it is sent, whether its client waited or not.
func clientsThatGo(ctx context.Context, r *round) error {
	p, err := r.newProject()
	if err != nil {
		return err
	}
	v, err := r.start(ctx, p, r.readyWithin())
	if err != nil {
		return err
	}
	r.rules.statuses[400] = true
	r.load.begin(ctx, p)
	if err := r.load.more(ctx, 20, 10*time.Second); err != nil {
		return err
	}
	base, err := v.base(ctx)
	if err != nil {
		return err
	}
	b := &bodies{rng: r.rng, now: time.Now().Add(-time.Hour)} // not the times of the other senders
	silent := make([]net.Conn, 50)
	for i := range silent {
		if silent[i], err = net.Dial("tcp", p.address); err != nil {
			return err
		}
		if i%2 == 0 {
			if _, err := fmt.Fprintf(silent[i], "POST %s HTTP/1.1\r\nHost: x\r\n", hookPath); err != nil {
				return err
			}
		}
	}
	times := max(20, r.kills)
	for n := range times {
		if err := r.goAway(ctx, p, b, n%5); err != nil {
			return err
		}
	}
	for _, conn := range silent {
		_ = conn.Close() // pipehook may have done so
	}
	if err := r.settled(ctx, v, base); err != nil {
		return err
	}
	r.count("%d clients gone", times)
	return r.end(ctx, v)
}

// goAway is one client of a kind.
func (r *round) goAway(ctx context.Context, p *project, b *bodies, kind int) error {
	e := b.make(90, 0)
	conn, err := net.Dial("tcp", p.address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	request := raw(e.body, kind == 1)
	cut := len(request) - 1 - r.rng.IntN(len(e.body)-1)
	switch kind {
	case 0, 1: // half a body, known length or chunks; the client still listens
		if _, err := conn.Write(request[:cut]); err != nil {
			return err
		}
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			return err
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			r.fail("I5", "half a body was not answered: %v", err)
			return nil
		}
		text, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != http.StatusBadRequest || !bytes.Contains(text, []byte(`"malformed"`)) {
			r.fail("I5", "half a body was answered %d %s", resp.StatusCode, text)
		}
		return nil
	case 2: // half a body, and a reset
		if _, err := conn.Write(request[:cut]); err != nil {
			return err
		}
		return conn.(*net.TCPConn).SetLinger(0)
	}
	// A whole body; the client does not wait for the answer, or resets the connection.
	if kind == 4 {
		if err := conn.(*net.TCPConn).SetLinger(0); err != nil {
			return err
		}
	}
	if _, err := conn.Write(request); err != nil {
		return err
	}
	if err := pause(ctx, r.between(0, 3*time.Millisecond)); err != nil {
		return err
	}
	_ = conn.Close()
	e.copies = true
	r.load.add(e)
	for try := 0; !r.load.send(ctx, e, p); try++ {
		if try == 100 {
			return fmt.Errorf("an event that was sent before is not accepted")
		}
	}
	return nil
}

// raw is a request as bytes.
func raw(body []byte, chunked bool) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "POST %s HTTP/1.1\r\nHost: torture\r\nContent-Type: application/json\r\nAuthorization: Basic %s\r\n",
		hookPath, base64.StdEncoding.EncodeToString([]byte(username+":"+password)))
	if !chunked {
		fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(body), body)
		return b.Bytes()
	}
	fmt.Fprintf(&b, "Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(body), body)
	return b.Bytes()
}

// base is what a process has open that has just begun: once each script has its process, or most
// likely never will.
func (v *victim) base(ctx context.Context) (map[string]float64, error) {
	scripts := 0
	for _, name := range v.project.listeners {
		if _, plugin := v.project.plugins[name]; !plugin && v.project.isolation == "process" {
			scripts++
		}
	}
	for began := time.Now(); v.children() < scripts && time.Since(began) < 5*time.Second; {
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return nil, err
		}
	}
	return program.Metrics(v.project.admin)
}

// children is how many processes it has started that are there.
func (v *victim) children() (n int) {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", v.cmd.Process.Pid)) // the pattern is good
	for _, list := range lists {
		text, _ := os.ReadFile(list) // a thread may have ended
		n += len(strings.Fields(string(text)))
	}
	return n
}

// settled is the half of I8 that is about a process that goes on: what a row made it open is closed.
func (r *round) settled(ctx context.Context, v *victim, base map[string]float64) error {
	const goroutines, descriptors = "go_goroutines", "process_open_fds"
	r.load.finish(20 * time.Second)
	var now map[string]float64
	var err error
	for began := time.Now(); time.Since(began) < 12*time.Second; {
		if now, err = program.Metrics(v.project.admin); err != nil {
			return err
		}
		if now[goroutines] <= base[goroutines]+5 && now[descriptors] <= base[descriptors]+3 {
			return nil
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	r.fail("I8", "there are %.0f goroutines and %.0f descriptors, there were %.0f and %.0f", now[goroutines], now[descriptors], base[goroutines], base[descriptors])
	return nil
}

// copyStorm is F32: the same event over many connections at once, to all processes there are, while
// one of them is killed; then another body under the same id.
func copyStorm(ctx context.Context, r *round) error {
	copies, connections := 10_000, 200
	if r.short {
		copies, connections = 1000, 50
	}
	processes := 1
	if r.store == postgres {
		processes = 2
	}
	victims, projects := make([]*victim, processes), make([]*project, processes)
	for i := range victims {
		var err error
		if projects[i], err = r.newProject(); err != nil {
			return err
		}
		if victims[i], err = r.start(ctx, projects[i], r.readyWithin()); err != nil {
			return err
		}
	}
	b := &bodies{rng: r.rng, now: time.Now()}
	e := b.make(90, 0)
	e.copies = true
	r.load.add(e)
	var sent atomic.Int64
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(ctx)
	defer wg.Wait()
	defer cancel() // for those that are left when the row ends early
	for i := range connections {
		wg.Go(func() {
			for sent.Add(1) <= int64(copies) {
				for !r.load.send(ctx, e, projects[i%processes]) { // who serves there changes meanwhile
					if pause(ctx, 5*time.Millisecond) != nil {
						return
					}
				}
			}
		})
	}
	for sent.Load() < int64(copies/2) && ctx.Err() == nil {
		if err := pause(ctx, time.Millisecond); err != nil {
			return err
		}
	}
	victims[0].kill()
	again, err := r.start(ctx, projects[0], r.readyWithin())
	if err != nil {
		return err
	}
	victims[0] = again
	wg.Wait()
	other := bytes.Replace(e.body, []byte(`"stage_id":`), []byte(`"stage_id":1`), 1)
	if sha256.Sum256(other) == e.sum {
		return fmt.Errorf("the other body is the same")
	}
	if a, err := r.load.post(ctx, other, again.project); err != nil || !r.spooled() && (a.Status != "duplicate" || a.ID != e.id) {
		r.fail("I3", "another body under the same id was answered %s (%v)", a.text, err)
	}
	if n := r.load.accepted(); n > 1 && !r.spooled() {
		r.fail("I3", "%d copies were answered as the first", n)
	}
	r.count("%d copies over %d connections to %d processes", copies, connections, processes)
	return r.end(ctx, victims...)
}
