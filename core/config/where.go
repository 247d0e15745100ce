package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/pipehook/pipehook/core"
)

// where reads a listener's condition. Its keys are paths and operators, so they are no fields.
func (d *decoder) where(key string, in any, into reflect.Value) {
	w, err := core.ParseWhere(in)
	for _, m := range whereMistakes(err) {
		at := key
		for _, step := range m.At {
			if i, ok := step.(int); ok {
				at = index(at, i)
			} else {
				at = join(at, fmt.Sprint(step))
			}
		}
		if !d.bad[at] {
			d.wrong(at, m.Msg, m.Hint)
		}
	}
	if err == nil {
		into.Set(reflect.ValueOf(w))
	}
}

func whereMistakes(err error) []*core.WhereMistake {
	switch e := err.(type) {
	case *core.WhereMistake:
		return []*core.WhereMistake{e}
	case interface{ Unwrap() []error }:
		var all []*core.WhereMistake
		for _, one := range e.Unwrap() {
			all = append(all, whereMistakes(one)...)
		}
		return all
	}
	return nil
}

// never refuses a listener that no event can reach. What its script matches is not known here, nor
// what a pattern means that could not be read.
func (d *decoder) never(key string, l *Listener) {
	match := l.Match
	if slices.Contains(match, core.Pattern{}) {
		match = nil
	}
	if at := join(key, "changed"); !d.badWithin(at) {
		if why := core.ImpossibleChanged(match, l.Changed); why != "" {
			d.wrong(at, "can never hold: "+why, "leave it out, or match updated or merged")
		}
	}
	if at := join(key, "where"); !d.badWithin(at) {
		for _, why := range l.Where.Impossible(match) {
			path, reason, _ := strings.Cut(why, ": ")
			d.wrong(join(at, path), "can never hold: "+reason, "ask for less, or match other events")
		}
	}
}

// fields refuses in changed the beginnings that paths have in where: there it names a field of the
// record alone.
func (d *decoder) fields(key string, l *Listener) {
	for i, field := range l.Changed {
		root, name, nested := strings.Cut(field, ".")
		if !nested {
			continue
		}
		switch at := index(join(key, "changed"), i); root {
		case "current", "previous":
			d.wrong(at, fmt.Sprintf("stands without %q: a field of the record is meant", root+"."), fmt.Sprintf("did you mean %q?", name))
		case "meta":
			d.wrong(at, "names a field of the record, and what is in meta does not change", "leave it out, or ask for its value with where")
		}
	}
}

// badWithin reports whether a key or something in it has a mistake.
func (d *decoder) badWithin(key string) bool {
	for at := range d.bad {
		if rest, in := strings.CutPrefix(at, key); in && (rest == "" || rest[0] == '.' || rest[0] == '[') {
			return true
		}
	}
	return false
}
