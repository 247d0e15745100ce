package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/plughost"
)

func (c *cli) pluginListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the plugins, who uses them, and how they do", Args: cobra.NoArgs,
		Long: "List the binaries in plugins.dir and those that the configuration names, with the listeners, stages and\nsources that use them, and their checksums. When pipehook serves this configuration, its admin.listen is\nasked what runs. Nothing is started: a version and a contract are only known of what runs, or has run;\nplugin check shows those of the others.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			conf, uses, err := c.pluginsConf()
			if err != nil {
				return err
			}
			all, err := listPlugins(conf, uses)
			if err != nil {
				return err
			}
			states, unknown := runningStates(cmd.Context(), conf)
			if cmd.Context().Err() != nil {
				return cmd.Context().Err()
			}
			all = joinStates(all, states)
			return c.printPlugins(all, unknown)
		},
	}
}

// listedPlugin is a use of a binary, or a binary that nobody uses, as --json prints it.
type listedPlugin struct {
	Key     string           `json:"key,omitempty"` // where the configuration names it
	Kind    string           `json:"kind,omitempty"`
	Name    string           `json:"name,omitempty"`
	File    string           `json:"file"`
	SHA256  string           `json:"sha256,omitempty"` // of the file
	Pin     string           `json:"pin,omitempty"`    // the one that the configuration wants
	Matches *bool            `json:"matches,omitempty"`
	Error   string           `json:"error,omitempty"` // why the file can't be started
	Running *pluginStateJSON `json:"running,omitempty"`
}

// listPlugins looks at the files.
func listPlugins(conf *config.Config, uses []placedPlugin) ([]listedPlugin, error) {
	all := []listedPlugin{}
	used := map[string]bool{}
	for _, u := range uses {
		one := listedPlugin{Key: u.place(), Kind: u.spec.Kind, Name: u.spec.Name, File: u.spec.Path, Pin: u.spec.SHA256}
		var err error
		one.SHA256, err = plughost.Check(u.spec.Path, u.spec.SHA256)
		bad, _ := errors.AsType[*plughost.BinaryError](err)
		matches := err == nil
		if one.Pin != "" && (matches || bad != nil && bad.Checksum) {
			one.Matches = &matches
		} else if err != nil {
			one.Error = err.Error()
		}
		used[filepath.Clean(u.spec.Path)] = true
		all = append(all, one)
	}
	dir := beside(conf, conf.Plugins.Dir)
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("plugins.dir: %w", err)
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if used[path] || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		if info, err := e.Info(); err != nil || info.IsDir() || info.Mode().IsRegular() && info.Mode().Perm()&0o111 == 0 {
			continue // it is no program
		}
		one := listedPlugin{File: path}
		if one.SHA256, err = plughost.Check(path, ""); err != nil {
			one.Error = err.Error()
		}
		all = append(all, one)
	}
	return all, nil
}

// joinStates adds what runs to what is in the files. Places that are alike share a process. One goes on
// with the configuration that it has, so there may be plugins that the file does not name any more.
func joinStates(all []listedPlugin, states []pluginStateJSON) []listedPlugin {
	var strangers []listedPlugin
	for i := range states {
		s, known := &states[i], false
		for at := range all {
			l := &all[at]
			if l.Kind != s.Kind || l.Name != s.Name {
				continue
			}
			known = true
			if l.Running == nil || l.Key == s.Key {
				l.Running = s
			}
		}
		if !known {
			strangers = append(strangers, listedPlugin{Kind: s.Kind, Name: s.Name, File: s.File, Running: s})
		}
	}
	return append(all, strangers...)
}

func (c *cli) printPlugins(all []listedPlugin, unknown error) error {
	if c.json {
		answer := map[string]any{"plugins": all, "asked": unknown == nil}
		if unknown != nil {
			answer["why"] = unknown.Error()
		}
		return c.printJSON(answer)
	}
	if len(all) == 0 {
		fmt.Fprintln(c.stderr, "no plugins")
		return nil
	}
	w := tabwriter.NewWriter(c.stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "PLUGIN\tUSED BY\tSTATE\tPID\tSINCE\tRESTARTS\tVERSION\tCONTRACT\tSHA-256\tLAST ERROR")
	for i := range all {
		l := &all[i]
		fmt.Fprintln(w, strings.Join(l.row(unknown == nil), "\t"))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if unknown != nil {
		fmt.Fprintf(c.stderr, "state is not known: %v\n", unknown)
	}
	return nil
}

// row is the line of the table. asked says that what runs is known.
func (l *listedPlugin) row(asked bool) []string {
	user := "nobody"
	if l.Kind != "" {
		user = l.Kind + " " + l.Name
	}
	state, pid, since, restarts, version, contract, failure := "unknown", "–", "–", "–", "–", "–", l.Error
	if asked {
		state = "not running"
	}
	if s := l.Running; s != nil {
		state, restarts = s.State, fmt.Sprint(s.Restarts)
		if s.PID != 0 {
			pid = fmt.Sprint(s.PID)
		}
		if !s.Since.IsZero() {
			since = s.Since.Local().Format(time.DateTime)
		}
		if s.Version != "" {
			version, contract = s.Version, s.Contract
		}
		failure = cmp.Or(s.reason(), failure)
	}
	return []string{plain(filepath.Base(l.File)), user, state, pid, since, restarts, plain(version), contract, l.sums(), shortened(plain(failure), 140)}
}

// reason is the newer of what went wrong, and when that was unless it still is so.
func (s *pluginStateJSON) reason() string {
	switch {
	case s.Refused != "" && s.RefusedAt.After(s.ErrorAt):
		return s.RefusedAt.Local().Format(time.DateTime) + " the new file is not used: " + s.Refused
	case s.Error != "" && s.State == plughost.Running:
		return s.ErrorAt.Local().Format(time.DateTime) + " " + s.Error
	}
	return s.Error
}

// sums says which file there is, whether it is the one that it must be, and whether that one runs.
func (l *listedPlugin) sums() string {
	text := "–"
	if l.SHA256 != "" {
		text = l.SHA256[:12]
	}
	switch {
	case l.Running != nil && l.Running.SHA256 != "" && l.SHA256 != "" && l.Running.SHA256 != l.SHA256:
		text += ", runs " + l.Running.SHA256[:12]
	case l.Running != nil && l.Running.SHA256 != "" && l.SHA256 == "":
		text = "runs " + l.Running.SHA256[:12]
	}
	switch {
	case l.Matches == nil:
		return text
	case *l.Matches:
		return text + ", pinned"
	}
	return text + ", not the pinned " + shortened(l.Pin, 12)
}
