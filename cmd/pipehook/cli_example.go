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
	definitions.use(conf)
	if err != nil {
		return conf, true, &usageError{err: err}
	}
	return conf, true, nil
}

// writeScripts puts the example handlers into a folder, and leaves alone what is there.
func writeScripts(dir string) (written []string, err error) {
	err = fs.WalkDir(scripts.Files, ".", func(name string, d fs.DirEntry, err error) error {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err != nil || d.IsDir() {
			return errors.Join(err, os.MkdirAll(path, 0o755))
		}
		text, err := scripts.Files.ReadFile(name)
		if err != nil {
			return err
		}
		switch err := writeNew(path, text, 0o644); {
		case errors.Is(err, fs.ErrExist):
		case err != nil:
			return err
		default:
			written = append(written, path)
		}
		return nil
	})
	return written, err
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
