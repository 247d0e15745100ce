// Package program builds and runs the real pipehook, for the commands that measure and torture it.
// It knows what pipehook answers, and nothing of what is in it.
package program

import (
	"bufio"
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/uptrace/bun/driver/pgdriver"
	_ "modernc.org/sqlite" // to read what was stored
)

// PostgresEnv names the server on which databases may be created.
const PostgresEnv = "PIPEHOOK_TEST_POSTGRES"

// Build builds pipehook with the build tags into dir, from anywhere in the module.
func Build(ctx context.Context, dir string, tags ...string) (bin string, err error) {
	bin = filepath.Join(dir, "pipehook")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-tags", strings.Join(tags, ","), "-o", bin, "github.com/pipehook/pipehook/cmd/pipehook")
	cmd.Stderr = os.Stderr
	return bin, cmd.Run()
}

// given are the UDP ports of the addresses that FreeAddress has chosen, open until the process ends: none is
// chosen twice, for the first is used some time later, and none by the processes beside this one, such as the
// other half of the tests. The TCP port itself can't be held, for somebody else is to listen there.
var given sync.Map

// FreeAddress is an address of this machine on which nobody listens. Its port is below those that the
// system gives to clients: one of them could take it before it is used, or while a process that
// listens there is replaced.
func FreeAddress() string {
	for range 1000 {
		address := fmt.Sprintf("127.0.0.1:%d", 10_000+mathrand.IntN(10_000))
		held, err := net.ListenPacket("udp", address)
		if err != nil {
			continue
		}
		given.Store(address, held)
		if ln, err := net.Listen("tcp", address); err == nil {
			_ = ln.Close() // nobody has connected
			return address
		}
	}
	panic("no port is free")
}

// Database creates a database on the server and returns its URL.
func Database(ctx context.Context, server string) (storeURL string, err error) {
	u, err := url.Parse(server)
	if err != nil {
		return "", fmt.Errorf("%s is not a URL", PostgresEnv)
	}
	name := "p_" + strings.ToLower(rand.Text())
	u.Path = "/" + name
	return u.String(), execute(ctx, server, "CREATE DATABASE "+name)
}

// Drop takes a database away again, whoever is connected.
func Drop(server, storeURL string) error {
	u, err := url.Parse(storeURL)
	if err != nil {
		return err
	}
	return execute(context.Background(), server, "DROP DATABASE "+strings.Trim(u.Path, "/")+" WITH (FORCE)")
}

func execute(ctx context.Context, storeURL, statement string) error {
	db, err := Open(storeURL)
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, statement)
	return errors.Join(err, db.Close())
}

// Open opens a store's database beside pipehook. A SQLite file is opened to be read only.
func Open(storeURL string) (*sql.DB, error) {
	if file, ok := strings.CutPrefix(storeURL, "sqlite:"); ok {
		return sql.Open("sqlite", "file:"+file+"?_pragma=busy_timeout(5000)&_pragma=query_only(1)")
	}
	return sql.OpenDB(pgdriver.NewConnector(pgdriver.WithDSN(storeURL))), nil
}

var admin = &http.Client{Timeout: 5 * time.Second}

// Ready waits until the process behind the admin address is ready, at most for the time given.
func Ready(ctx context.Context, address string, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		if IsReady(address) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	return fmt.Errorf("it did not become ready within %s", within)
}

// IsReady asks once.
func IsReady(address string) bool {
	resp, err := admin.Get("http://" + address + "/readyz")
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// Metrics reads the figures behind the admin address, by name with labels.
func Metrics(address string) (_ map[string]float64, err error) {
	resp, err := admin.Get("http://" + address + "/metrics")
	if err != nil {
		return nil, err
	}
	defer func() { err = cmp.Or(err, resp.Body.Close()) }()
	figures := map[string]float64{}
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		at := strings.LastIndexByte(lines.Text(), ' ')
		if at < 0 || strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		if figures[lines.Text()[:at]], err = strconv.ParseFloat(lines.Text()[at+1:], 64); err != nil {
			return nil, err
		}
	}
	return figures, lines.Err()
}
