package main

import (
	"context"
	"debug/buildinfo"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/plughost"
)

func (c *cli) pluginDebugCommand() *cobra.Command {
	return &cobra.Command{
		Use: "debug NAME", Short: "Say how to follow a plugin in a debugger", Args: cobra.ExactArgs(1),
		Long:    "Print the commands that follow a plugin in Delve: from its first line on, in a process that the debugger\nstarts and pipehook attaches to, or in the process that runs now. Of a plugin in another\nlanguage say which process it is. Nothing is started.",
		Example: "  pipehook plugin debug deal-audit",
		RunE: func(cmd *cobra.Command, args []string) error {
			conf, uses, err := c.pluginsConf()
			if err != nil {
				return err
			}
			chosen, err := choosePlugins(conf, uses, args)
			if err != nil {
				return err
			}
			if _, err := plughost.Check(chosen[0].spec.Path, ""); err != nil {
				return usagef("build it first", "%w", err)
			}
			return c.printDebugging(c.debugging(cmd.Context(), conf, chosen))
		},
	}
}

// debugging is how to follow a plugin in a debugger, as --json prints it.
type debugging struct {
	File    string          `json:"file"`
	NotGo   bool            `json:"notGo,omitempty"` // then there is nothing that Delve could do
	Build   string          `json:"build,omitempty"`
	Why     string          `json:"why,omitempty"` // the binary that there is has to be built anew
	Exec    string          `json:"exec,omitempty"`
	Serve   string          `json:"serve,omitempty"`
	Running []debuggedPlace `json:"running"`
}

// debuggedPlace is a process that runs now.
type debuggedPlace struct {
	Kind    string `json:"kind"`
	Name    string `json:"name"`
	PID     int    `json:"pid"`
	Attach  string `json:"attach,omitempty"`
	Timeout string `json:"timeout"`
}

func (c *cli) debugging(ctx context.Context, conf *config.Config, uses []placedPlugin) debugging {
	path := uses[0].spec.Path
	d := debugging{File: path, Running: []debuggedPlace{}}
	if info, err := buildinfo.ReadFile(path); err != nil {
		d.NotGo = true
	} else {
		d.Why, d.Build = undebuggable(info), debugBuild(conf, path)
		d.Exec, d.Serve = debugExec(conf, path), "PIPEHOOK_REATTACH='…' "+c.again("dev")
	}
	states, _ := runningStates(ctx, conf) // nothing runs, as far as is known
	for _, s := range states {
		at := slices.IndexFunc(uses, func(u placedPlugin) bool { return u.spec.Kind == s.Kind && u.spec.Name == s.Name })
		if at >= 0 && s.PID != 0 {
			one := debuggedPlace{Kind: s.Kind, Name: s.Name, PID: s.PID, Timeout: short(uses[at].timeout)}
			if !d.NotGo {
				one.Attach = fmt.Sprint("dlv attach ", s.PID)
			}
			d.Running = append(d.Running, one)
		}
	}
	return d
}

// debugExec starts the binary in the debugger, where pipehook would start it.
func debugExec(conf *config.Config, path string) string {
	exec := "dlv exec " + shellWord(path)
	if !strings.ContainsRune(path, filepath.Separator) {
		exec = "dlv exec ./" + shellWord(path)
	}
	if dir := filepath.Dir(conf.Path); dir != "." {
		exec += " --wd " + shellWord(dir)
	}
	return exec + " -- --debug"
}

// undebuggable says why a debugger would not follow the binary well; empty when it would.
func undebuggable(info *buildinfo.BuildInfo) string {
	set := map[string]string{}
	for _, s := range info.Settings {
		set[s.Key] = s.Value
	}
	linking := strings.Fields(set["-ldflags"])
	switch {
	case slices.Contains(linking, "-s") || slices.Contains(linking, "-w"):
		return "it was built without what debuggers read (-ldflags " + set["-ldflags"] + ")"
	case !strings.Contains(set["-gcflags"], "-N"):
		return "its code is optimized, so that lines and variables are missing"
	case set["-trimpath"] == "true":
		return "it was built with -trimpath, so that its source is not found"
	}
	return ""
}

// debugBuild builds the binary for a debugger: from the folder that plugin new makes, if it is there.
func debugBuild(conf *config.Config, path string) string {
	const how = `build -gcflags='all=-N -l' -o `
	dir := filepath.Join(filepath.Dir(beside(conf, conf.Plugins.Dir)), filepath.Base(path))
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
		if into, err := relativeTo(dir, path); err == nil {
			return "go -C " + shellWord(dir) + " " + how + shellWord(into) + " ."
		}
	}
	into, err := filepath.Abs(path)
	if err != nil {
		into = path
	}
	return "go " + how + shellWord(into) + " ."
}

// relativeTo is a path as it is seen from a folder.
func relativeTo(dir, path string) (string, error) {
	from, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if path, err = filepath.Abs(path); err != nil {
		return "", err
	}
	rel, err := filepath.Rel(from, path)
	return filepath.ToSlash(rel), err
}

func (c *cli) printDebugging(d debugging) error {
	if c.json {
		return c.printJSON(d)
	}
	w := c.stdout
	if d.NotGo {
		fmt.Fprintf(w, "%s is not a Go program, so Delve is of no use: follow it in the debugger of its own language.\n", d.File)
	} else {
		d.printDelve(w)
	}
	for _, p := range d.Running {
		how := p.Attach
		if d.NotGo {
			how = fmt.Sprint("PID ", p.PID)
		}
		fmt.Fprintf(w, "\nthe process of %s %s that runs now:\n\n    %s\n\npipehook ends it when a call takes longer than %s and a second: give it a longer timeout while you look.\n", p.Kind, p.Name, how, p.Timeout)
	}
	if len(d.Running) == 0 {
		fmt.Fprintln(w, "\nno process of it is known to run now.")
	}
	if d.NotGo {
		fmt.Fprintln(w, "\nPIPEHOOK_REATTACH is for programs that print that line when they are started with --debug, as those of the Go SDK do.")
	} else {
		fmt.Fprintln(w, "\nDelve is installed with  go install github.com/go-delve/delve/cmd/dlv@latest")
	}
	return nil
}

func (d *debugging) printDelve(w io.Writer) {
	if d.Why != "" {
		fmt.Fprintf(w, "build it anew, since %s:\n\n    %s\n\n", plain(d.Why), d.Build)
	}
	fmt.Fprintf(w, "from its first line on, in two terminals; type  continue  in the first, and paste what it then prints:\n\n    %s\n    %s\n\n", d.Exec, d.Serve)
	fmt.Fprintf(w, "pipehook does not end that process, and its calls have as long as you look at them.\n")
}
