package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pipehook/pipehook/core/fixture"
	"github.com/pipehook/pipehook/core/jshost/scripttest"
	"github.com/pipehook/pipehook/core/plughost"
)

func (c *cli) pluginCheckCommand() *cobra.Command {
	var f binaryFlags
	cmd := &cobra.Command{
		Use: "check [NAME|PATH]…", Short: "Start plugins and show what they offer",
		Long:    "Start each plugin on the side with the configuration that it has in pipeline.toml, and show what it says\nof itself, its SHA-256 as pipeline.toml wants it, and every mistake with its place. A NAME is that of a\nlistener, a stage, a source or a binary; without one all are started that the configuration names.\nNo event is sent. A plugin does what it does at its start: one that opens a port fails while it runs\nelsewhere.",
		Example: "  pipehook plugin check\n  pipehook plugin check deal-audit\n  pipehook plugin check ./build/deal-audit --json",
		RunE:    func(cmd *cobra.Command, args []string) error { return c.checkPlugins(cmd.Context(), f, args) },
	}
	f.add(cmd)
	return cmd
}

func (c *cli) checkPlugins(ctx context.Context, f binaryFlags, names []string) (err error) {
	conf, uses, err := c.pluginsConf()
	if err != nil {
		return err
	}
	chosen, err := choosePlugins(conf, uses, names)
	if err == nil {
		err = f.set(conf, chosen)
	}
	if err != nil {
		return err
	}
	bench, err := openPluginBench(conf, &scripttest.Recorder{KVs: &fixture.Overlay{}})
	if err != nil {
		return err
	}
	defer func() { err = joinClose(err, bench.close) }()
	checked := make([]checkedPlugin, len(chosen))
	for i := range chosen {
		checked[i] = bench.check(ctx, &chosen[i])
		if !c.json {
			checked[i].show(newTestView(c.stdout))
		}
	}
	return c.checkedPlugins(checked)
}

// checkedPlugin is what --json prints of a plugin that was started.
type checkedPlugin struct {
	OK       bool             `json:"ok"`
	Key      string           `json:"key,omitempty"` // where pipeline.toml names it
	Kind     string           `json:"kind,omitempty"`
	Name     string           `json:"name"`
	File     string           `json:"file"`
	SHA256   string           `json:"sha256,omitempty"`
	Pinned   bool             `json:"pinned"`           // pipeline.toml says which file it must be
	Plugin   string           `json:"plugin,omitempty"` // what it calls itself
	Version  string           `json:"version,omitempty"`
	Contract string           `json:"contract,omitempty"`
	Does     []string         `json:"does,omitempty"`
	StartUS  int64            `json:"startUs,omitempty"`
	Logs     []scripttest.Log `json:"logs"`
	Mistakes []complaint      `json:"mistakes,omitempty"`

	err error
}

// check starts one plugin and stops it.
func (b *pluginBench) check(ctx context.Context, u *placedPlugin) checkedPlugin {
	one := checkedPlugin{Key: u.place(), Kind: u.spec.Kind, Name: u.spec.Name, File: u.spec.Path, Pinned: u.spec.SHA256 != "", Logs: []scripttest.Log{}}
	one.SHA256, _ = plughost.Check(u.spec.Path, u.spec.SHA256) // what is wrong with it is said when it is started
	p, took, err := b.start(ctx, u)
	if err == nil {
		s := p.State()
		stopPlugin(p)
		one.OK, one.Kind, one.StartUS = true, u.spec.Kind, took.Microseconds()
		one.Plugin, one.Version, one.Contract, one.Does, one.SHA256 = s.Plugin, s.Version, s.Contract, kindsAmong(s.Does), s.SHA256
	} else {
		one.err, one.Mistakes = err, complaints(err)
	}
	one.Logs = pluginResult(nil, b.heard.take(), nil, u.spec.Secrets).Logs
	return one
}

// kindsAmong leaves out what is of interest to pipehook alone.
func kindsAmong(does []string) (kinds []string) {
	for _, word := range does {
		if !strings.Contains(word, ".") {
			kinds = append(kinds, word)
		}
	}
	return kinds
}

func (p *checkedPlugin) show(v *testView) {
	mark := v.paint(green, "✓")
	if !p.OK {
		mark = v.paint(red, "✗")
	}
	if p.Key == "" {
		fmt.Fprintf(v.w, "%s %s", mark, v.paint(bold, p.Name))
	} else {
		fmt.Fprintf(v.w, "%s %s %s", mark, p.Kind, v.paint(bold, p.Name))
	}
	if p.OK {
		fmt.Fprintf(v.w, "  %s %s, a %s, contract %s, started in %s", plain(p.Plugin), plain(p.Version), plain(strings.Join(p.Does, " and a ")), p.Contract, short(time.Duration(p.StartUS)*time.Microsecond))
	}
	fmt.Fprintln(v.w)
	switch {
	case p.OK && p.Key != "":
		fmt.Fprintf(v.w, "  %s  %s\n", p.File, v.paint(dim, "its configuration is taken"))
	case p.OK:
		fmt.Fprintf(v.w, "  %s  %s\n", p.File, v.paint(dim, "no place of the configuration names it"))
	}
	for _, l := range p.Logs {
		fmt.Fprintf(v.w, "  %-5s %s%s\n", l.Level, plain(l.Text), dataText(l.Data))
	}
	if p.SHA256 != "" {
		remark := ""
		switch {
		case p.Pinned && p.OK:
			remark = "  # pinned"
		case p.another():
			remark = "  # of the file that is there: write it only once you know who put it there, and trust it"
		}
		fmt.Fprintf(v.w, "  sha256 = %q%s\n", p.SHA256, v.paint(dim, remark))
	}
}

// another reports whether the file is not the one that pipeline.toml wants.
func (p *checkedPlugin) another() bool {
	return slices.ContainsFunc(p.Mistakes, func(m complaint) bool { return strings.HasSuffix(m.Key, ".sha256") }) && p.Pinned
}

// checkedPlugins is what the command comes to.
func (c *cli) checkedPlugins(checked []checkedPlugin) error {
	var wrong several
	users := true // all of it is the user's to mend
	for _, one := range checked {
		if one.err != nil {
			_, usage := errors.AsType[*usageError](one.err)
			wrong, users = append(wrong, one.err), users && usage
		}
	}
	if len(checked) == 0 && !c.json {
		fmt.Fprintf(c.stderr, "no plugins: %s names none\n", filepath.Base(c.path))
	}
	var err error = wrong
	if c.json {
		if err := c.printJSON(checked); err != nil {
			return err
		}
		err = fmt.Errorf("%d of %s failed", len(wrong), counted(len(checked), "plugin"))
	}
	switch {
	case len(wrong) == 0:
		return nil
	case users:
		return &usageError{err: err}
	}
	return err
}
