//go:build unix

package worker_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core/jshost/worker"
)

// inChildren says what a child does besides, when its script has one of these names.
func inChildren() {
	worker.OnConfined("prober", func(secrets map[string]string, say func(string)) {
		for name, err := range probes(secrets["VICTIM"]) {
			if err == nil {
				say("possible: " + name)
			} else {
				say("impossible: " + name + ": " + err.Error())
			}
		}
		say(fmt.Sprintf("environment: %q", os.Environ()))
		say(fmt.Sprintf("secrets: %q", secrets))
		dir, _ := os.Getwd()
		say("folder: " + dir)
		say(fmt.Sprintf("group: %v", syscall.Getpgrp() == syscall.Getpid()))
		say("zone: " + time.Date(2026, 1, 1, 0, 0, 0, 0, time.Local).Format("-0700"))
		var limits [2]syscall.Rlimit
		_ = syscall.Getrlimit(syscall.RLIMIT_CORE, &limits[0])
		_ = syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limits[1])
		say(fmt.Sprintf("core files and written files: %v", limits))
	})
	worker.OnConfined("fragile", func(_ map[string]string, say func(string)) {
		told := make(chan os.Signal, 1)
		signal.Notify(told, syscall.SIGUSR1)
		go func() {
			<-told
			panic("a bug elsewhere")
		}()
		say("fragile")
	})
	worker.OnConfined("confused", func(map[string]string, func(string)) {
		_, _ = syscall.Write(0, []byte{0xff, 0xff, 0xff, 0xff, 0x7f, 1, 2, 3}) // a message of 32 GiB
	})
}

// probes are what no code in a child may do; victim is a file that anybody may change.
func probes(victim string) map[string]error {
	tried := map[string]error{}
	try := func(name string, f func() error) { tried[name] = f() }
	try("reading a file", func() error { _, err := os.ReadFile("/etc/passwd"); return err })
	try("reading itself", func() error { _, err := os.ReadFile("/proc/self/environ"); return err })
	try("listing a folder", func() error { _, err := os.ReadDir("/"); return err })
	try("writing a file", func() error { return os.WriteFile(victim, []byte("x"), 0o600) })
	try("making a folder", func() error { return os.Mkdir(victim+"-folder", 0o700) })
	try("removing a file", func() error { return os.Remove(victim) })
	try("renaming a file", func() error { return os.Rename(victim, victim+"-2") })
	try("cutting a file off", func() error { return os.Truncate(victim, 0) })
	try("TCP", func() error { _, err := net.Dial("tcp", "127.0.0.1:1"); return noSocket(err) })
	try("UDP", func() error { _, err := net.Dial("udp", "127.0.0.1:1"); return err })
	try("listening", func() error { _, err := net.Listen("tcp", "127.0.0.1:0"); return err })
	try("a unix socket", func() error { _, err := net.Dial("unix", "@probe"); return noSocket(err) })
	try("a pipe", func() error { _, _, err := os.Pipe(); return err })
	try("another number for the socket", func() error { _, err := syscall.Dup(0); return err })
	try("another program", func() error { return syscall.Exec("/bin/true", []string{"true"}, nil) })
	try("a child of its own", func() error { _, err := os.StartProcess("/bin/true", []string{"true"}, &os.ProcAttr{}); return err })
	return tried
}

// noSocket counts a refusal by whoever is at the other end as a connection.
func noSocket(err error) error {
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil
	}
	return err
}

func TestAScriptsProcessCanReachNothing(t *testing.T) {
	t.Setenv("PROBE_SECRET", "of the parent")
	t.Setenv("TZ", "Asia/Kathmandu")
	victim := filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(victim, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	p, j := start(t, `export default () => {}`, func(o *worker.Options) {
		o.Name, o.Secrets = "prober", map[string]string{"VICTIM": victim}
	})
	if r := run(t, p, sample(t, "1"), time.Minute); r.Err != nil {
		t.Fatal(r.Err)
	}
	said := j.said()
	for _, line := range said {
		if strings.HasPrefix(line, "possible") {
			if runtime.GOOS != "linux" && (strings.Contains(line, "ing a f") || strings.Contains(line, "cutting")) { // only a sandbox keeps from this
				continue
			}
			t.Error(line)
		}
	}
	for _, want := range []string{
		"environment: []", fmt.Sprintf("secrets: map[%q:%q]", "VICTIM", victim), "folder: /", "group: true", "zone: +0545",
		"core files and written files: [{0 0} {0 0}]",
	} {
		if !slices.Contains(said, want) {
			t.Errorf("the child does not say %q", want)
		}
	}
	if t.Failed() || testing.Verbose() {
		t.Log(strings.Join(said, "\n"))
	}
}

func TestNothingIsInheritedButTheSocket(t *testing.T) {
	if _, err := os.Stat("/proc/self/fd"); err != nil {
		t.Skip("this system does not show the descriptors of a process")
	}
	file, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	unmarked, err := syscall.Dup(int(file.Fd())) // as if we had got it from whoever started us
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Close(unmarked) }()
	p, _ := start(t, `export default () => {}`, nil)
	if r := run(t, p, sample(t, "1"), time.Minute); r.Err != nil {
		t.Fatal(r.Err)
	}
	dir := fmt.Sprintf("/proc/%d/fd", p.Pid())
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	sockets := 0
	for _, e := range entries {
		target, _ := os.Readlink(filepath.Join(dir, e.Name()))
		switch {
		case e.Name() == "0" && strings.HasPrefix(target, "socket:"):
			sockets++
		case e.Name() == "1" && target == "/dev/null", e.Name() == "2" && strings.HasPrefix(target, "pipe:"):
		case strings.HasPrefix(target, "anon_inode:[event"): // Go waits with them
		case strings.HasPrefix(target, "/sys/fs/cgroup/"): // Go asks how many processors it may use
		default:
			t.Errorf("descriptor %s is %s", e.Name(), target)
		}
	}
	if sockets != 1 {
		t.Errorf("%d sockets", sockets)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Pid()))
	if err != nil || !strings.Contains(string(status), "NoNewPrivs:\t1") {
		t.Errorf("it may get new privileges (%v)", err)
	}
}

func TestAPanicElsewhereInTheProcessIsTheReason(t *testing.T) {
	p, j := start(t, `export default (event) => { console.log(event.id); if (event.id === "loop") for (;;); }`, func(o *worker.Options) { o.Name = "fragile" })
	var got error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		got = run(t, p, sample(t, "loop"), time.Minute).Err
	}()
	heard(t, j, "loop")
	if err := syscall.Kill(p.Pid(), syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	<-ended
	if got == nil || !strings.Contains(got.Error(), "the script ended its process: panic: a bug elsewhere") {
		t.Errorf("error %v", got)
	}
}

func TestAProcessThatSpeaksNonsenseIsEnded(t *testing.T) {
	p, _ := start(t, `export default () => {}`, func(o *worker.Options) { o.Name = "confused" })
	err := run(t, p, sample(t, "1"), time.Minute).Err
	if err == nil || !strings.Contains(err.Error(), "the script's process was ended") {
		t.Errorf("error %v", err)
	}
}

func TestASystemThatKillsTheProcessIsTheReason(t *testing.T) {
	p, j := start(t, actor, nil)
	var got error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		got = run(t, p, sample(t, "loop"), time.Minute).Err
	}()
	heard(t, j, "loop")
	_ = syscall.Kill(p.Pid(), syscall.SIGKILL)
	<-ended
	if got == nil || !strings.Contains(got.Error(), "the system has killed the script's process") {
		t.Errorf("error %v", got)
	}
}
