package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/pipehook/pipehook/core/jshost/typings"
)

func (c *cli) typesCommand() *cobra.Command {
	var out string
	var config bool
	cmd := &cobra.Command{
		Use: "types", Short: "Write the types of scripts, for editors and tsc", Args: cobra.NoArgs,
		Long: "Write " + typings.File + " into the scripts folder: the types of all that scripts and their tests can use. Editors\n" +
			"find it there, and so does  tsc --strict --noEmit --lib es2023 . A file that an older pipehook has\nwritten is replaced; one that somebody else has written is left alone. The custom fields of the account are\nin it too, when their definitions are at hand.",
		Example: "  pipehook types --tsconfig     with a tsconfig.json beside it, when there is none\n  pipehook types --out -        to standard output",
		RunE: func(*cobra.Command, []string) error {
			dir, err := c.scriptsDir()
			if err != nil && out == "" {
				return err
			}
			if wrong := definitions.look(); wrong != nil {
				return &hinted{wrong, "pipehook pipedrive fields pull, which writes the definitions anew"}
			}
			if out == "-" {
				_, err := c.stdout.Write(typings.Text(currentVersion(), definitions.fields()))
				return err
			}
			if out == "" {
				out = filepath.Join(dir, typings.File)
			}
			return c.writeTypes(out, config)
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "write this file instead; - for standard output")
	cmd.Flags().BoolVar(&config, "tsconfig", false, "write a tsconfig.json beside it too, when there is none")
	return cmd
}

func (c *cli) writeTypes(path string, config bool) error {
	changed, err := refreshTypes(path)
	if err != nil {
		return err
	}
	answer := map[string]any{"file": path, "version": currentVersion(), "changed": changed}
	lines := []string{map[bool]string{true: "wrote ", false: "up to date: "}[changed] + path}
	if config {
		beside := filepath.Join(filepath.Dir(path), "tsconfig.json")
		switch err := writeNew(beside, typings.Config(), 0o644); {
		case errors.Is(err, fs.ErrExist):
			lines = append(lines, "left alone: "+beside)
		case err != nil:
			return err
		default:
			lines, answer["tsconfig"] = append(lines, "wrote "+beside), beside
		}
	}
	if c.json {
		return c.printJSON(answer)
	}
	for _, line := range lines {
		fmt.Fprintln(c.stdout, line)
	}
	_, err = fmt.Fprintf(c.stdout, "\ncheck:  %s\n", checkCommand(path))
	return err
}

// checkCommand is how to check the scripts: as a project where there is a tsconfig.json.
func checkCommand(types string) string {
	dir := filepath.Dir(types)
	if _, err := os.Stat(filepath.Join(dir, "tsconfig.json")); err == nil {
		return "npx -p typescript tsc -p " + dir
	}
	return "npx -p typescript tsc --strict --noEmit --target es2023 --lib es2023 " + types + " " + filepath.Join(dir, "*.ts")
}

// refreshTypes writes the declarations, unless the file has them already. A file that pipehook did
// not write is the user's.
func refreshTypes(path string) (changed bool, err error) {
	text := typings.Text(currentVersion(), definitions.fields())
	old, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return false, err
	case bytes.Equal(old, text):
		return false, nil
	default:
		if _, ours := typings.WrittenBy(old); !ours {
			return false, usagef("give your types another name, or this file another with --out", "%s was not written by pipehook", path)
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return false, err
	}
	return true, os.WriteFile(path, text, 0o644)
}

// scriptsDir is the scripts folder of the configuration, and the folder scripts where there is none.
func (c *cli) scriptsDir() (string, error) {
	if _, err := os.Stat(c.path); errors.Is(err, fs.ErrNotExist) && c.path == defaultConfig {
		_, _, _ = c.loadOrExample() // for the definitions beside it
		return "scripts", nil
	}
	conf, err := c.load(nil)
	if conf == nil {
		return "", err
	}
	if conf.Scripts.Dir == "" { // mistakes elsewhere in the file don't matter here
		return "", usagef("set dir under [scripts]", "%s names no folder of scripts", c.path)
	}
	return beside(conf, conf.Scripts.Dir), nil
}
