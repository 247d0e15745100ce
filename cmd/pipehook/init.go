package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/pipehook/pipehook/core/jshost/typings"
)

func (c *cli) initCommand() *cobra.Command {
	return &cobra.Command{
		Use: "init [FOLDER]", Short: "Make a new project folder", Args: cobra.MaximumNArgs(1),
		Long: "Make a new project: pipeline.toml, a .env with a random password, example scripts and their types.\nFiles that are there already are left alone, except that an existing pipeline.toml stops it.",
		RunE: func(_ *cobra.Command, args []string) error {
			dir := "."
			if len(args) == 1 {
				dir = args[0]
			}
			files, err := initProject(dir)
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(map[string]any{"folder": dir, "files": files})
			}
			for _, f := range files {
				fmt.Fprintln(c.stdout, "wrote", f)
			}
			next := "pipehook dev"
			if dir != "." {
				next = "cd " + dir + " && " + next
			}
			_, err = fmt.Fprintf(c.stdout, "\nnext:  %s\n", next)
			return err
		},
	}
}

func initProject(dir string) ([]string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	var written []string
	pipeline := filepath.Join(dir, defaultConfig)
	if err := writeNew(pipeline, exampleConfig, 0o644); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return nil, usagef("pipehook check", "%s is there already", pipeline)
		}
		return nil, err
	}
	written = append(written, pipeline)
	env := fmt.Sprintf("PIPEDRIVE_WEBHOOK_USERNAME=hook\nPIPEDRIVE_WEBHOOK_PASSWORD=%s\nPIPEHOOK_ADMIN_TOKEN=%s\n", rand.Text(), rand.Text())
	for _, f := range []struct {
		name, text string
		mode       os.FileMode
	}{
		{".env", env, 0o600},
		{".gitignore", ".env\n*.db\n*.db-wal\n*.db-shm\n*.db.lock\npipehook.spool/\nnode_modules/\nplugins/bin/\n" + devFolder + "/\n", 0o644},
	} {
		path := filepath.Join(dir, f.name)
		switch err := writeNew(path, []byte(f.text), f.mode); {
		case errors.Is(err, fs.ErrExist):
		case err != nil:
			return written, err
		default:
			written = append(written, path)
		}
	}
	folder := filepath.Join(dir, "scripts")
	handlers, err := writeScripts(folder)
	if written = append(written, handlers...); err != nil {
		return written, err
	}
	types := filepath.Join(folder, typings.File)
	changed, err := refreshTypes(types)
	if _, theirs := errors.AsType[*usageError](err); theirs || err == nil && !changed {
		return written, nil
	}
	if err != nil {
		return written, err
	}
	written = append(written, types)
	config := filepath.Join(folder, "tsconfig.json")
	if err := writeNew(config, typings.Config(), 0o644); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return written, nil
		}
		return written, err
	}
	return append(written, config), nil
}
