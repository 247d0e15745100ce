package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/plughost"
	"github.com/pipehook/pipehook/core/strict"
	"github.com/pipehook/pipehook/plugins/sdk/wire"
)

// placedPlugin is a place of the configuration that names a plugin, or a binary that none names.
type placedPlugin struct {
	pluginUse
	listener config.Listener // for a listener; its defaults for a binary
	headers  []string        // that a source sees although they may hold a credential
	wrong    error           // what was wrong there when the configuration was read
}

// place is the key of what names the plugin, such as listener[0]; empty for a binary.
func (p pluginPlace) place() string { return strings.TrimSuffix(p.plugin, ".plugin") }

func (u *placedPlugin) place() string { return u.at.place() }

// label is what people read.
func (u *placedPlugin) label() string {
	if u.place() == "" {
		return u.spec.File()
	}
	return u.spec.Kind + " " + u.spec.Name
}

// pluginsConf is the configuration for looking at plugins: none is needed, and mistakes elsewhere in it
// don't matter.
func (c *cli) pluginsConf() (*config.Config, []placedPlugin, error) {
	conf, _, err := c.loadOrExample()
	if conf == nil {
		return nil, nil, err
	}
	uses, wrong := placedPlugins(conf)
	for i := range uses {
		at := uses[i].at
		mistakes := append(mistakesAt(err, at), mistakesAt(wrong, at)...)
		uses[i].wrong = mistakes.Err()
	}
	return conf, uses, nil
}

// mistakesAt are those of an error that are about a plugin.
func mistakesAt(err error, at pluginPlace) (found config.Mistakes) {
	all, _ := errors.AsType[config.Mistakes](err)
	for _, m := range all {
		rest, ok := strings.CutPrefix(m.Key, at.others)
		if m.Key == at.plugin || ok && (rest == "" || rest[0] == '.' || rest[0] == '[') {
			found = append(found, m)
		}
	}
	return found
}

// placedPlugins are the places of the configuration that name a plugin: listeners, stages and sources,
// each in the file's order.
func placedPlugins(conf *config.Config) (placed []placedPlugin, wrong error) {
	listeners, mistakes := listenerPlugins(conf)
	for _, use := range listeners {
		at := slices.IndexFunc(conf.Listeners, func(l config.Listener) bool { return l.Name == use.spec.Name })
		placed = append(placed, placedPlugin{pluginUse: use, listener: conf.Listeners[at]})
	}
	chain := bareDraft(conf)
	_, err := assemble(conf, bareDeps(conf), chain)
	chains, _ := errors.AsType[config.Mistakes](err)
	mistakes = append(mistakes, chains...)
	for _, use := range chain.plugins {
		placed = append(placed, placedPlugin{pluginUse: use, headers: headersAt(conf, use.at)})
	}
	for _, p := range conf.Pipelines { // with mistakes in it a stage does not come as far as the draft
		for _, s := range p.Stages {
			lost := pluginUse{at: pluginPlace{s.Key + ".plugin", s.Key}, spec: plughost.Spec{Kind: wire.Stage, Name: "of pipeline " + p.Name}}
			if s.Use == "plugin" && !slices.ContainsFunc(placed, func(u placedPlugin) bool { return u.at == lost.at }) {
				placed = append(placed, placedPlugin{pluginUse: lost})
			}
		}
	}
	return placed, mistakes.Err()
}

// headersAt are those that the source at a place is shown although they may hold a credential.
func headersAt(conf *config.Config, at pluginPlace) []string {
	for i, p := range conf.Pipelines {
		if at.place() == fmt.Sprintf("pipeline[%d]", i) {
			return p.SourceOptions.Headers
		}
	}
	return nil
}

// choosePlugins are the plugins of the names: those of listeners, stages and sources, of binaries, and
// paths of binaries. Without a name they are all that the configuration names.
func choosePlugins(conf *config.Config, uses []placedPlugin, names []string) (chosen []placedPlugin, err error) {
	if len(names) == 0 {
		return uses, nil
	}
	for _, name := range names {
		found := slices.DeleteFunc(slices.Clone(uses), func(u placedPlugin) bool { return !u.named(name) })
		if len(found) > 0 {
			chosen = append(chosen, found...)
			continue
		}
		binary, err := unusedPlugin(conf, uses, name)
		if err != nil {
			return nil, err
		}
		chosen = append(chosen, binary)
	}
	return chosen, nil
}

func (u *placedPlugin) named(name string) bool {
	return u.spec.Name == name || u.spec.File() == name || u.spec.Kind+":"+u.spec.Name == name || samePath(u.spec.Path, name)
}

// unusedPlugin is a binary that no place of the configuration names.
func unusedPlugin(conf *config.Config, uses []placedPlugin, name string) (placedPlugin, error) {
	path := name
	if !strings.ContainsRune(name, filepath.Separator) {
		path = pluginPath(conf, name)
	}
	if _, err := os.Stat(path); err != nil {
		return placedPlugin{}, usagef(pluginHint(uses, name), "there is no plugin %s, and no file %s", name, path)
	}
	listener := config.ListenerDefaults()
	spec := plughost.Spec{
		Name: pluginName(path), Path: path, Dir: filepath.Dir(conf.Path),
		Memory: int64(conf.Plugins.Limits.Memory), OpenFiles: conf.Plugins.Limits.OpenFiles,
	}
	return placedPlugin{pluginUse: pluginUse{spec: spec, timeout: listener.Timeout}, listener: listener}, nil
}

func pluginHint(uses []placedPlugin, name string) string {
	if strings.ContainsRune(name, filepath.Separator) {
		return "build it there, or see which there are with  pipehook plugin list"
	}
	var known []string
	for _, u := range uses {
		known = append(known, u.spec.Name, u.spec.File())
	}
	slices.Sort(known)
	if known = slices.Compact(known); len(known) > 0 {
		return strict.Suggest(name, known)
	}
	if !core.IsName(name) {
		name = "NAME"
	}
	return "pipehook plugin new " + name
}

// kinds are what the plugin is to be started as, in the order in which that is tried.
func (u *placedPlugin) kinds() []string {
	if u.spec.Kind != "" {
		return []string{u.spec.Kind}
	}
	return pluginKinds
}

// binaryFlags say of a binary what the configuration says of those that it names.
type binaryFlags struct{ tls, config string }

func (f *binaryFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.tls, "tls", "auto", "off for a binary without TLS, as in other languages, that the configuration does not name")
	cmd.Flags().StringVar(&f.config, "with", "", `the config of a binary that the configuration does not name, as JSON, such as '{"path":"a.log"}'`)
}

// set gives the binaries among the chosen what was said.
func (f *binaryFlags) set(conf *config.Config, chosen []placedPlugin) error {
	if f.tls != "auto" && f.tls != "off" {
		return usagef("it is auto or off", "--tls: there is no %q", f.tls)
	}
	if f.config != "" && !json.Valid([]byte(f.config)) {
		return usagef(`write it as '{"path":"a.log"}'`, "--with is not JSON")
	}
	for i := range chosen {
		switch u := &chosen[i]; {
		case u.place() == "":
			u.spec.Plain = f.tls == "off"
			u.spec.Config = []byte(f.config)
		case f.tls == "off" || f.config != "":
			return usagef("change it there, or copy the binary and name the copy's path", "--with and --tls are for binaries that %s does not name, and it has the config and tls of %s at %s", conf.Path, u.label(), u.at.place())
		}
	}
	return nil
}
