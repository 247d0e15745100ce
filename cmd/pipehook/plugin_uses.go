package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/plughost"
	"github.com/pipehook/pipehook/plugins/sdk/wire"
)

// pluginUse is a place of the configuration that names a plugin, or a binary that none names.
type pluginUse struct {
	key      string // such as listener[0]; empty for a binary
	spec     plughost.Spec
	timeout  time.Duration   // of a call
	listener config.Listener // for a listener; its defaults for a binary
	wrong    error           // what was wrong there when the configuration was read
}

// label is what people read.
func (u *pluginUse) label() string {
	if u.key == "" {
		return u.spec.File()
	}
	return u.spec.Kind + " " + u.spec.Name
}

// pluginsConf is the configuration for looking at plugins: none is needed, and mistakes elsewhere in it
// don't matter.
func (c *cli) pluginsConf() (*config.Config, []pluginUse, error) {
	conf, _, err := c.loadOrExample()
	if conf == nil {
		return nil, nil, err
	}
	uses, wrong := pluginUses(conf)
	for i := range uses {
		mistakes := append(mistakesAt(err, uses[i].key), mistakesAt(wrong, uses[i].key)...)
		uses[i].wrong = mistakes.Err()
	}
	return conf, uses, nil
}

// mistakesAt are those of an error that stand at a key or below it.
func mistakesAt(err error, key string) (found config.Mistakes) {
	all, _ := errors.AsType[config.Mistakes](err)
	for _, m := range all {
		if rest, ok := strings.CutPrefix(m.Key, key); ok && (rest == "" || rest[0] == '.' || rest[0] == '[') {
			found = append(found, m)
		}
	}
	return found
}

// pluginUses are the places of the configuration that name a plugin, in the file's order.
func pluginUses(conf *config.Config) ([]pluginUse, error) {
	specs, err := pluginSpecs(conf)
	var uses []pluginUse
	for i, l := range conf.Listeners {
		key := fmt.Sprintf("listener[%d]", i)
		if spec, ok := specs[key]; ok {
			uses = append(uses, pluginUse{key: key, spec: spec, timeout: l.Timeout, listener: l})
		}
	}
	return uses, err
}

// choosePlugins are the plugins of the names: those of listeners, stages and sources, of binaries, and
// paths of binaries. Without a name they are all that the configuration names.
func choosePlugins(conf *config.Config, uses []pluginUse, names []string) (chosen []pluginUse, err error) {
	if len(names) == 0 {
		return uses, nil
	}
	for _, name := range names {
		found := slices.DeleteFunc(slices.Clone(uses), func(u pluginUse) bool { return !u.named(name) })
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

func (u *pluginUse) named(name string) bool {
	return u.spec.Name == name || u.spec.File() == name || u.spec.Kind+":"+u.spec.Name == name || samePath(u.spec.Path, name)
}

// unusedPlugin is a binary that no place of the configuration names.
func unusedPlugin(conf *config.Config, uses []pluginUse, name string) (pluginUse, error) {
	path := name
	if !strings.ContainsRune(name, filepath.Separator) {
		path = pluginPath(conf, name)
	}
	if _, err := os.Stat(path); err != nil {
		return pluginUse{}, usagef(pluginHint(uses, name), "there is no plugin %s, and no file %s", name, path)
	}
	listener := config.ListenerDefaults()
	return pluginUse{
		spec:    plughost.Spec{Name: filepath.Base(path), Path: path, Dir: filepath.Dir(conf.Path)},
		timeout: listener.Timeout, listener: listener,
	}, nil
}

func pluginHint(uses []pluginUse, name string) string {
	var known []string
	for _, u := range uses {
		known = append(known, u.spec.Name, u.spec.File())
	}
	slices.Sort(known)
	if known = slices.Compact(known); len(known) > 0 {
		return config.Suggest(name, known)
	}
	if !core.IsName(name) {
		name = "NAME"
	}
	return "pipehook plugin new " + name
}

// kinds are what the plugin is to be started as, in the order in which that is tried.
func (u *pluginUse) kinds() []string {
	if u.spec.Kind != "" {
		return []string{u.spec.Kind}
	}
	return []string{wire.Listener, wire.Stage, wire.Source}
}
