package main

import (
	_ "embed"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/scripts"
)

// exampleConfig is pipeline.example.toml; a test keeps the two the same.
//
//go:embed example/pipeline.toml
var exampleConfig []byte

// devFolder is where dev keeps what it makes when there is no configuration.
const devFolder = ".pipehook"

// loadOrExample reads the configuration, or takes the example when there is none and --config did
// not ask for one: then the store is in devFolder, and so are the scripts unless there is a scripts
// folder here.
func (c *cli) loadOrExample() (conf *config.Config, example bool, err error) {
	if _, err := os.Stat(c.path); err == nil || c.path != defaultConfig {
		conf, err := c.load(nil)
		return conf, false, err
	}
	dir := "scripts"
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		dir = filepath.Join(devFolder, "scripts")
	}
	conf, err = config.Load(config.Options{
		Path: defaultConfig, Text: exampleConfig, Environ: c.environ,
		Flags: map[string]any{"store.url": "sqlite:" + filepath.Join(devFolder, "dev.db"), "scripts.dir": dir, "spool.dir": filepath.Join(devFolder, "spool")},
	})
	if err != nil {
		return conf, true, &usageError{err: err}
	}
	return conf, true, nil
}

// writeScripts puts the example handlers into a folder, and leaves alone what is there.
func writeScripts(dir string) (written []string, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	entries, err := scripts.Files.ReadDir(".")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		text, err := scripts.Files.ReadFile(e.Name())
		if err != nil {
			return written, err
		}
		path := filepath.Join(dir, e.Name())
		switch err := writeNew(path, text, 0o644); {
		case errors.Is(err, fs.ErrExist):
		case err != nil:
			return written, err
		default:
			written = append(written, path)
		}
	}
	return written, nil
}

// writeNew writes a file that must not be there yet.
func writeNew(path string, text []byte, mode os.FileMode) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	defer func() { err = joinClose(err, f.Close) }()
	_, err = f.Write(text)
	return err
}
