package config

import (
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/v2"

	"github.com/pipehook/pipehook/core/strict"
)

// delimiter joins keys inside koanf. Nobody types it, so a key may hold a dot.
const delimiter = "\x1f"

const envPrefix = "PIPEHOOK_"

// layers puts the environment and the flags over the file's tree. Their keys are checked before
// they are merged: an unknown one could replace a table by a text.
func (l *loader) layers(file map[string]any, o Options) (map[string]any, error) {
	environ, err := newEnvironment(o.Environ, filepath.Dir(o.Path))
	if err != nil {
		l.mistakes = append(l.mistakes, Mistake{File: filepath.Join(filepath.Dir(o.Path), ".env"), Msg: err.Error()})
	}
	expanded, _ := l.expand("", file, environ).(map[string]any)
	k := koanf.New(delimiter)
	if err := k.Load(confmap.Provider(expanded, ""), nil); err != nil {
		return nil, err
	}
	known := keysOf("", reflect.TypeFor[plain]())
	err = k.Load(env.Provider(delimiter, env.Opt{
		EnvironFunc: environ.all,
		TransformFunc: func(name, value string) (string, any) {
			key, ok := envKey(name)
			if !ok || !l.above(key, name, known) {
				return "", nil
			}
			return strings.ReplaceAll(key, ".", delimiter), value
		},
	}), nil)
	if err != nil {
		return nil, fmt.Errorf("environment: %w", err)
	}
	flags := map[string]any{}
	for _, key := range slices.Sorted(maps.Keys(o.Flags)) {
		if l.above(key, "command line", known) {
			flags[strings.ReplaceAll(key, ".", delimiter)] = flagValue(o.Flags[key])
		}
	}
	if err := k.Load(confmap.Provider(flags, delimiter), nil); err != nil {
		return nil, fmt.Errorf("flags: %w", err)
	}
	return k.Raw(), nil
}

// envKey is the key that a variable sets. Names without __ are for ${…}, such as
// PIPEHOOK_ADMIN_TOKEN.
func envKey(name string) (key string, ok bool) {
	if len(name) < len(envPrefix) || !strings.EqualFold(name[:len(envPrefix)], envPrefix) {
		return "", false
	}
	name = strings.ToLower(name[len(envPrefix):])
	return strings.ReplaceAll(name, "__", "."), strings.Contains(name, "__")
}

// above notes that a key is set above the file, and by what, or that there is no such key.
func (l *loader) above(key, origin string, known []string) bool {
	table, name, _ := strings.Cut(key, ".")
	if slices.Contains(known, key) {
		l.doc.origins[key] = origin
		return true
	}
	m := Mistake{File: origin, Key: key, Msg: "unknown key"}
	var tables, names []string
	for _, k := range known {
		t, n, _ := strings.Cut(k, ".")
		if tables = append(tables, t); t == table {
			names = append(names, n)
		}
	}
	switch {
	case table == pipelineKey || table == listenerKey:
		m.Msg = "pipelines and listeners are read from the file only"
	case names != nil:
		m.Hint = strict.Suggest(name, names)
	default:
		m.Hint = strict.Suggest(table, tables)
	}
	l.mistakes = append(l.mistakes, m)
	return false
}

// flagValue turns what a flag library hands out into the types of a TOML tree; the rest is
// converted from text, as in the environment.
func flagValue(v any) any {
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.Bool:
		return r.Bool()
	case reflect.String: // a Secret prints as something else
		return r.String()
	case reflect.Slice:
		list := make([]any, r.Len())
		for i := range list {
			list[i] = flagValue(r.Index(i).Interface())
		}
		return list
	default:
		return fmt.Sprint(v)
	}
}
