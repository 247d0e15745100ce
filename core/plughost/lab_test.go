//go:build unix

package plughost_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pipehook/pipehook/plugins/sdk"
)

type labConfig struct {
	Greeting string `json:"greeting"`
	Mortal   int    `json:"mortal"` // how many milliseconds it lives
	Ran      bool   `json:"ran"`    // it notes what it handles
	Retry    struct {
		Max int `json:"max"`
	} `json:"retry"`
}

type labListener struct {
	labConfig
	host *sdk.Host
}

func (l *labListener) Start(ctx context.Context, host *sdk.Host) error {
	l.host = host
	if l.Mortal > 0 {
		time.AfterFunc(time.Duration(l.Mortal)*time.Millisecond, func() { _ = syscall.Kill(os.Getpid(), syscall.SIGKILL) })
	}
	switch l.Greeting {
	case "no":
		return errors.Join(sdk.Wrong("greeting", "is not polite"), sdk.Wrong("retry.max", "is too small"))
	case "die":
		panic("no greeting")
	case "sleep":
		time.Sleep(time.Hour)
	case "tell":
		return sdk.Wrong("greeting", "is not "+host.Secret("word"))
	case "leak":
		return fmt.Errorf("no database at postgres://u:%s@h/d", host.Secret("word"))
	case "ask":
		_, err := host.Emit(ctx, sdk.Emission{Action: "too", Object: "early"})
		return host.KV().Set(ctx, "started", fmt.Sprint(err), 0)
	}
	return nil
}

// lab does with each event what its object says.
func lab() {
	l := &labListener{}
	sdk.Serve(sdk.Plugin{Name: "lab", Version: "1.2.3", Config: &l.labConfig, Listener: l})
	if l.Greeting == "file" {
		_ = os.WriteFile("ended", nil, 0o600)
	}
}

func (l *labListener) Handle(ctx context.Context, ev sdk.Event) error {
	if l.Ran {
		note(ev.ID)
	}
	switch ev.Object {
	case "panic":
		panic("the plugin has a bug")
	case "panic later":
		time.Sleep(500 * time.Millisecond)
		panic("a bug that takes its time")
	case "elsewhere":
		go func() { panic("a bug elsewhere") }()
		<-ctx.Done()
	case "exit":
		os.Exit(7)
	case "clean":
		os.Exit(0)
	case "kill":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case "freeze":
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		time.Sleep(time.Hour) // not all threads stop in the same instant
	case "loop":
		for {
			turns.Add(1)
		}
	case "slow":
		<-ctx.Done()
		return ctx.Err()
	case "meet": // waits for another event, of the same plugin
		select {
		case met <- ev.ID:
		case <-met:
		case <-ctx.Done():
			return ctx.Err()
		}
	case "meet and panic":
		<-met
		panic("in company")
	case "fork", "fork far":
		cmd := exec.Command("sleep", "3600")
		cmd.Stdout, cmd.Stderr = realStdout, realStderr
		if ev.Object == "fork far" {
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		}
		if err := cmd.Start(); err != nil {
			return err
		}
		return errors.New(strconv.Itoa(cmd.Process.Pid))
	case "deadline":
		at, _ := ctx.Deadline()
		return errors.New(strconv.Itoa(int(time.Until(at).Hours())))
	case "tell", "tell and die":
		return l.tell(ev.Object == "tell and die")
	case "remember", "emit", "count", "look up", "abandon", "keep":
		return l.ask(ctx, ev)
	case "hoard":
		for {
			hoard = append(hoard, bytes.Repeat([]byte("x"), 1<<20))
		}
	case "files":
		for n := 0; ; n++ {
			f, err := os.Open(os.DevNull)
			if err != nil {
				return fmt.Errorf("%d: %w", n, err)
			}
			hoardedFiles = append(hoardedFiles, f)
		}
	case "flood":
		line := bytes.Repeat([]byte("x"), 1<<20)
		for range 100 {
			for _, to := range []io.Writer{realStdout, os.Stdout, realStderr} {
				if _, err := to.Write(line); err != nil {
					return err
				}
			}
		}
	case "noise":
		noise := rand.NewChaCha8([32]byte{})
		for range 100 {
			line := make([]byte, 64<<10)
			_, _ = noise.Read(line)
			for _, to := range []io.Writer{realStdout, os.Stdout, realStderr} {
				if _, err := to.Write(line); err != nil {
					return err
				}
			}
		}
	case "descriptors":
		var all []string
		names, err := os.ReadDir("/proc/self/fd")
		for _, name := range names {
			to, _ := os.Readlink("/proc/self/fd/" + name.Name())
			all = append(all, name.Name()+" "+to)
		}
		return errors.Join(err, errors.New(strings.Join(all, "\n")))
	case "first environ":
		text, err := os.ReadFile("/proc/self/environ")
		return errors.Join(err, errors.New(strings.ReplaceAll(string(text), "\x00", "\n")))
	case "limits":
		text, err := os.ReadFile("/proc/self/limits")
		return errors.Join(err, errors.New(string(text)))
	case "environ":
		return errors.New(strings.Join(os.Environ(), "\n"))
	case "pid":
		return errors.New(strconv.Itoa(os.Getpid()))
	case "never":
		return sdk.Permanent(errors.New("never"))
	case "later":
		return sdk.RetryAfter(90*time.Second, errors.New("later"))
	case "say":
		slog.Warn("said", "event", ev.ID, "n", int64(9007199254740993), "password", "kept apart")
		fmt.Println("on stdout")
		fmt.Fprintln(os.Stderr, "on stderr")
	case "pretend":
		fmt.Fprintln(realStderr, "panic: not really\nit goes on")
		slog.Warn("in between")
	case "long":
		_, _ = realStderr.Write(append(bytes.Repeat([]byte("x"), 8<<20), '\n'))
		slog.Info("after it")
	case "evil": // what go-plugin's own reader does not survive
		_, _ = io.WriteString(realStderr, "{\"@message\": 1}\n{\"msg\": 1, \"level\": {}}\n{\n")
	case "whole":
		text, err := json.Marshal(ev)
		if err != nil {
			return err
		}
		return errors.New(string(text))
	}
	return nil
}

// tell says the secret in every way there is.
func (l *labListener) tell(die bool) error {
	word := l.host.Secret("word")
	l.host.Log().Warn("log "+word, "attr", word, word, map[string]string{"a": word})
	fmt.Println("out " + word)
	fmt.Fprintln(os.Stderr, "err "+word)
	if die {
		panic(word)
	}
	return sdk.Permanent(errors.New("failed with " + word))
}

// kept are contexts of calls that have ended.
var kept = make(chan context.Context, 1)

// ask asks pipehook for what the event's object says.
func (l *labListener) ask(ctx context.Context, ev sdk.Event) error {
	switch ev.Object {
	case "remember":
		return l.host.KV().Set(ctx, ev.ID, l.host.Secret("word"), time.Minute)
	case "emit":
		var all []string
		for range 2 {
			done, err := l.host.Emit(ctx, sdk.Emission{Action: "added", Object: "thing", ObjectID: ev.ID, Current: map[string]int{"n": sdk.Attempt(ctx)}})
			all = append(all, fmt.Sprint(done.ID, err))
		}
		return errors.New(strings.Join(all, ", "))
	case "look up":
		return l.host.Pipedrive().Get(ctx, "/api/v2/deals/1", nil, nil)
	case "count":
		l.host.Count("handled", 2)
		l.host.Gauge("level", 3.5)
	case "abandon": // asks, and does not hear when the call ends
		go func() { _ = l.host.KV().Set(context.WithoutCancel(ctx), "block", 1, 0) }()
		<-ctx.Done()
	case "keep": // asks with the context of the one before
		select {
		case old := <-kept:
			return l.host.KV().Set(context.WithoutCancel(old), "late", 1, 0)
		default:
			kept <- ctx
		}
	}
	return nil
}

// note appends to a file, which outlives the process.
func note(word string) {
	f, err := os.OpenFile("ran", os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		panic(err)
	}
	if _, err := f.WriteString(word + "\n"); err != nil {
		panic(err)
	}
	_ = f.Close()
}

// These are what os.Stdout and os.Stderr are before Serve puts others in their places.
var realStdout, realStderr = os.Stdout, os.Stderr

var (
	turns        atomic.Int64
	hoard        [][]byte
	hoardedFiles []*os.File
)

var met = make(chan string)
