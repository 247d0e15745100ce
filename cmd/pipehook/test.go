package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pipehook/pipehook/core/fixture"
	"github.com/pipehook/pipehook/core/jshost"
	"github.com/pipehook/pipehook/core/jshost/scripttest"
	"github.com/pipehook/pipehook/core/samples"
)

// testRun is how the command was called.
type testRun struct {
	filter, junit string
	watch, update bool
	replay        replayFlags
}

func (c *cli) testCommand() *cobra.Command {
	var t testRun
	cmd := &cobra.Command{
		Use: "test [FILE…]", Short: "Run the tests of scripts, offline",
		Long: "Run *.test.ts and *.test.js in the scripts folder, or the files and folders that are named, in the\nengine that runs scripts. Nothing is sent, stored or emitted. With CI=1 in the environment no new\nsnapshot is written: a test that needs one fails.\n\n" +
			"With --replay, run a script that was edited over stored events instead, do nothing outside, and show\nwhere its effects differ from those of the file that is live.",
		Example: "  pipehook test --watch\n  pipehook test scripts/deal-moved.test.ts --filter \"a deal that moved\"\n  pipehook test --replay --since 24h --script scripts/deal-moved.ts --listener deal-moved",
		RunE: func(cmd *cobra.Command, args []string) error {
			if t.replay.on {
				return c.replay(cmd.Context(), t.replay, args)
			}
			if err := t.replay.unused(cmd); err != nil {
				return err
			}
			return c.test(cmd.Context(), t, args)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&t.filter, "filter", "", "only tests whose names have this text")
	flags.BoolVar(&t.watch, "watch", false, "run again what a saved file touches, until Ctrl-C")
	flags.StringVar(&t.junit, "junit", "", "write the results to this file too, as JUnit XML")
	flags.BoolVar(&t.update, "update", false, "write snapshots anew")
	t.replay.add(cmd)
	return cmd
}

func (c *cli) test(ctx context.Context, t testRun, args []string) error {
	if t.watch && c.json {
		return usagef("leave out one of them", "--watch has no end, and --json prints at the end")
	}
	dirs, files, err := c.testFiles(args)
	if err != nil {
		return err
	}
	o := scripttest.Options{Events: trialEvents(), API: trialAPI(c.accountAddress()), Filter: t.filter, Update: t.update, Frozen: inCI(c.environ)}
	if t.watch {
		return c.watchTests(ctx, dirs, args, t, o)
	}
	results, err := c.runTests(ctx, files, t, o)
	if err != nil {
		return err
	}
	return testsFailed(ctx, results, t.filter)
}

// runTests runs files, prints what came of them and writes what else was asked for.
func (c *cli) runTests(ctx context.Context, files []string, t testRun, o scripttest.Options) ([]scripttest.File, error) {
	view := newTestView(c.stdout)
	view.chosen = t.filter != ""
	done := view.file
	if c.json {
		done = nil
	}
	began := time.Now()
	results := scripttest.RunFiles(ctx, files, runtime.GOMAXPROCS(0), o, done)
	took := time.Since(began)
	if t.junit != "" {
		if err := writeJUnit(t.junit, results); err != nil {
			return results, err
		}
	}
	if c.json {
		passed, failed, skipped := scripttest.Totals(results)
		return results, c.printJSON(map[string]any{"files": results, "passed": passed, "failed": failed, "skipped": skipped, "tookUs": took.Microseconds()})
	}
	view.summary(results, took)
	return results, nil
}

// testsFailed is the command's own failure, for the exit code.
func testsFailed(ctx context.Context, results []scripttest.File, filter string) error {
	passed, failed, skipped := scripttest.Totals(results)
	switch {
	case ctx.Err() != nil:
		return errors.New("stopped before all tests had run")
	case failed > 0:
		return fmt.Errorf("%d of %s failed", failed, counted(passed+failed, "test"))
	case passed == 0 && skipped > 0 && filter != "":
		return usagef("leave --filter out to see their names", "no test has %q in its name", filter)
	}
	return nil
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func writeJUnit(path string, results []scripttest.File) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return usagef("", "--junit: %w", err)
	}
	defer func() { err = joinClose(err, f.Close) }()
	return scripttest.WriteJUnit(f, results)
}

// inCI reports whether this runs where nobody would keep a new file.
func inCI(environ []string) bool {
	for _, v := range environ {
		if name, value, _ := strings.Cut(v, "="); name == "CI" {
			return value != "" && value != "0" && value != "false"
		}
	}
	return false
}

// trialEvents makes the events that tests and trials use, as Pipedrive's source reads them.
func trialEvents() fixture.Events {
	return fixture.Events{
		Sample: func(eventType string) ([]byte, bool) {
			_, body, ok := samples.For(eventType)
			return body, ok
		},
		Types: samples.Types(), Name: restore, Source: "pipedrive", Pipeline: "pipedrive",
	}
}

var testName = regexp.MustCompile(`\.test\.[cm]?[jt]s$`)

// testFiles are the tests in what is named, files or folders, and the folders to watch. Of a script
// its test is meant.
func (c *cli) testFiles(args []string) (dirs, files []string, err error) {
	named := args
	if len(named) == 0 {
		dir, err := c.scriptsDir()
		if err != nil {
			return nil, nil, err
		}
		named = []string{dir}
	}
	for _, name := range named {
		info, err := os.Stat(name)
		switch {
		case err != nil && len(args) == 0:
			return nil, nil, usagef("pipehook script new NAME, which writes a script and its test", "there is no folder of scripts at %s", name)
		case errors.Is(err, fs.ErrNotExist):
			hint := "pipehook test runs all there are"
			if filepath.Ext(name) == "" && filepath.Base(name) == name {
				hint = fmt.Sprintf("pipehook test --filter %q runs the tests with that in their names", name)
			}
			return nil, nil, usagef(hint, "there is no file %s", name)
		case err != nil:
			return nil, nil, usagef("", "%w", err)
		case info.IsDir():
			found, err := testsIn(name)
			if err != nil {
				return nil, nil, err
			}
			dirs, files = append(dirs, name), append(files, found...)
		default:
			test, err := testOf(name)
			if err != nil {
				return nil, nil, err
			}
			dirs, files = append(dirs, filepath.Dir(name)), append(files, test)
		}
	}
	if len(files) == 0 {
		return nil, nil, usagef("pipehook script new NAME, which writes a script and its test", "there is no *.test.ts or *.test.js in %s", strings.Join(named, ", "))
	}
	slices.Sort(files)
	slices.Sort(dirs)
	return slices.Compact(dirs), slices.Compact(files), nil
}

func testsIn(root string) (files []string, err error) {
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && (d.Name() == "node_modules" || strings.HasPrefix(d.Name(), ".")):
			return filepath.SkipDir
		case !d.IsDir() && testName.MatchString(d.Name()):
			files = append(files, path)
		}
		return nil
	})
	return files, err
}

// testOf is the test of a file, which may be one itself.
func testOf(name string) (string, error) {
	if testName.MatchString(name) {
		return name, nil
	}
	ext := filepath.Ext(name)
	stem := strings.TrimSuffix(name, ext)
	for _, other := range []string{ext, ".ts", ".js", ".mjs", ".cjs"} {
		if _, err := os.Stat(stem + ".test" + other); err == nil {
			return stem + ".test" + other, nil
		}
	}
	return "", usagef("name the file "+stem+".test"+ext, "%s is no test, and there is none beside it", name)
}

// watchTests runs all tests, and after each change those whose files have changed or that failed.
func (c *cli) watchTests(ctx context.Context, dirs, args []string, t testRun, o scripttest.Options) error {
	last := map[string]scripttest.File{}
	seen := map[string]time.Time{} // when each file that counts was changed
	return jshost.Watch(ctx, dirs, func() {
		_, files, err := c.testFiles(args)
		if err != nil {
			c.complain(err)
			return
		}
		changed := modified(seen, files, last)
		files = slices.DeleteFunc(files, func(path string) bool { return !touched(path, last, changed) })
		if len(files) == 0 {
			return
		}
		fmt.Fprintf(c.stdout, "\n%s\n\n", time.Now().Format(time.TimeOnly))
		results, err := c.runTests(ctx, files, t, o)
		if err != nil {
			c.complain(err)
		}
		for _, r := range results {
			last[r.Path] = r
		}
		modified(seen, files, last) // of files that are imported for the first time
		if ctx.Err() == nil {
			fmt.Fprintln(c.stdout, "waiting for a change; stop with Ctrl-C")
		}
	})
}

// modified brings seen up to date and returns which files have changed since.
func modified(seen map[string]time.Time, files []string, last map[string]scripttest.File) map[string]bool {
	changed := map[string]bool{}
	all := slices.Clone(files)
	for _, r := range last {
		all = append(all, r.Inputs...)
	}
	for _, path := range all {
		var at time.Time
		if info, err := os.Stat(path); err == nil {
			at = info.ModTime()
		}
		if old, ok := seen[path]; !ok || !old.Equal(at) {
			changed[path] = true
		}
		seen[path] = at
	}
	return changed
}

func touched(path string, last map[string]scripttest.File, changed map[string]bool) bool {
	r, ran := last[path]
	if _, failed, _ := scripttest.Totals([]scripttest.File{r}); !ran || failed > 0 || changed[path] {
		return true
	}
	return slices.ContainsFunc(r.Inputs, func(input string) bool { return changed[input] })
}
