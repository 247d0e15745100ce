package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
)

func (c *cli) initCommand() *cobra.Command {
	return &cobra.Command{
		Use: "init [FOLDER]", Short: "Make a new project folder", Args: cobra.MaximumNArgs(1),
		Long: "Make a new project: pipeline.toml, a .env with a random password, and an example script.\nFiles that are there already are left alone, except that an existing pipeline.toml stops it.",
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
	config := filepath.Join(dir, defaultConfig)
	if err := writeNew(config, exampleConfig, 0o644); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return nil, usagef("pipehook check", "%s is there already", config)
		}
		return nil, err
	}
	written = append(written, config)
	env := fmt.Sprintf("PIPEDRIVE_WEBHOOK_USERNAME=hook\nPIPEDRIVE_WEBHOOK_PASSWORD=%s\nPIPEHOOK_ADMIN_TOKEN=%s\n", rand.Text(), rand.Text())
	for _, f := range []struct {
		name, text string
		mode       os.FileMode
	}{
		{".env", env, 0o600},
		{".gitignore", ".env\n*.db\n*.db-wal\n*.db-shm\n*.db.lock\npipehook.spool/\n" + devFolder + "/\n", 0o644},
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
	handlers, err := writeScripts(filepath.Join(dir, "scripts"))
	return append(written, handlers...), err
}
