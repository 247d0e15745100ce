package main

import (
	"errors"
	"fmt"
	"os"
	"runtime/pprof"

	"github.com/spf13/cobra"
)

func (c *cli) serveCommand() *cobra.Command {
	var listen, profile string
	cmd := &cobra.Command{
		Use: "serve", Short: "Receive webhooks and deliver them", Args: cobra.NoArgs,
		Long: "Receive webhooks and deliver them until SIGINT or SIGTERM; then answer what was received\nand stop. A second signal stops at once: nothing that was answered 2xx is lost.",
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			flags := map[string]any{}
			if cmd.Flags().Changed("listen") {
				flags["server.listen"] = listen
			}
			conf, err := c.loadWhole(flags)
			if err != nil {
				return err
			}
			if len(conf.Pipelines) == 0 {
				return usagef("add a [[pipeline]], or run pipehook init in an empty folder", "%s describes no pipeline", conf.Path)
			}
			if conf.Log.File != "" {
				conf.Log.File = beside(conf, conf.Log.File)
			}
			log, closeLog := newLogger(c.stderr, conf.Log)
			defer func() { err = joinClose(err, closeLog) }()
			for _, cost := range costs(conf) {
				log.Warn(cost)
			}
			a, err := newApp(cmd.Context(), conf, log, watchers{})
			if err != nil {
				return err
			}
			defer func() { err = joinClose(err, a.close) }()
			stop, err := startProfile(profile)
			if err != nil {
				return err
			}
			defer func() { err = joinClose(err, stop) }()
			return a.run(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "", "listen here instead of server.listen")
	cmd.Flags().StringVar(&profile, "cpu-profile", "", "write a CPU profile to this file, for go tool pprof")
	return cmd
}

func (c *cli) checkCommand() *cobra.Command {
	return &cobra.Command{
		Use: "check", Short: "Check the configuration and the scripts", Args: cobra.NoArgs,
		Long: "Check the configuration and the scripts without serving. Every mistake is listed with its\nplace; then what the order of the stages costs, in words. Exit code 2 when something is wrong.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			conf, err := c.loadWhole(nil)
			if conf == nil {
				return c.checkFailed(err)
			}
			listeners, errs := checkScripts(conf)
			if err != nil {
				errs = append([]error{err}, errs...)
			}
			if len(errs) > 0 {
				return c.checkFailed(several(errs))
			}
			return c.printCheck(conf.Path, len(conf.Pipelines), listeners, costs(conf))
		},
	}
}

// checkFailed makes every finding a matter of exit code 2; with --json they are printed too.
func (c *cli) checkFailed(err error) error {
	if !c.json {
		return &usageError{err: err}
	}
	if err := c.printJSON(map[string]any{"ok": false, "mistakes": complaints(err)}); err != nil {
		return err
	}
	return &usageError{err: errors.New("the configuration has mistakes")}
}

func (c *cli) printCheck(path string, pipelines int, listeners, warnings []string) error {
	if c.json {
		if warnings == nil {
			warnings = []string{}
		}
		return c.printJSON(map[string]any{"ok": true, "pipelines": pipelines, "listeners": listeners, "warnings": warnings})
	}
	for _, w := range warnings {
		fmt.Fprintln(c.stdout, "warning:", w)
	}
	_, err := fmt.Fprintf(c.stdout, "%s is good: %s, %s\n", path, count(pipelines, "pipeline"), count(len(listeners), "listener"))
	return err
}

func count(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// startProfile profiles the CPU into a file until the returned function is called.
func startProfile(path string) (stop func() error, err error) {
	if path == "" {
		return func() error { return nil }, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, joinClose(err, f.Close)
	}
	return func() error {
		pprof.StopCPUProfile()
		return f.Close()
	}, nil
}
