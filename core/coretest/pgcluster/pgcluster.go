//go:build unix

// Package pgcluster runs a PostgreSQL server of its own, for tests that stop and kill one. The
// server's programs must be installed; .ci/postgres sees to that.
package pgcluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
)

// Cluster is a server with an empty database. It listens on 127.0.0.1 only and trusts everybody.
type Cluster struct {
	URL string

	bin, dir string
	port     int
	as       *syscall.SysProcAttr
}

// New makes a cluster and starts it. Close must be called in the end.
func New(ctx context.Context) (_ *Cluster, err error) {
	c := &Cluster{}
	if c.bin, err = programs(); err != nil {
		return nil, err
	}
	if c.dir, err = os.MkdirTemp("", "pipehook-cluster"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	if err := c.giveAway(); err != nil {
		return nil, err
	}
	if c.port, err = freePort(); err != nil {
		return nil, err
	}
	c.URL = fmt.Sprintf("postgres://pipehook@127.0.0.1:%d/postgres?sslmode=disable", c.port)
	if err := c.run(ctx, "initdb", "-D", c.data(), "-U", "pipehook", "-A", "trust", "-E", "UTF8", "--locale=C"); err != nil {
		return nil, err
	}
	return c, c.Start(ctx)
}

// giveAway makes the folder another user's when this one is root, for whom the server does not run.
func (c *Cluster) giveAway() error {
	if os.Getuid() != 0 {
		return nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		if u, err = user.Lookup("nobody"); err != nil {
			return err
		}
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return err
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return err
	}
	c.as = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	return os.Chown(c.dir, uid, gid)
}

// Start starts a stopped server on the port that it had, and returns when it answers.
func (c *Cluster) Start(ctx context.Context) error {
	options := fmt.Sprintf("-p %d -k %s -c listen_addresses=127.0.0.1 -c max_connections=200", c.port, c.dir)
	return c.run(ctx, "pg_ctl", "-D", c.data(), "-l", filepath.Join(c.dir, "log"), "-w", "-t", "60", "-o", options, "start")
}

// Stop stops the server. The mode is "fast", which ends all sessions, or "immediate", after which it
// must recover as after a power cut.
func (c *Cluster) Stop(ctx context.Context, mode string) error {
	return c.run(ctx, "pg_ctl", "-D", c.data(), "-m", mode, "-w", "-t", "60", "stop")
}

// Close stops the server, if it runs, and deletes everything.
func (c *Cluster) Close() error {
	if _, err := os.Stat(filepath.Join(c.data(), "postmaster.pid")); err == nil {
		_ = c.Stop(context.Background(), "immediate") // what is left is deleted anyhow
	}
	return os.RemoveAll(c.dir)
}

func (c *Cluster) data() string { return filepath.Join(c.dir, "data") }

func (c *Cluster) run(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(c.bin, name), args...)
	cmd.SysProcAttr, cmd.Dir = c.as, c.dir
	cmd.Env = append(os.Environ(), "HOME="+c.dir)
	// A file, not a pipe: the server would hold a pipe open for as long as it runs.
	said, err := os.CreateTemp(c.dir, name)
	if err != nil {
		return err
	}
	cmd.Stdout, cmd.Stderr = said, said
	err = cmd.Run()
	text, _ := os.ReadFile(said.Name())
	if err := errors.Join(said.Close(), os.Remove(said.Name())); err != nil {
		return err
	}
	if err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, text)
	}
	return nil
}

// programs finds the folder of the newest server.
func programs() (string, error) {
	var dirs []string
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/libexec/postgresql*",
		"/opt/homebrew/opt/postgresql*/bin", "/usr/local/opt/postgresql*/bin",
	} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return "", err
		}
		dirs = append(dirs, found...)
	}
	slices.Reverse(dirs)
	for _, dir := range dirs {
		if _, err := os.Stat(filepath.Join(dir, "initdb")); err == nil {
			return dir, nil
		}
	}
	path, err := exec.LookPath("initdb")
	if err != nil {
		return "", errors.New("the programs of a PostgreSQL server were not found: run the command under .ci/postgres, which installs them")
	}
	return filepath.Dir(path), nil
}

func freePort() (int, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return ln.Addr().(*net.TCPAddr).Port, ln.Close()
}
