package config

import (
	"bytes"
	"fmt"
	"maps"
	"mime"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/knadh/koanf/parsers/toml/v2"
	"github.com/knadh/koanf/providers/rawbytes"
	"github.com/knadh/koanf/v2"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/strict"
)

// Options say what Load reads.
type Options struct {
	Path    string         // the file; also its name in messages
	Text    []byte         // read instead of the file when not nil
	Environ []string       // as os.Environ returns it
	Flags   map[string]any // the highest layer; keys such as "server.listen"
}

const (
	pipelineKey = "pipeline"
	listenerKey = "listener"
	stageKey    = "stage"
)

// Load reads the layers (defaults, file, environment, flags) and checks the result. The error is
// that of reading the file, or Mistakes with everything that is wrong. With Mistakes comes what
// could be read all the same, nil when the file is no TOML: not to run, but to look for mistakes
// that only others can find.
func Load(o Options) (*Config, error) {
	text := o.Text
	if text == nil {
		var err error
		if text, err = os.ReadFile(o.Path); err != nil {
			return nil, err
		}
	}
	text = bytes.TrimPrefix(text, []byte("\ufeff")) // some editors put it there
	file := koanf.New(delimiter)
	if err := file.Load(rawbytes.Provider(text), toml.Parser()); err != nil {
		return nil, Mistakes{syntaxMistake(o.Path, err)}
	}
	l := &loader{newDecoder(readDocument(o.Path, text))}
	tree, err := l.layers(file.Raw(), o)
	if err != nil {
		return nil, err
	}
	conf := l.config(o.Path, tree)
	return conf, slices.Clone(l.mistakes).Err()
}

// everything is what a listener that is built in gets when nothing else is said.
var everything = func() core.Pattern {
	p, err := core.ParsePattern("*.*")
	if err != nil {
		panic(err) // the text is in this file
	}
	return p
}()

type loader struct{ decoder }

func (l *loader) config(path string, tree map[string]any) *Config {
	p := defaults()
	l.table("", tree, reflect.ValueOf(&p).Elem(), pipelineKey, listenerKey)
	l.check("", &p)
	l.secrets("scripts.secrets", p.Scripts.Secrets)
	conf := &Config{Path: path, Server: p.Server, Store: p.Store, Admin: p.Admin, Log: p.Log, Scripts: p.Scripts, Plugins: p.Plugins, Spool: p.Spool, Pipedrive: p.Pipedrive, doc: l.doc}
	for i, table := range l.tables(pipelineKey, tree, "[[pipeline]]") {
		p := l.pipeline(index(pipelineKey, i), table, conf.Plugins.Limits)
		l.checkSource(index(pipelineKey, i), &p, conf.LongestGuest())
		conf.Pipelines = append(conf.Pipelines, p)
	}
	for i, table := range l.tables(listenerKey, tree, "[[listener]]") {
		listener := ListenerDefaults()
		listener.Limits = conf.Plugins.Limits
		l.structAt(index(listenerKey, i), table, &listener)
		l.checkRunner(index(listenerKey, i), &listener)
		if listener.Use != "" && len(listener.Match) == 0 {
			listener.Match = []core.Pattern{everything}
		}
		l.secrets(index(listenerKey, i)+".secrets", listener.Secrets)
		l.checkOrder(index(listenerKey, i), &listener)
		l.fields(index(listenerKey, i), &listener)
		l.never(index(listenerKey, i), &listener)
		conf.Listeners = append(conf.Listeners, listener)
	}
	l.unique(conf)
	return conf
}

// checkRunner refuses a listener that is not one of a script, a plugin and a kind that is built in.
func (l *loader) checkRunner(key string, listener *Listener) {
	named := 0
	for _, name := range []string{listener.Script, listener.Plugin, listener.Use} {
		if name != "" {
			named++
		}
	}
	switch {
	case l.bad[key] || l.bad[key+".script"] || l.bad[key+".plugin"] || l.bad[key+".use"]:
	case named > 1 && listener.Use != "":
		l.wrong(key+".use", "stands beside script or plugin, and a listener is one of them", "leave one out")
	case named > 1:
		l.wrong(key+".plugin", "stands beside script, and a listener is one of them", "leave one out")
	case named == 0:
		msg := isRequired
		if _, written := l.doc.places[key+".script"]; written {
			msg = "must not be empty"
		}
		l.wrong(key+".script", msg, "name the script, or the binary with plugin")
	case listener.Use != "":
		l.builtinKeys(key)
	default:
		l.othersKeys(key, listener.Plugin != "")
	}
}

// builtinKeys refuses the keys of scripts and plugins at a listener that is neither.
func (l *loader) builtinKeys(key string) {
	for _, name := range []string{"sha256", "config", "limits", "tls"} {
		l.refuse(key+"."+name, "is for plugins")
	}
	l.refuse(key+".allow_hosts", "is for scripts")
	l.refuse(key+".secrets", "is for scripts and plugins")
}

// othersKeys refuses the keys of a script at a plugin, and the other way round.
func (l *loader) othersKeys(key string, plugin bool) {
	if plugin {
		l.refuse(key+".allow_hosts", "is for scripts: a plugin goes where it wants")
		return
	}
	for _, name := range []string{"sha256", "config", "limits", "tls"} {
		l.refuse(key+"."+name, "is for plugins")
	}
}

// refuse makes a mistake of a key that is written.
func (l *loader) refuse(key, msg string) {
	if _, written := l.doc.places[key]; written && !l.badWithin(key) {
		l.wrong(key, msg, "leave it out")
	}
}

var secretPattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,63}$`)

// secrets refuses names that a script could not write behind ctx.secrets with a dot.
func (l *loader) secrets(key string, secrets map[string]core.Secret) {
	for _, name := range slices.Sorted(maps.Keys(secrets)) {
		if !secretPattern.MatchString(name) {
			l.wrong(join(key, name), "is no name for a secret: letters, digits and _, beginning with a letter or _, at most 64", "")
		}
	}
}

// checkSource refuses a file without a source that is one, and the other way round.
func (l *loader) checkSource(key string, p *Pipeline, longest time.Duration) {
	options := key + ".source_options"
	switch {
	case l.bad[key] || l.bad[key+".source"] || l.bad[key+".script"] || l.bad[key+".plugin"]:
	case p.Source == ScriptSource && p.Script == "":
		l.wrong(key+".script", isRequired, `name the file, such as script = "scripts/sources/acme.ts"`)
	case p.Source == PluginSource && p.Plugin == "":
		l.wrong(key+".plugin", isRequired, `name the binary, such as plugin = "acme"`)
	case p.Source != ScriptSource && p.Script != "":
		l.wrong(key+".script", `is for source = "script"`, "leave it out; a script that is a stage has a [[pipeline.stage]] of its own")
	case p.Source != PluginSource && p.Plugin != "":
		l.wrong(key+".plugin", `is for source = "plugin"`, "leave it out; a plugin that is a stage has a [[pipeline.stage]] of its own")
	case !p.OwnSource():
		l.refuse(options, `is for source = "script" and source = "plugin"`)
	default:
		l.othersKeys(options, p.Source == PluginSource)
		l.contentTypes(options+".content_types", p.SourceOptions.ContentTypes)
		if p.SourceOptions.Timeout > longest && longest > 0 && !l.reported(options+".timeout") && !l.bad["server.ack_within"] {
			l.wrong(options+".timeout", "must be at most "+strict.DurationText(longest)+", a quarter of server.ack_within", "the sender waits for the whole chain")
		}
	}
}

// contentTypes refuses what no header could be.
func (l *loader) contentTypes(key string, types []string) {
	for i, name := range types {
		media, params, err := mime.ParseMediaType(name)
		if err != nil || media != name || len(params) > 0 || !strings.Contains(name, "/") || strings.Contains(name, "*") {
			l.wrong(index(key, i), "is no media type", "write it in lower case and without parameters, such as application/xml")
		}
	}
}

// checkOrder refuses what only makes sense with an order.
func (l *loader) checkOrder(key string, listener *Listener) {
	if listener.Order != "none" {
		return
	}
	const hint = `leave order out, or write order = "record"`
	if listener.Stale == "drop" {
		l.wrong(key+".stale", `"drop" needs an order: without one, what is older may run at the same time`, hint)
	}
	if listener.Coalesce.Quiet > 0 {
		l.wrong(key+".coalesce", "needs an order: what is gathered is what comes for one record", hint)
	}
}

// tables are the elements of an array of tables.
func (l *loader) tables(key string, in map[string]any, header string) []map[string]any {
	v, ok := in[key[strings.LastIndex(key, ".")+1:]]
	if !ok {
		return nil
	}
	list, ok := v.([]any)
	if !ok {
		l.wrong(key, fmt.Sprintf("must be a list of tables, is %s", strict.Found(v)), "write "+header)
		return nil
	}
	tables := make([]map[string]any, len(list))
	for i, elem := range list {
		if tables[i], ok = elem.(map[string]any); !ok {
			l.wrong(index(key, i), fmt.Sprintf("must be a table, is %s", strict.Found(elem)), "")
		}
	}
	return tables
}

func (l *loader) pipeline(key string, table map[string]any, limits core.ProgramLimits) Pipeline {
	p := PipelineDefaults()
	p.SourceOptions.Limits = limits
	l.structAt(key, table, &p, stageKey)
	l.secrets(key+".source_options.secrets", p.SourceOptions.Secrets)
	at := join(key, stageKey)
	for i, stage := range l.tables(at, table, "[[pipeline.stage]]") {
		p.Stages = append(p.Stages, l.stage(index(at, i), stage))
	}
	if len(p.Stages) == 0 && !l.bad[at] && !l.bad[key] {
		l.wrong(key, "has no stage", "add at least one [[pipeline.stage]] with use = \"…\"")
	}
	return p
}

// stage leaves all but the kind to be decoded once it is known who reads it.
func (l *loader) stage(key string, table map[string]any) Stage {
	var head struct {
		Use string `koanf:"use"`
	}
	at := join(key, "use")
	if use, ok := table["use"]; ok {
		l.value(at, use, reflect.ValueOf(&head.Use).Elem())
	}
	if head.Use == "" && !l.bad[at] && !l.bad[key] {
		l.withoutUse(key, table)
	}
	return Stage{Use: head.Use, Key: key, Decode: func(into any) error {
		own := newDecoder(l.doc)
		for _, m := range l.mistakes {
			if strings.HasPrefix(m.Key, key+".") {
				own.mistakes = append(own.mistakes, m)
				own.bad[m.Key] = true
			}
		}
		own.structAt(key, table, into, "use")
		return own.mistakes.Err()
	}}
}

// withoutUse says that a stage has no kind. Its other keys are not known then, but the one that was
// meant may be.
func (l *loader) withoutUse(key string, table map[string]any) {
	for _, name := range slices.Sorted(maps.Keys(table)) {
		if hint := strict.Suggest(name, []string{"use"}); strings.HasPrefix(hint, "did you mean") {
			l.wrong(join(key, name), "unknown key", hint)
			return
		}
	}
	l.wrong(key, "use is required", "write use = \"persist\" or another kind of stage")
}

// structAt decodes a table into a struct and checks it. The keys elsewhere are read by others.
func (d *decoder) structAt(key string, table map[string]any, into any, elsewhere ...string) {
	d.table(key, table, reflect.ValueOf(into).Elem(), elsewhere...)
	d.check(key, into)
}

// unique refuses two of one name, two pipelines at one path and two listeners at one address.
func (l *loader) unique(conf *Config) {
	names, paths := map[string]string{}, map[string]string{}
	for i, p := range conf.Pipelines {
		l.once(names, p.Name, index(pipelineKey, i)+".name")
		l.once(paths, p.Path, index(pipelineKey, i)+".path")
	}
	names = map[string]string{}
	for i, listener := range conf.Listeners {
		l.once(names, listener.Name, index(listenerKey, i)+".name")
	}
	if !strings.HasSuffix(conf.Server.Listen, ":0") { // any free port
		addresses := map[string]string{}
		l.once(addresses, conf.Server.Listen, "server.listen")
		l.once(addresses, conf.Admin.Listen, "admin.listen")
	}
}

func (l *loader) once(seen map[string]string, value, key string) {
	if value == "" || l.bad[key] {
		return
	}
	first, twice := seen[value]
	if !twice {
		seen[value] = key
		return
	}
	msg := "is the same as " + first
	if l.doc.shows(key) {
		msg = fmt.Sprintf("%q is taken by %s", value, first)
	}
	l.wrong(key, msg, "give each its own")
}
