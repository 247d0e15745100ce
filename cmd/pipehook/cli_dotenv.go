package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"

	"github.com/joho/godotenv"

	"github.com/pipehook/pipehook/core"
)

// setDotenv gives a variable of a .env another value and leaves every other line as it is. The file is replaced
// as a whole and keeps its owner, who may be another than who types; nobody else can read it but a group that was
// let in alone.
func setDotenv(path, name string, value core.Secret) error {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	renewed, err := withVariable(string(text), name, string(value))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return replaceFile(path, []byte(renewed), func(f *os.File) error { return keepOwner(f, path) })
}

// replaceFile puts text in the place of a file, all at once: others may be reading it. ready gives the new file, which only
// its owner can read, who and what may read it.
func replaceFile(path string, text []byte, ready func(f *os.File) error) error {
	f, err := tempBeside(path)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, ready(f), f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// tempBeside is a new file that may take the place of path.
func tempBeside(path string) (*os.File, error) {
	return os.CreateTemp(filepath.Dir(path), "."+strings.TrimPrefix(filepath.Base(path), ".")+"-*")
}

// keepOwner gives a file the owner and group of the one that it replaces: the server that reads it may be another user.
func keepOwner(f *os.File, path string) error {
	is, err := f.Stat()
	if err != nil {
		return err
	}
	was, err := os.Stat(path)
	if err != nil {
		return err
	}
	own, ok := was.Sys().(*syscall.Stat_t)
	mine, known := is.Sys().(*syscall.Stat_t)
	if ok && known && (own.Uid != mine.Uid || own.Gid != mine.Gid) {
		if err := f.Chown(int(own.Uid), int(own.Gid)); err != nil {
			return fmt.Errorf("its owner can't be kept: do it as who owns it: %w", err)
		}
	}
	if mode := was.Mode().Perm(); mode&0o007 == 0 {
		return f.Chmod(0o600 | mode&0o040)
	}
	return nil
}

// withVariable changes the last line that sets the variable, which is the one that counts.
func withVariable(text, name, value string) (string, error) {
	before, err := godotenv.Unmarshal(text)
	if err != nil {
		return "", errors.New("a line is not of the form NAME=value") // the parser's error repeats the line
	}
	lines := regexp.MustCompile(`(?m)^([ \t]*(?:export[ \t]+)?`+regexp.QuoteMeta(name)+`[ \t]*[=:][ \t]*)(.*)$`).FindAllStringSubmatchIndex(text, -1)
	if lines == nil {
		return "", fmt.Errorf("there is no line of %s", name)
	}
	at := lines[len(lines)-1]
	rest := strings.TrimRight(text[at[4]:at[5]], "\r")
	renewed := text[:at[4]] + "'" + value + "'" + text[at[4]+len(rest):]
	before[name] = value
	after, err := godotenv.Unmarshal(renewed)
	if err != nil || !maps.Equal(before, after) { // a value of several lines, or one that can't be written so
		return "", fmt.Errorf("the line of %s can't be changed safely: change it by hand", name)
	}
	return renewed, nil
}
