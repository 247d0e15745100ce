package main

import (
	"crypto/sha256"
	"encoding/json"
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

// pluginUse is a plugin at a place of the configuration.
type pluginUse struct {
	spec plughost.Spec
	size int // how many calls of chains it has at a time; 0 for listeners, which see to that themselves
	at   pluginPlace

	timeout time.Duration // of a call; it is no matter of the process
}

// key is equal for those that one process can serve.
func (u *pluginUse) key() string {
	text, err := json.Marshal([]any{u.spec, u.size})
	if err != nil { // texts and numbers always encode
		panic(err)
	}
	return fmt.Sprintf("%x", sha256.Sum256(text))
}

// pluginPlace are the keys under which a plugin stands in the file: of its binary, and of the table that
// the others are in.
type pluginPlace struct{ plugin, others string }

// pluginTerms are what all plugins have in the file, wherever they stand.
type pluginTerms struct {
	binary, sha256 string
	config         map[string]any
	secrets        map[string]core.Secret
	limits         core.ProgramLimits
	tls            string
	timeout        time.Duration
}

// pluginUseOf is the plugin on its terms. The error is a mistake of its config.
func pluginUseOf(conf *config.Config, kind, name string, t pluginTerms, at pluginPlace) (pluginUse, error) {
	table, err := json.Marshal(t.config)
	if err != nil {
		return pluginUse{}, conf.Mistake(at.others+".config", err.Error(), "")
	}
	var secrets map[string]string
	if len(t.secrets) > 0 {
		secrets = make(map[string]string, len(t.secrets))
		for name, secret := range t.secrets {
			secrets[name] = string(secret)
		}
	}
	return pluginUse{at: at, timeout: t.timeout, spec: plughost.Spec{
		Kind: kind, Name: name, Path: pluginPath(conf, t.binary), SHA256: strings.ToLower(t.sha256), Config: table, Secrets: secrets,
		Dir: filepath.Dir(conf.Path), Memory: int64(t.limits.Memory), OpenFiles: t.limits.OpenFiles, Plain: t.tls == "off",
	}}, nil
}

// pluginPath is a name's in the folder of plugins, or a path's.
func pluginPath(conf *config.Config, plugin string) string {
	if !strings.ContainsRune(plugin, filepath.Separator) {
		plugin = filepath.Join(conf.Plugins.Dir, plugin)
	}
	return filepath.Clean(beside(conf, plugin))
}

// pluginName is what a plugin in a chain is called.
func pluginName(binary string) string {
	name := filepath.Base(binary)
	return strings.TrimSuffix(name, filepath.Ext(name))
}

// listenerPlugins are the listeners that are plugins.
func listenerPlugins(conf *config.Config) (uses []pluginUse, mistakes config.Mistakes) {
	for i, l := range conf.Listeners {
		if l.Plugin == "" {
			continue
		}
		key := fmt.Sprintf("listener[%d]", i)
		use, err := pluginUseOf(conf, wire.Listener, l.Name, pluginTerms{
			binary: l.Plugin, sha256: l.SHA256, config: l.Config, secrets: l.Secrets, limits: l.Limits, tls: l.TLS, timeout: l.Timeout,
		}, pluginPlace{key + ".plugin", key})
		if mistakes = conf.Collect(mistakes, key, err); err == nil {
			uses = append(uses, use)
		}
	}
	return uses, mistakes
}

// mistakes gives what keeps the plugin from running the places in the file that are to blame.
func (u *pluginUse) mistakes(conf *config.Config, err error) config.Mistakes {
	if refused, ok := errors.AsType[plughost.Refused](err); ok {
		mistakes := make(config.Mistakes, len(refused))
		for i, wrong := range refused {
			key := u.at.others + ".config"
			if wrong.Secret {
				key = u.at.others + ".secrets"
			}
			if wrong.Key != "" {
				key += "." + wrong.Key
			}
			mistakes[i] = conf.Mistake(key, wrong.Msg, "")
		}
		return mistakes
	}
	if wrong, ok := errors.AsType[*wire.KindError](err); ok {
		return config.Mistakes{conf.Mistake(u.at.plugin, wrong.Error(), placeOf(wrong.Does))}
	}
	if bad, ok := errors.AsType[*plughost.BinaryError](err); ok {
		key := u.at.plugin
		if bad.Checksum {
			key = u.at.others + ".sha256"
		}
		return config.Mistakes{conf.Mistake(key, bad.Msg, bad.Hint)}
	}
	hint := ""
	if errors.Is(err, os.ErrPermission) {
		hint = "it may be mounted noexec: set spool.dir to another folder, or TMPDIR for a command that tries plugins"
	}
	return config.Mistakes{conf.Mistake(u.at.plugin, "does not start: "+err.Error(), hint)}
}

// isMistake reports whether what keeps a plugin from running is in the configuration, and so is not over
// by itself.
func isMistake(err error) bool {
	_, refused := errors.AsType[plughost.Refused](err)
	_, misplaced := errors.AsType[*wire.KindError](err)
	return refused || misplaced
}

// placeOf is where in the file a plugin stands that does this.
func placeOf(does []string) string {
	for kind, place := range map[string]string{
		wire.Listener: "name it in a [[listener]]", wire.Stage: `name it in a [[pipeline.stage]] with use = "plugin"`, wire.Source: `name it in a [[pipeline]] with source = "plugin"`,
	} {
		if slices.Contains(does, kind) {
			return place
		}
	}
	return ""
}

// reattachEnv is where somebody who has started plugins in a debugger says so.
const reattachEnv = "PIPEHOOK_REATTACH"

// attachments are the plugins that somebody else has started, by the names of their binaries.
func (c *cli) attachments() (map[string]*plughost.Attachment, error) {
	text := lookup(c.environ, reattachEnv)
	if text == "" {
		return nil, nil
	}
	all, err := plughost.ParseReattach(text)
	if err != nil {
		return nil, usagef("copy the line that the plugin prints when it is started with --debug", "%s: %w", reattachEnv, err)
	}
	return all, nil
}

// checkPlugins looks at the binaries, for check. It starts none.
func checkPlugins(conf *config.Config) (listeners []string, errs []error) {
	uses, mistakes := listenerPlugins(conf)
	for _, use := range uses {
		listeners = append(listeners, use.spec.Name)
	}
	chain := bareDraft(conf)
	_, _ = assemble(conf, bareDeps(conf), chain) // what is wrong otherwise is said elsewhere
	for _, use := range append(uses, chain.plugins...) {
		if _, err := plughost.Check(use.spec.Path, use.spec.SHA256); err != nil {
			mistakes = append(mistakes, use.mistakes(conf, err)...)
		}
	}
	if err := mistakes.Err(); err != nil {
		errs = append(errs, err)
	}
	return listeners, errs
}
