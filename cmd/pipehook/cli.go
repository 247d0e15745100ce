package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/jshost"
	"github.com/pipehook/pipehook/core/pipedrive"
	"github.com/pipehook/pipehook/core/store"
)

const defaultConfig = "pipeline.toml"

// cli is what the subcommands share.
type cli struct {
	environ        []string
	stdin          io.Reader
	stdout, stderr io.Writer

	path  string // --config
	json  bool   // --json
	store string // --store

	openAccount func(*config.Config) (account, error) // for the commands that speak with Pipedrive
}

func (c *cli) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "pipehook",
		Short: "Receive webhooks and run your code on them",
		Long: `pipehook receives webhooks, walks each through the stages that a TOML file lists,
stores it before it answers, and runs your scripts on it.

Start with:  pipehook dev`,
		SilenceErrors: true, SilenceUsage: true,
		Args: knownOnly,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.PersistentFlags().StringVarP(&c.path, "config", "c", defaultConfig, "the configuration file")
	root.PersistentFlags().BoolVar(&c.json, "json", false, "print JSON with stable names")
	plainFlags()
	root.SetUsageTemplate(strings.ReplaceAll(strings.ReplaceAll(root.UsageTemplate(),
		".LocalFlags.FlagUsages", "flagUsages .LocalFlags"), ".InheritedFlags.FlagUsages", "flagUsages .InheritedFlags"))
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef(cmd.CommandPath()+" --help", "%w", err)
	})
	root.AddCommand(c.initCommand(), c.devCommand(), c.serveCommand(), c.checkCommand(), c.doctorCommand(), c.pipedriveCommand(), c.triggerCommand(),
		c.eventsCommand(), c.deliveriesCommand(), c.listenersCommand(), c.kvCommand(), c.migrateCommand(), c.scriptCommand(), c.pluginCommand(), c.testCommand(),
		c.typesCommand(), c.syncCommand(), c.reconcileCommand(), c.webhooksCommand(), c.versionCommand())
	for _, cmd := range root.Commands() {
		switch cmd.Name() {
		case "events", "deliveries", "listeners", "kv", "migrate", "script", "test":
			c.takesStore(cmd)
		}
		usageArgs(cmd)
	}
	return root
}

// usageArgs makes wrong arguments a usage error, for the exit code.
func usageArgs(cmd *cobra.Command) {
	if cmd.HasSubCommands() {
		cmd.Args = knownOnly
	} else if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return usagef(cmd.CommandPath()+" --help", "%w", err)
			}
			return nil
		}
	}
	for _, sub := range cmd.Commands() {
		usageArgs(sub)
	}
}

// load reads the configuration that --config names, for a command. With mistakes in it comes what could be read
// all the same, so that the others can be found.
func (c *cli) load(flags map[string]any) (*config.Config, error) {
	conf, err := c.read(flags)
	definitions.use(conf)
	return conf, err
}

// read is load where another configuration may hold still.
func (c *cli) read(flags map[string]any) (*config.Config, error) {
	conf, err := config.Load(config.Options{Path: c.path, Environ: c.environ, Flags: flags})
	if errors.Is(err, os.ErrNotExist) {
		return nil, usagef("pipehook init, or name the file with --config", "there is no %s here", c.path)
	}
	if err != nil {
		return conf, &usageError{err: err}
	}
	return conf, nil
}

// readWhole reads the configuration and builds what it describes, to find every mistake at once.
func (c *cli) readWhole(flags map[string]any) (*config.Config, error) {
	conf, err := c.read(flags)
	if conf == nil {
		return nil, err
	}
	_, wrong := assemble(conf, bareDeps(conf), bareDraft(conf))
	var mistakes config.Mistakes
	for _, e := range []error{err, wrong} {
		if more, ok := errors.AsType[config.Mistakes](e); ok {
			mistakes = append(mistakes, more...)
		} else if e != nil {
			return nil, e
		}
	}
	if err := mistakes.Err(); err != nil {
		return conf, &usageError{err: err}
	}
	return conf, nil
}

// beside makes a path of the configuration relative to the configuration's folder.
func beside(conf *config.Config, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(conf.Path), path)
}

func storeURL(conf *config.Config) string {
	return store.Resolve(string(conf.Store.URL), func(path string) string { return beside(conf, path) })
}

func (c *cli) printJSON(v any) error {
	enc := json.NewEncoder(c.stdout)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// complaint is one error as the user sees it.
type complaint struct {
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Key     string `json:"key,omitempty"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
	text    string
}

// complaints takes an error apart: one that holds several is as many complaints.
func complaints(err error) []complaint {
	if mistakes, ok := errors.AsType[config.Mistakes](err); ok {
		list := make([]complaint, len(mistakes))
		for i, m := range mistakes {
			hint := m.Hint
			m.Hint = ""
			list[i] = complaint{m.File, m.Line, m.Column, m.Key, m.Msg, hint, m.Error()}
		}
		return list
	}
	if all, ok := errors.AsType[several](err); ok {
		var list []complaint
		for _, one := range all {
			list = append(list, complaints(one)...)
		}
		return list
	}
	if e, ok := errors.AsType[*jshost.CompileError](err); ok {
		return []complaint{{e.File, e.Line, e.Column, "", e.Msg, "", e.Long()}}
	}
	if e, ok := errors.AsType[*store.MissingError](err); ok { // whoever asked for what is in it has nothing to add
		return []complaint{{Message: e.Error(), Hint: "pipehook migrate makes it, and so do serve and dev; name another with --config", text: e.Error()}}
	}
	text := factOf(err)
	return []complaint{{Message: text, Hint: hintOf(err), text: text}}
}

// factOf is an error without the advice that its hint gives too.
func factOf(err error) string {
	text := err.Error()
	if e, ok := errors.AsType[*pipedrive.Error](err); ok && e.Reason == pipedrive.Unauthorized && hintOf(err) != "" {
		text = strings.TrimSuffix(text, "; "+e.Next())
	}
	return text
}

// several are errors that are shown one by one.
type several []error

func (s several) Error() string { return errors.Join(s...).Error() }

// complain prints each error as "pipehook: error: …" and, where there is one, "pipehook: hint: …"; with --json
// as {"error":{…}}, one a line.
func (c *cli) complain(err error) {
	for _, one := range complaints(err) {
		if c.json {
			enc := json.NewEncoder(c.stderr)
			enc.SetEscapeHTML(false)
			_ = enc.Encode(map[string]complaint{"error": one})
			continue
		}
		fmt.Fprintf(c.stderr, "pipehook: error: %s\n", one.text)
		if one.Hint != "" {
			fmt.Fprintf(c.stderr, "pipehook: hint: %s\n", one.Hint)
		}
	}
}

func hintOf(err error) string {
	if e, ok := errors.AsType[*usageError](err); ok && e.hint != "" {
		return e.hint
	}
	if e, ok := errors.AsType[*hinted](err); ok {
		return e.hint
	}
	return ""
}
