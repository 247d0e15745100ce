package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/plugins/sdk/wire"
)

// pluginKinds are what a plugin can be, in the order in which people are told.
var pluginKinds = []string{wire.Listener, wire.Stage, wire.Source}

const module = "github.com/pipehook/pipehook"

// sdkGo is the version of Go that the SDK needs.
const sdkGo = "1.26.0"

// newPlugin is what the skeletons are filled with.
type newPlugin struct {
	Name, Kind string
	Go         string
	SDK        string // the folder of a checkout; empty for the released Version
	Version    string

	dir    string // of the module
	binary string // that is built of it
}

func (c *cli) pluginNewCommand() *cobra.Command {
	var kind, dir, sdk string
	cmd := &cobra.Command{
		Use: "new NAME", Short: "Write a new plugin with its test", Args: cobra.ExactArgs(1),
		Long:    "Write a Go module that is a plugin, with a test that passes, beside the folder of the binaries\n(plugins/NAME beside plugins/bin). Nothing that is there is overwritten.",
		Example: "  pipehook plugin new deal-audit\n  pipehook plugin new enrich --kind stage\n  pipehook plugin new orders --kind source --dir ../orders --sdk ../pipehook",
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := c.describePlugin(args[0], kind, dir)
			if err != nil {
				return err
			}
			if err := p.findSDK(sdk); err != nil {
				return err
			}
			written, err := p.write()
			if err != nil {
				return err
			}
			return c.printNewPlugin(p, written, p.tidy(cmd.Context()))
		},
	}
	cmd.Flags().StringVar(&kind, "kind", wire.Listener, "listener, stage or source")
	cmd.Flags().StringVar(&dir, "dir", "", "the folder of the module (default NAME beside plugins.dir)")
	cmd.Flags().StringVar(&sdk, "sdk", "", "a checkout of pipehook whose SDK is used, instead of the one that was released")
	return cmd
}

func (c *cli) describePlugin(name, kind, dir string) (*newPlugin, error) {
	if !slices.Contains(pluginKinds, kind) {
		return nil, usagef("it is one of "+strings.Join(pluginKinds, ", "), "there is no kind of plugin %q", kind)
	}
	if !core.IsName(name) {
		return nil, usagef("use lower-case letters, digits, - and _, such as deal-audit; --dir says where it goes", "%q can't name a plugin", name)
	}
	_, taken := sources[name]
	if kind == wire.Source && (taken || name == core.Unknown) {
		return nil, usagef("choose another name", "there is a source %s already", name)
	}
	conf, err := c.trialConf()
	if err != nil {
		return nil, err
	}
	binaries := beside(conf, conf.Plugins.Dir)
	if dir == "" {
		dir = filepath.Join(filepath.Dir(binaries), name)
	}
	if entries, err := os.ReadDir(dir); len(entries) > 0 {
		return nil, usagef("choose another name, or another folder with --dir", "%s is there already, with something in it", dir)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, usagef("name a folder with --dir", "%w", err)
	}
	return &newPlugin{Name: name, Kind: kind, Go: sdkGo, dir: dir, binary: filepath.Join(binaries, name)}, nil
}

// released is a version that the module can be had in.
var released = regexp.MustCompile(`^v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$`)

// findSDK decides where the SDK comes from: the checkout that is named, else the one that this program
// was built from, if it is there, else the release that this program is.
func (p *newPlugin) findSDK(named string) error {
	p.Version = "v0.0.0"
	if named != "" {
		dir, err := filepath.Abs(named)
		if err != nil {
			return err
		}
		if !isCheckout(dir) {
			return usagef("name the folder with pipehook's go.mod", "--sdk: %s is no checkout of %s", named, module)
		}
		p.SDK = dir
		return nil
	}
	if _, file, _, ok := runtime.Caller(0); ok { // no path of this machine when it was built with -trimpath
		dir := filepath.Dir(filepath.Dir(filepath.Dir(file)))
		if filepath.IsAbs(dir) && !strings.Contains(filepath.Base(dir), "@") && isCheckout(dir) { // not one in Go's cache of modules
			p.SDK = dir
			return nil
		}
	}
	if p.Version = currentVersion(); !released.MatchString(p.Version) {
		return usagef("name a checkout of pipehook with --sdk", "this pipehook (%s) is no release, so it is not known which SDK is meant", p.Version)
	}
	return nil
}

func isCheckout(dir string) bool {
	text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	return err == nil && bytes.HasPrefix(text, []byte("module "+module+"\n"))
}

func (p *newPlugin) write() (written []string, err error) {
	if err := os.MkdirAll(p.dir, 0o755); err != nil {
		return nil, err
	}
	for _, f := range []struct{ name, skeleton string }{
		{"go.mod", "plugin.mod.tmpl"}, {"main.go", "plugin." + p.Kind + ".tmpl"},
		{"main_test.go", "plugin." + p.Kind + ".test.tmpl"}, {".gitignore", "plugin.gitignore.tmpl"},
	} {
		var text bytes.Buffer
		if err := skeletons.ExecuteTemplate(&text, f.skeleton, p); err != nil {
			return written, err
		}
		path := filepath.Join(p.dir, f.name)
		if err := writeNew(path, text.Bytes(), 0o644); err != nil {
			return written, err
		}
		written = append(written, path)
	}
	return written, nil
}

// tidyWithin is how long the modules that the SDK needs may take to be loaded.
const tidyWithin = 5 * time.Minute

// tidy lets Go complete go.mod.
func (p *newPlugin) tidy(ctx context.Context) error {
	path, err := exec.LookPath("go")
	if err != nil {
		return &hinted{errors.New("go is not installed, or not on the PATH: the module is not complete yet"),
			"install Go " + sdkGo + " or newer (https://go.dev/dl), then  " + p.goCommand("mod tidy")}
	}
	ctx, cancel := context.WithTimeout(ctx, tidyWithin)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "mod", "tidy")
	cmd.Dir = p.dir
	out, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	said := strings.TrimSpace(string(out))
	if ctx.Err() != nil {
		said = strings.TrimSpace(said + "\nit took longer than " + tidyWithin.String())
	}
	return &hinted{fmt.Errorf("go mod tidy: %w\n%s", err, plainLines(said, "  ")), "mend that, then  " + p.goCommand("mod tidy")}
}

// goCommand is how to call Go for the module from the folder that we are in.
func (p *newPlugin) goCommand(what string) string { return "go -C " + shellWord(p.dir) + " " + what }

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./@%+=:,-]+$`)

// shellWord is a word as a shell reads it.
func shellWord(word string) string {
	if plainWord.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// build is the command that builds the plugin to where pipehook looks for it.
func (p *newPlugin) build() string {
	into, err := relativeTo(p.dir, p.binary)
	if err != nil {
		into = p.binary
	}
	return "CGO_ENABLED=0 " + p.goCommand("build -trimpath -o "+shellWord(into)+" .")
}

// table is what names the plugin in the configuration.
func (p *newPlugin) table() string {
	switch p.Kind {
	case wire.Stage:
		return fmt.Sprintf("  [[pipeline.stage]]          # in the chain, where it is to stand\n  use    = \"plugin\"\n  plugin = %q\n  config = { label = \"kind\" }\n", p.Name)
	case wire.Source:
		return fmt.Sprintf("[[pipeline]]\nname   = %q\npath   = \"/%s/webhook\"\nsource = \"plugin\"\nplugin = %q\nsource_options = { config = { separator = \".\" } }\n\n%s", p.Name, p.Name, p.Name, chainOf(p.Name))
	default:
		return fmt.Sprintf("[[listener]]\nname   = %q\nmatch  = [\"updated.deal\"]\nplugin = %q\nconfig = { greeting = \"good morning\" }\n", p.Name, p.Name)
	}
}

func (c *cli) printNewPlugin(p *newPlugin, written []string, incomplete error) error {
	next := []string{p.goCommand("test ."), p.build(), c.again("plugin check " + p.Name), c.again("dev")}
	if _, err := os.Stat(c.path); errors.Is(err, fs.ErrNotExist) && c.path == defaultConfig {
		next = append([]string{"pipehook init"}, next...)
	}
	if incomplete != nil {
		next = append([]string{p.goCommand("mod tidy")}, next...)
	}
	if c.json {
		err := c.printJSON(map[string]any{"name": p.Name, "kind": p.Kind, "folder": p.dir, "files": written, "sdk": p.SDK, "toml": p.table(), "next": next})
		return errors.Join(err, incomplete)
	}
	for _, f := range written {
		fmt.Fprintln(c.stdout, "wrote", f)
	}
	if p.SDK != "" {
		fmt.Fprintf(c.stdout, "\nits go.mod takes the SDK from the checkout %s, with a replace line: it builds on this machine only\n", p.SDK)
	}
	fmt.Fprintf(c.stdout, "\ninto %s:\n\n%s\nnext:  %s\n", c.path, p.table(), strings.Join(next, "\n       "))
	return incomplete
}

// again is a command of this program with the configuration that this one was called with.
func (c *cli) again(command string) string {
	if c.path == defaultConfig {
		return "pipehook " + command
	}
	return "pipehook --config " + shellWord(c.path) + " " + command
}
