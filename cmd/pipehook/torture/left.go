package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// checkLeft is the half of I8 that is about what stays behind when all processes have ended: no
// process, no lock, and no file but those that are documented.
func (r *round) checkLeft() error {
	r.checkProcesses()
	return filepath.WalkDir(r.home, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name := d.Name()
		if (strings.HasSuffix(name, ".lock") || name == "lock") && !free(path) {
			r.fail("I8", "%s is locked, and nobody lives", path)
		}
		known := slices.Contains([]string{"pipeline.toml", "lock", "number", "running", "store", "torture.db", "torture.db-wal", "torture.db-shm", "torture.db.lock"}, name) ||
			scripts[strings.TrimSuffix(name, ".js")] != ""
		switch {
		case strings.HasSuffix(name, ".damaged") && !r.diedWhole():
			return nil // the end of a write to the spool that was cut off
		case name == "crash" || name == "crash.last": // what the runtime said when it ended pipehook
			r.checkCrash(path)
			return nil
		}
		if !known {
			r.fail("I8", "%s was left behind", path)
		}
		return nil
	})
}

// checkCrash refuses word of a crash of pipehook itself, where nothing is done to bring one about.
func (r *round) checkCrash(path string) {
	text, err := os.ReadFile(path)
	if err != nil || len(text) > 0 && !r.crashes {
		said, _, _ := strings.Cut(string(text), "\n")
		r.fail("I8", "pipehook crashed, see %s: %s", path, said)
	}
}

// diedWhole reports whether all processes ended as they should.
func (r *round) diedWhole() bool {
	return !slices.ContainsFunc(r.victims, func(v *victim) bool { return !v.clean })
}

// free reports whether nobody holds the lock on a file.
func free(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }() // and with it the lock
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
}

// checkProcesses looks for processes that were started with something of this round's.
func (r *round) checkProcesses() {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return // not on this system
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		environ, err := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		if err == nil && bytes.Contains(environ, []byte("TMPDIR="+r.home+"/")) {
			r.fail("I8", "process %d lives on", pid)
		}
	}
}
