package config

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/knadh/koanf/parsers/toml/v2"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/rawbytes"
	"github.com/knadh/koanf/v2"

	"github.com/pipehook/pipehook/core"
)

// Options say what Load reads.
type Options struct {
	Path    string         // the file; also its name in messages
	Text    []byte         // read instead of the file when not nil
	Environ []string       // as os.Environ returns it
	Flags   map[string]any // the highest layer; keys such as "server.listen"
}

// delimiter joins keys inside koanf. Nobody can type it, so a key may hold a dot.
const delimiter = "\x1f"

const envPrefix = "PIPEHOOK_"

// Load reads the layers (defaults, file, environment, flags) and checks the result. The error is
// Mistakes with everything that is wrong, or that of reading the file.
func Load(o Options) (*Config, error) {
	text := o.Text
	if text == nil {
		var err error
		if text, err = os.ReadFile(o.Path); err != nil {
			return nil, err
		}
	}
	k := koanf.New(delimiter)
	if err := k.Load(rawbytes.Provider(text), toml.Parser()); err != nil {
		return nil, Mistakes{syntaxMistake(o.Path, err)}
	}
	l := &loader{decoder: decoder{doc: readDocument(o.Path, text)}}
	l.tree = l.expandAll(k.Raw(), o)
	overrides, err := l.overrides(o)
	if err != nil {
		return nil, err
	}
	if err := k.Load(confmap.Provider(l.tree, ""), nil); err != nil {
		return nil, err
	}
	if err := k.Load(confmap.Provider(overrides, delimiter), nil); err != nil {
		return nil, err
	}
	l.tree = k.Raw()
	conf := l.config(o.Path)
	if err := l.mistakes.Err(); err != nil {
		return nil, err
	}
	return conf, nil
}

type loader struct {
	decoder
	tree map[string]any
	over map[string]bool // keys that the environment or a flag sets
}

func (l *loader) expandAll(tree map[string]any, o Options) map[string]any {
	environ, err := newEnvironment(o.Environ, filepath.Dir(o.Path))
	if err != nil {
		l.wrong("", err.Error(), "")
	}
	expanded, _ := l.expand("", tree, environ).(map[string]any)
	return expanded
}

// overrides are the layers above the file, as one flat map.
func (l *loader) overrides(o Options) (map[string]any, error) {
	k := koanf.New(delimiter)
	err := k.Load(env.Provider(delimiter, env.Opt{
		Prefix: envPrefix, EnvironFunc: func() []string { return o.Environ },
		TransformFunc: func(name, value string) (string, any) {
			key := strings.TrimPrefix(name, envPrefix)
			if !strings.Contains(key, "__") { // names for ${…}, such as PIPEHOOK_ADMIN_TOKEN
				return "", nil
			}
			return strings.ReplaceAll(strings.ToLower(key), "__", delimiter), value
		},
	}), nil)
	if err != nil {
		return nil, fmt.Errorf("environment: %w", err)
	}
	all := k.All()
	for key, value := range o.Flags {
		all[strings.ReplaceAll(key, ".", delimiter)] = value
	}
	l.over = make(map[string]bool, len(all))
	for key := range all {
		l.over[strings.ReplaceAll(key, delimiter, ".")] = true
	}
	l.weak = func(key string) bool { return l.over[key] }
	return all, nil
}

func (l *loader) config(path string) *Config {
	p := defaults()
	top := map[string]any{}
	for name, v := range l.tree {
		if name != "pipeline" && name != "listener" {
			top[name] = v
		}
	}
	l.top(top, &p)
	conf := &Config{Path: path, Server: p.Server, Store: p.Store, Admin: p.Admin, Log: p.Log, Scripts: p.Scripts, doc: l.doc}
	l.check("", &p)
	for i, table := range l.tables("pipeline") {
		conf.Pipelines = append(conf.Pipelines, l.pipeline(fmt.Sprintf("pipeline[%d]", i), table))
	}
	for i, table := range l.tables("listener") {
		conf.Listeners = append(conf.Listeners, l.listener(fmt.Sprintf("listener[%d]", i), table))
	}
	l.unique(conf)
	return conf
}

// top decodes the plain tables. pipeline and listener are known too, though not among its fields.
func (l *loader) top(tables map[string]any, p *plain) {
	into := reflect.ValueOf(p).Elem()
	fields := fieldsOf(into.Type())
	for name, v := range tables {
		if i, known := fields[name]; known {
			l.value(name, v, into.Field(i))
			continue
		}
		l.wrong(name, "unknown key", suggest(name, []string{"admin", "listener", "log", "pipeline", "scripts", "server", "store"}))
	}
}

// tables are the elements of an array of tables.
func (l *loader) tables(name string) []map[string]any {
	v, ok := l.tree[name]
	if !ok {
		return nil
	}
	return l.tableList(name, v)
}

func (l *loader) tableList(key string, v any) []map[string]any {
	list, ok := v.([]any)
	if !ok {
		l.wrong(key, fmt.Sprintf("must be a list of tables, is %s", found(v)), fmt.Sprintf("write [[%s]]", lastName(key)))
		return nil
	}
	tables := make([]map[string]any, 0, len(list))
	for i, elem := range list {
		table, ok := elem.(map[string]any)
		if !ok {
			l.wrong(fmt.Sprintf("%s[%d]", key, i), fmt.Sprintf("must be a table, is %s", found(elem)), "")
			table = map[string]any{}
		}
		tables = append(tables, table)
	}
	return tables
}

func lastName(key string) string {
	name := key[strings.LastIndex(key, ".")+1:]
	if name == "stage" {
		return "pipeline.stage"
	}
	return name
}

func (l *loader) pipeline(key string, table map[string]any) Pipeline {
	var p Pipeline
	rest := map[string]any{}
	for name, v := range table {
		if name != "stage" {
			rest[name] = v
		}
	}
	l.structAt(key, rest, &p, "stage")
	if stages, ok := table["stage"]; ok {
		for i, stage := range l.tableList(key+".stage", stages) {
			p.Stages = append(p.Stages, l.stage(fmt.Sprintf("%s.stage[%d]", key, i), stage))
		}
	}
	if len(p.Stages) == 0 {
		l.wrong(key, "has no stage", "add at least one [[pipeline.stage]] with use = \"…\"")
	}
	return p
}

func (l *loader) stage(key string, table map[string]any) Stage {
	use, ok := table["use"].(string)
	if !ok || use == "" {
		l.wrong(key, "use is required", "write use = \"persist\" or another kind of stage")
	}
	rest := map[string]any{}
	for name, v := range table {
		if name != "use" {
			rest[name] = v
		}
	}
	doc := l.doc
	return Stage{Use: use, Key: key, Decode: func(into any) error {
		own := &loader{decoder: decoder{doc: doc}}
		own.structAt(key, rest, into)
		return own.mistakes.Err()
	}}
}

func (l *loader) listener(key string, table map[string]any) Listener {
	listener := ListenerDefaults()
	l.structAt(key, table, &listener)
	return listener
}

// structAt decodes a table into a struct and checks it. The further names are known keys that are
// decoded elsewhere.
func (l *loader) structAt(key string, table map[string]any, into any, further ...string) {
	target := reflect.ValueOf(into).Elem()
	fields := fieldsOf(target.Type())
	for name, v := range table {
		at := join(key, name)
		if i, known := fields[name]; known {
			l.value(at, v, target.Field(i))
			continue
		}
		names := further
		for field := range fields {
			names = append(names, field)
		}
		l.wrong(at, "unknown key", suggest(name, sorted(names)))
	}
	l.check(key, into)
}

// unique refuses two of one name, and two pipelines at one path.
func (l *loader) unique(conf *Config) {
	names, paths := map[string]string{}, map[string]string{}
	for i, p := range conf.Pipelines {
		key := fmt.Sprintf("pipeline[%d]", i)
		l.once(names, p.Name, key+".name")
		l.once(paths, p.Path, key+".path")
	}
	names = map[string]string{}
	for i, listener := range conf.Listeners {
		l.once(names, listener.Name, fmt.Sprintf("listener[%d].name", i))
	}
}

func (l *loader) once(seen map[string]string, value, key string) {
	if value == "" {
		return
	}
	if first, twice := seen[value]; twice {
		l.wrong(key, fmt.Sprintf("%q is taken by %s", value, first), "give each its own")
		return
	}
	seen[value] = key
}

var _ core.Decode = Stage{}.Decode

// Keys lists every key of the file but those of the stages, such as server.listen.
func Keys() []string {
	keys := keysOf("", reflect.TypeFor[plain]())
	keys = append(keys, keysOf("pipeline", reflect.TypeFor[Pipeline]())...)
	return append(keys, keysOf("listener", reflect.TypeFor[Listener]())...)
}

// StageKeys lists the keys of a stage's Config.
func StageKeys(conf any) []string { return keysOf("", reflect.TypeOf(conf)) }

func keysOf(table string, t reflect.Type) []string {
	var keys []string
	for i := range t.NumField() {
		name := t.Field(i).Tag.Get("koanf")
		if name == "" || name == "-" {
			continue
		}
		inner := t.Field(i).Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Struct && len(fieldsOf(inner)) > 0 {
			keys = append(keys, keysOf(join(table, name), inner)...)
		} else {
			keys = append(keys, join(table, name))
		}
	}
	return keys
}
