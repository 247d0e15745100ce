package config

import (
	"fmt"
	"reflect"

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
	into.Set(reflect.ValueOf(w))
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
