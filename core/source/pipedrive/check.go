package pipedrive

import (
	"fmt"

	"github.com/tidwall/gjson"

	"github.com/pipehook/pipehook/core"
)

// Check reports the first field in which the body is not of the documented shape. What Pipedrive
// may add is not refused, and neither is an id that stands in the data only.
func (Source) Check(ev *core.Event) error {
	env, err := read(ev.Body)
	if err != nil {
		return err
	}
	if env.double != "" {
		return invalid("%s stands twice", env.double)
	}
	if !env.meta.Exists() {
		return invalid("meta is required")
	}
	if !env.meta.IsObject() {
		return invalid("meta must be an object")
	}
	if env.version2() {
		err = checkV2(&env)
	} else {
		err = checkV1(&env)
	}
	if err == nil && ev.ObjectID == "" {
		err = invalid("the object's id is required, in meta or in the data")
	}
	return err
}

func checkV2(env *envelope) error {
	m := &env.m
	for _, field := range []struct {
		name  string
		value gjson.Result
	}{{"meta.action", m.action}, {"meta.entity", m.entity}} {
		if err := needText(field.name, field.value); err != nil {
			return err
		}
	}
	if !env.data.Exists() && !env.previous.Exists() {
		return invalid("data or previous is required")
	}
	return needObjects("data", env.data, env.previous)
}

func checkV1(env *envelope) error {
	m := &env.m
	eventAction, eventObject := splitEvent(env.event.String())
	if eventAction == "" || m.action.Exists() {
		if err := needText("meta.action", m.action); err != nil {
			return err
		}
	}
	if eventObject == "" || m.object.Exists() {
		if err := needText("meta.object", m.object); err != nil {
			return err
		}
	}
	if !env.current.Exists() && !env.previous.Exists() {
		return invalid("current or previous is required")
	}
	return needObjects("current", env.current, env.previous)
}

func needText(name string, v gjson.Result) error {
	switch {
	case !present(v):
		return invalid("%s is required", name)
	case v.Type != gjson.String || v.Str == "":
		return invalid("%s must be text", name)
	}
	return nil
}

func needObjects(name string, now, before gjson.Result) error {
	for _, field := range []struct {
		name  string
		value gjson.Result
	}{{name, now}, {"previous", before}} {
		v := single(field.value)
		if present(field.value) && !v.IsObject() {
			return invalid("%s must be an object or null", field.name)
		}
	}
	return nil
}

func invalid(format string, args ...any) error {
	return &core.Error{Kind: core.Invalid, Msg: fmt.Sprintf(format, args...)}
}
