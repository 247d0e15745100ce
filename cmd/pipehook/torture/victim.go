package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pipehook/pipehook/cmd/pipehook/internal/program"
	"github.com/pipehook/pipehook/core/failpoint"
)

// victim is one process of pipehook from its start to its end.
type victim struct {
	project *project
	number  int // among the round's
	cmd     *exec.Cmd
	exit    chan struct{} // closed when it has ended and all it said is read

	mu     sync.Mutex
	died   time.Time // zero while it lives
	clean  bool      // it ended with exit code 0
	by     syscall.Signal
	frozen [][2]time.Time
	said   []said
}

// said is a line of the log, but for what listeners bring about.
type said struct {
	Level, Msg, Err, File, Key string
	Line                       int
	Pending                    int64
}

// runs are what the listeners did, as they said it.
type runs struct {
	mu    sync.Mutex
	lines []runLine
}

type runLine struct {
	at              time.Time
	victim          int
	kind            byte // '>' begin, '<' end, '!' fail, '*' stands for another; '+' is the end of a process or of its turn
	listener, event string
	other           string // for which it stands
}

var kinds = map[string]byte{lineBegin: '>', lineEnd: '<', lineFail: '!'}

// launch starts a process. A failpoint, such as claim:3, may be set.
func (r *round) launch(ctx context.Context, p *project, point string) (*victim, error) {
	return r.launchCommand(p, exec.CommandContext(ctx, r.bin, "serve", "--config", p.config), point)
}

func (r *round) launchCommand(p *project, cmd *exec.Cmd, point string) (*victim, error) {
	v := &victim{project: p, number: len(r.victims), exit: make(chan struct{}), cmd: cmd}
	cmd.Env = append(append(os.Environ(), "TMPDIR="+p.dir+"/tmp"), p.environ...)
	if point != "" {
		cmd.Env = append(cmd.Env, failpoint.Env+"="+point)
	}
	log, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	r.mu.Lock()
	r.victims = append(r.victims, v)
	r.mu.Unlock()
	go func() { // ends with the process
		v.read(bufio.NewReaderSize(log, 64<<10), &r.runs)
		err := cmd.Wait()
		v.mu.Lock()
		v.died = time.Now()
		v.clean = err == nil
		if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			v.by = status.Signal()
		}
		v.mu.Unlock()
		close(v.exit)
	}()
	return v, nil
}

// start launches a process and waits until it is ready, which may take no longer than within.
func (r *round) start(ctx context.Context, p *project, within time.Duration) (*victim, error) {
	v, err := r.launch(ctx, p, "")
	if err != nil {
		return nil, err
	}
	return v, r.await(ctx, v, within)
}

func (r *round) await(ctx context.Context, v *victim, within time.Duration) error {
	began := time.Now()
	if err := program.Ready(ctx, v.project.admin, max(20*time.Second, within)); err != nil {
		return fmt.Errorf("%w; it said: %v", err, v.sayings())
	}
	if took := time.Since(began); took > within {
		r.fail("I7", "it was ready after %s, not within %s", took.Round(time.Millisecond), within)
	}
	if r.schema == 0 {
		return r.noteSchema(ctx)
	}
	return nil
}

// read keeps what matters of the log.
func (v *victim) read(log *bufio.Reader, into *runs) {
	for {
		line, err := log.ReadBytes('\n')
		if bytes.Contains(line, []byte(`"msg":"torture `)) {
			var l struct {
				Time                 time.Time
				Msg, Listener, Event string
			}
			if json.Unmarshal(line, &l) == nil {
				into.add(runLine{at: l.Time, victim: v.number, listener: l.Listener, event: l.Event}, l.Msg)
			}
		} else if len(line) > 0 && !bytes.Contains(line, []byte(`"msg":"attempt failed"`)) && !bytes.Contains(line, []byte(`"msg":"delivery given up"`)) {
			var s said
			if json.Unmarshal(line, &s) != nil {
				s.Level, s.Msg = "RAW", strings.TrimSpace(string(line))
			}
			v.mu.Lock()
			v.said = append(v.said, s)
			v.mu.Unlock()
		}
		if err != nil {
			return
		}
	}
}

// add notes what a script said.
func (r *runs) add(line runLine, msg string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if ids, ok := strings.CutPrefix(msg, lineGathered); ok {
		line.kind = '*'
		for id := range strings.FieldsSeq(ids) {
			line.other = id
			r.lines = append(r.lines, line)
		}
	} else if line.kind = kinds[msg]; line.kind != 0 {
		r.lines = append(r.lines, line)
	}
}

// said are all lines so far.
func (r *runs) said() []runLine {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.lines)
}

// sayings are the last lines of its log that are no one's runs.
func (v *victim) sayings() []said {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.said[max(0, len(v.said)-5):]
}

// alive reports whether it runs.
func (v *victim) alive() bool {
	select {
	case <-v.exit:
		return false
	default:
		return true
	}
}

// kill is kill -9, and returns when it has ended.
func (v *victim) kill() {
	if v.cmd != nil { // else it is none of ours, and was only seen
		_ = v.cmd.Process.Kill() // it may be gone
	}
	<-v.exit
}

func (v *victim) signal(s syscall.Signal) error { return v.cmd.Process.Signal(s) }

var errStuck = errors.New("it did not end in time")

// ended waits until it has ended by itself.
func (v *victim) ended(ctx context.Context, within time.Duration) error {
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-v.exit:
		return nil
	case <-timer.C:
		return errStuck
	case <-ctx.Done():
		return ctx.Err()
	}
}

// stop asks it to end, which it must do with exit code 0 within its grace period.
func (r *round) stop(ctx context.Context, v *victim) error {
	if err := v.signal(syscall.SIGTERM); err != nil {
		return err
	}
	if err := v.ended(ctx, 12*time.Second); err != nil {
		r.fail("I7", "a stop took longer than 12s")
		v.kill()
		return err
	}
	if code := v.cmd.ProcessState.ExitCode(); code != 0 {
		r.fail("I5", "a stop ended with exit code %d; it said: %v", code, v.sayings())
	}
	return nil
}
