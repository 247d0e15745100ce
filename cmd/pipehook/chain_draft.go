package main

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/egress"
	"github.com/pipehook/pipehook/core/jshost/engine"
	"github.com/pipehook/pipehook/plugins/sdk/wire"
	"github.com/pipehook/pipehook/stages/plugin"
	"github.com/pipehook/pipehook/stages/script"
)

// chainDraft collects the scripts and plugins that a configuration's chains want, before it is known
// whether it is taken. Exactly one of use and drop ends it.
type chainDraft struct {
	of    *chainScripts // nil for chains that are not run
	conf  *config.Config
	wants map[string]*chainScript
	files map[string]string // path by kind and name

	plugins []pluginUse
	running pluginMap // has what plugins of chains that are run are
	stage   string    // the key of the one that is made
}

// draft begins a set for the configuration, whose plugins run.
func (c *chainScripts) draft(conf *config.Config, running pluginMap) *chainDraft {
	return &chainDraft{of: c, conf: conf, wants: map[string]*chainScript{}, files: map[string]string{}, running: running}
}

// bareDraft is for chains that are built but not run.
func bareDraft(conf *config.Config) *chainDraft { return (*chainScripts)(nil).draft(conf, nil) }

// open is the script, the same for all chains that run it in the same way, size calls at a time. It may
// reach what all scripts may, and what is granted to it.
func (d *chainDraft) open(spec chainSpec, size int, allowHosts []string, secrets map[string]core.Secret) (*chainScript, error) {
	spec.terms = termsOf(d.conf, size, allowHosts, secrets)
	asked := spec.path
	spec.path = filepath.Clean(beside(d.conf, spec.path))
	name := engine.Code{Path: spec.path}.Name()
	if err := d.claim(spec.word(), name, asked, spec.path); err != nil {
		return nil, err
	}
	key := spec.key()
	if s := d.wants[key]; s != nil {
		return s, nil
	}
	s := &chainScript{chainSpec: spec, name: name}
	if d.of != nil {
		s = d.of.find(key, s)
	}
	d.wants[key] = s
	return s, nil
}

// claim refuses a file whose name can't be a stage's or a source's, or is another's: what they remember
// would be one.
func (d *chainDraft) claim(word, name, asked, path string) error {
	if !core.IsName(name) {
		return fmt.Errorf("%s can't name a %s: rename the file to lower-case letters, digits, - and _", asked, word)
	}
	if _, taken := sources[name]; word == wire.Source && (taken || name == core.Unknown) {
		return fmt.Errorf("%s would be the source %s, which is another: rename the file", asked, name)
	}
	at := word + " " + name
	if other, twice := d.files[at]; twice && other != path {
		return fmt.Errorf("%s and %s would both be the %s: rename one of them", asked, other, at)
	}
	d.files[at] = path
	return nil
}

// plugin is what runs a plugin of a chain; it has no process in one that is not run.
func (d *chainDraft) plugin(kind string, t pluginTerms, size int, at pluginPlace) (*runningPlugin, error) {
	name := pluginName(t.binary)
	if err := d.claim(kind, name, t.binary, pluginPath(d.conf, t.binary)); err != nil {
		return nil, d.conf.Mistake(at.plugin, err.Error(), "")
	}
	use, err := pluginUseOf(d.conf, kind, name, t, at)
	if err != nil {
		return nil, err
	}
	use.size = size
	d.plugins = append(d.plugins, use)
	if r := d.running[use.key()]; r != nil {
		return r, nil
	}
	return &runningPlugin{pluginUse: use, ended: true}, nil
}

// openPlugin is what stages are given to have their plugins with.
func (d *chainDraft) openPlugin(conf plugin.Config) (plugin.Runner, error) {
	r, err := d.plugin(wire.Stage, pluginTerms{
		binary: conf.Plugin, sha256: conf.SHA256, config: conf.Config, secrets: conf.Secrets, limits: conf.Limits, tls: conf.TLS, timeout: conf.Timeout,
	}, conf.Concurrency, pluginPlace{d.stage + ".plugin", d.stage})
	if err != nil {
		return nil, err
	}
	return pluginStage{r}, nil
}

// use makes the draft's scripts the ones that are kept up to date. Those that no chain wants now are
// closed after the time that a request which has begun with them may take.
func (d *chainDraft) use(after time.Duration) {
	c := d.of
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.live
	c.live = d.wants
	for key, s := range old {
		if d.wants[key] != nil {
			continue
		}
		if !slices.ContainsFunc(slices.Collect(maps.Values(d.wants)), func(other *chainScript) bool { return other.sameFile(&s.chainSpec) }) {
			c.log.Info(s.word()+" removed", s.word(), s.name)
		}
		c.closing.Go(func() { // ends with close at the latest
			timer := time.NewTimer(after)
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-c.closed:
			}
			s.close()
		})
	}
}

// drop closes what the draft has opened and nobody uses.
func (d *chainDraft) drop() {
	d.of.mu.Lock()
	defer d.of.mu.Unlock()
	for key, s := range d.wants {
		if d.of.live[key] == nil {
			s.close()
		}
	}
}

// openStage is what stages are given to open their scripts with. The error is a stageMistakes.
func (d *chainDraft) openStage(spec script.Spec) (script.Runner, error) {
	notHost := func(host string) bool { return egress.CheckHost(host) != nil }
	s, err := d.open(chainSpec{kind: engine.Stage, path: spec.Path}, spec.Concurrency, spec.AllowHosts, spec.Secrets)
	if err != nil || slices.ContainsFunc(spec.AllowHosts, notHost) {
		return nil, &stageMistakes{hosts: spec.AllowHosts, script: err}
	}
	return stageRunner{s}, nil
}

// stageMistakes is why a stage can't have its script, for who knows where the stage stands.
type stageMistakes struct {
	hosts  []string // those that may be none are among them
	script error    // about the file; may be nil
}

func (*stageMistakes) Error() string { return "the script can't be run" }

// at are the mistakes of the stage with the key.
func (m *stageMistakes) at(conf *config.Config, key string) config.Mistakes {
	mistakes := checkHostsAt(conf, key+".allow_hosts", m.hosts)
	return conf.Collect(mistakes, key+".script", m.script)
}

// checkChainScripts compiles the scripts of all chains once, for check.
func checkChainScripts(conf *config.Config) (errs []error) {
	for _, path := range chainFiles(conf) {
		if _, err := compileHandler(isolated(conf), path); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// chainFiles are the files of the stages and sources that are scripts, each once.
func chainFiles(conf *config.Config) []string {
	d := bareDraft(conf)
	_, _ = assemble(conf, bareDeps(conf), d) // what is wrong otherwise is said elsewhere
	var files []string
	for _, s := range d.wants {
		files = append(files, s.path)
	}
	slices.SortFunc(files, strings.Compare)
	return slices.Compact(files)
}
