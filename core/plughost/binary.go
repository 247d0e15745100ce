//go:build unix

package plughost

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// BinaryError is why a file is not started as a plugin.
type BinaryError struct {
	Msg      string
	Hint     string
	Checksum bool // the file is another than the one that is asked for
}

func (e *BinaryError) Error() string { return e.Msg }

// Check reads a binary as a start would, and starts nothing. It returns the SHA-256 of the file, and
// a BinaryError when it would not be started.
func Check(path, want string) (sum string, err error) { return read(path, want, io.Discard) }

// binary is a private copy of a plugin's file. What was checked is what runs, whatever becomes of
// the file, and a plugin that is started again is the same as before.
type binary struct{ path, sum string }

func (h *Host) hold(path, want string) (_ *binary, err error) {
	b := &binary{path: filepath.Join(h.place("b"), filepath.Base(path))}
	if err := os.Mkdir(filepath.Dir(b.path), 0o700); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			b.release()
		}
	}()
	// A child that is forked while the copy is open for writing has it open too, until it runs another
	// program, and for so long the copy can't be run.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	f, err := os.OpenFile(b.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o500)
	if err != nil {
		return nil, err
	}
	b.sum, err = read(path, want, f)
	return b, errors.Join(err, f.Close())
}

// code tells versions of a plugin apart: the beginning of the SHA-256.
func (b *binary) code() string { return b.sum[:12] }

func (b *binary) release() { _ = os.RemoveAll(filepath.Dir(b.path)) }

func read(path, want string, into io.Writer) (sum string, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe would be waited for
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "", &BinaryError{Msg: "there is no " + path, Hint: "build the plugin, or correct plugin or plugins.dir"}
	case err != nil:
		return "", &BinaryError{Msg: err.Error(), Hint: "pipehook must be able to read and run the file"}
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0 {
		return "", &BinaryError{Msg: path + " is no program", Hint: "name the plugin's binary; chmod +x makes a file one"}
	}
	if want == "" {
		if err := guarded(path, info); err != nil {
			return "", err
		}
	}
	h := sha256.New()
	if _, err := io.Copy(io.MultiWriter(h, into), f); err != nil {
		return "", err
	}
	sum = hex.EncodeToString(h.Sum(nil))
	if want != "" && !strings.EqualFold(sum, want) {
		return sum, &BinaryError{
			Msg: fmt.Sprintf("%s has the SHA-256 %s, which is not the pinned %s", path, sum, want), Hint: "if you trust this file, pin its SHA-256; if not, find out who put it there", Checksum: true,
		}
	}
	return sum, nil
}

// unrunnable says why the system does not start a file. What it says itself is about our copy.
func unrunnable(path, copied string, err error) error {
	switch {
	case errors.Is(err, syscall.ENOEXEC):
		system := runtime.GOOS + "/" + runtime.GOARCH
		return &BinaryError{Msg: path + " is not a program for " + system, Hint: "build it for this machine, with GOOS=" + runtime.GOOS + " GOARCH=" + runtime.GOARCH}
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%s can't be started from %s, where its copy is and programs must be allowed: %w", path, filepath.Dir(filepath.Dir(copied)), syscall.EACCES)
	case errors.Is(err, os.ErrNotExist):
		return &BinaryError{Msg: path + " needs an interpreter or a loader that is not on this machine", Hint: "build it for this machine; CGO_ENABLED=0 makes a Go program that needs neither"}
	}
	return err
}

// guarded is why a file that is named without its checksum must not be run: anybody could have put
// another in its place, which would have the rights of our user.
func guarded(path string, file fs.FileInfo) error {
	const orPin = "; or pin the file that you trust with sha256"
	if file.Mode().Perm()&0o002 != 0 {
		return &BinaryError{Msg: "anybody may write to " + path, Hint: "chmod o-w " + path + orPin}
	}
	dirs := []string{filepath.Dir(path)}
	if real, err := filepath.EvalSymlinks(path); err == nil && filepath.Dir(real) != dirs[0] {
		dirs = append(dirs, filepath.Dir(real))
	}
	for _, dir := range dirs {
		info, err := os.Stat(dir)
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o002 != 0 && info.Mode()&fs.ModeSticky == 0 {
			return &BinaryError{Msg: "anybody may put another file in the place of " + path, Hint: "chmod o-w " + dir + orPin}
		}
	}
	return nil
}
