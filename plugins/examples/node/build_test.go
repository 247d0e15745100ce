package node_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// sources are the files that the build needs, from the top of the tree on, where they lie.
var sources = []string{"main.js", "plugin.js", "health.proto", "controller.proto", "package.json", ".npmrc", "../../sdk/wire/pluginv1/plugin.proto"}

var (
	once     sync.Once
	built    string // the plugin
	buildErr error
	folder   string
)

func TestMain(m *testing.M) {
	code := m.Run()
	_ = os.RemoveAll(folder) // empty when nothing was built
	os.Exit(code)
}

// churn is the plugin's file, built as its author would.
func churn(t *testing.T) string {
	t.Helper()
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("there is no %s here, so whether pipehook runs a plugin in Node.js was NOT tested", program)
		}
	}
	once.Do(func() { built, buildErr = build() })
	if buildErr != nil {
		t.Fatal(buildErr)
	}
	return built
}

// build copies the sources, for a build leaves traces, and runs npm's script.
func build() (string, error) {
	modules, err := packages()
	if err != nil {
		return "", err
	}
	if folder, err = os.MkdirTemp("", "pipehook-node"); err != nil {
		return "", err
	}
	dir := filepath.Join(folder, "plugins", "examples", "node")
	for _, name := range sources {
		if err := copyFile(filepath.Join(dir, name), name); err != nil {
			return "", err
		}
	}
	if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
		return "", err
	}
	return filepath.Join(dir, "churn"), npm(dir, "run", "build")
}

// packages is the folder of the packages that package.json names. They are fetched once for each state of it.
func packages() (string, error) {
	text, err := os.ReadFile("package.json")
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "pipehook", fmt.Sprintf("node-%.6x", sha256.Sum256(text)))
	modules := filepath.Join(dir, "node_modules")
	if _, err := os.Stat(modules); err == nil {
		return modules, nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", err
	}
	fetched, err := os.MkdirTemp(filepath.Dir(dir), "node-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(fetched) }() // unless it was renamed
	for _, name := range []string{"package.json", ".npmrc"} {
		if err := copyFile(filepath.Join(fetched, name), name); err != nil {
			return "", err
		}
	}
	if err := npm(fetched, "install", "--no-audit", "--no-fund"); err != nil {
		return "", fmt.Errorf("%w\nconnect to the Internet once: afterwards the packages are in %s", err, dir)
	}
	if err := os.Rename(fetched, dir); err != nil {
		if _, there := os.Stat(modules); there != nil { // another test was not faster
			return "", err
		}
	}
	return modules, nil
}

func npm(dir string, args ...string) error {
	cmd := exec.Command("npm", args...)
	cmd.Dir = dir
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("npm %s: %w\n%s", args[0], err, &said)
	}
	return nil
}

func copyFile(to, from string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, text, 0o644)
}
