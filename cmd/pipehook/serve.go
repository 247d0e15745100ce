package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/pprof"
	"slices"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/config"
)

const serveHelp = `Receive webhooks and deliver them.

Signals:
  SIGINT, SIGTERM  answer what was received and stop; a second one stops at once
  SIGHUP           read the configuration again, and open the log file anew
  SIGUSR2          start a successor (of an upgraded program, say) and hand everything over to
                   it without refusing a connection

A configuration that is saved is read again without a signal. One that is wrong changes nothing
and is logged with its mistakes. What is answered 2xx is not lost, whatever ends the process.
Sockets that systemd passes are used: docs/operations.md has the units.`

func (c *cli) serveCommand() *cobra.Command {
	var listen, profile string
	cmd := &cobra.Command{
		Use: "serve", Short: "Receive webhooks and deliver them", Args: cobra.NoArgs, Long: serveHelp,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			// Without a handler these would end the process, and from now on somebody may send them.
			signals := make(chan os.Signal, 2)
			signal.Notify(signals, syscall.SIGHUP, syscall.SIGUSR2)
			defer signal.Stop(signals)
			flags := map[string]any{}
			if cmd.Flags().Changed("listen") {
				flags["server.listen"] = listen
			}
			stop, err := startProfile(profile)
			if err != nil {
				return err
			}
			defer func() { err = joinClose(err, stop) }()
			return c.serve(cmd.Context(), flags, signals)
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "", "listen here instead of server.listen")
	cmd.Flags().StringVar(&profile, "cpu-profile", "", "write a CPU profile to this file, for go tool pprof")
	return cmd
}

// loadServing is load for a configuration that something can be served with.
func (c *cli) loadServing(flags map[string]any) (*config.Config, error) {
	conf, err := c.readServing(flags)
	definitions.use(conf)
	return conf, err
}

// readServing is loadServing where another configuration may hold still.
func (c *cli) readServing(flags map[string]any) (*config.Config, error) {
	conf, err := c.readWhole(flags)
	if conf == nil || len(conf.Pipelines) > 0 || concerns(err, "pipeline") {
		return conf, err
	}
	mistakes, _ := errors.AsType[config.Mistakes](err)
	return conf, &usageError{err: append(mistakes, config.Mistake{
		File: conf.Path, Line: 1, Column: 1, Key: "pipeline", Msg: "there is none", Hint: "add a [[pipeline]], or run pipehook init in an empty folder",
	}).Err()}
}

// serve serves until ctx ends or a successor has taken over.
func (c *cli) serve(ctx context.Context, flags map[string]any, signals <-chan os.Signal) (err error) {
	in, err := c.inherit()
	if err != nil {
		return err
	}
	taken := stamp(c.path) // before the file is read, so that no change is missed
	conf, err := c.loadServing(flags)
	if err != nil {
		return err
	}
	attach, err := c.attachments()
	if err != nil {
		return err
	}
	logs, err := openLogs(c.stderr, conf)
	if err != nil {
		return err
	}
	defer func() { err = joinClose(err, logs.close) }()
	for _, cost := range warnings(conf) {
		logs.logger().Warn(cost)
	}
	tellFields(ctx, conf, logs.logger())
	for again := false; ; again = true {
		k := &keeper{path: c.path, taken: taken, signals: signals, load: func() (*config.Config, error) { return c.readServing(flags) }}
		next, err := c.serveOnce(ctx, conf, parts{logs: logs, from: in, manager: managerOf(c.environ), attach: attach, again: again}, k)
		if next == nil {
			return err
		}
		if err != nil {
			logs.logger().Warn("something did not stop as it should", "err", err)
		}
		pid, err := next.cmd.Process.Pid, next.takeOver(ctx)
		if err == nil {
			managerOf(c.environ).tell(fmt.Sprintf("MAINPID=%d", pid))
			logs.logger().Info("handed over", "successor", pid)
			next.forget()
			return nil
		}
		if ctx.Err() != nil {
			next.forget()
			return nil
		}
		logs.logger().Error("the successor did not take over; this process goes on", "err", err)
		in, taken, conf = &inheritance{sockets: next.keep()}, k.taken, k.a.conf.Load()
	}
}

// serveOnce builds everything, serves, and closes it again. It returns the successor, when there is
// one to be told.
func (c *cli) serveOnce(ctx context.Context, conf *config.Config, p parts, k *keeper) (next *successor, err error) {
	a, err := newApp(ctx, conf, p)
	if err != nil {
		return nil, err
	}
	defer func() { err = joinClose(err, a.close) }()
	k.a, k.begin = a, func() (*successor, error) { return startSuccessor(c, a.doors) }
	a.also("configuration", k)
	a.also("definitions", &fieldsKeeper{conf: a.conf.Load, open: a.openFields, definitions: &definitions, log: a.log})
	if before := p.from.from; before != nil {
		a.also("predecessor", core.ServiceFunc(func(ctx context.Context) error {
			before.tell(wordServing)
			<-ctx.Done()
			return nil
		}))
	}
	return a.run(ctx)
}

func (c *cli) checkCommand() *cobra.Command {
	return &cobra.Command{
		Use: "check", Short: "Check the configuration, the scripts and the plugins", Args: cobra.NoArgs,
		Long: "Check the configuration and the scripts without serving, and that the plugins are the files\nthey should be; none is started (pipehook plugin check does that). Every mistake is listed with its place; then what the order of the stages costs, in words. Exit code 2 when something is wrong.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			conf, err := c.loadServing(nil)
			if conf == nil {
				return c.checkFailed(err)
			}
			listeners, strange, errs := checkScripts(cmd.Context(), conf)
			errs = append(errs, checkChainScripts(conf)...)
			plugins, wrong := checkPlugins(conf)
			listeners, errs = append(listeners, plugins...), append(errs, wrong...)
			if l := syncListener(conf); l != nil {
				listeners = append(listeners, l.Name)
			}
			slices.Sort(listeners)
			if err != nil {
				errs = append([]error{err}, errs...)
			}
			nameless, wrongFields := checkFields(cmd.Context(), conf)
			if wrongFields != nil {
				errs = append(errs, wrongFields)
			}
			if len(errs) > 0 {
				return c.checkFailed(several(errs))
			}
			return c.printCheck(conf.Path, len(conf.Pipelines), listeners, slices.Concat(warnings(conf), openDoors(conf), strange, nameless))
		},
	}
}

// checkFailed makes every finding a matter of exit code 2; with --json they are printed too.
func (c *cli) checkFailed(err error) error {
	if !c.json {
		if _, ok := err.(*usageError); ok { // it has a hint of its own
			return err
		}
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
