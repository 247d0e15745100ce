package pipedrive

import (
	"github.com/tidwall/gjson"

	"github.com/pipehook/pipehook/core"
)

// flaw is the first field in which the body is not of the documented shape. What Pipedrive may add
// is no flaw, and neither is an id that stands in the data only.
func flaw(ev *core.Event, env *envelope) string {
	switch {
	case env.double != "":
		return env.double + " stands twice"
	case !env.meta.Exists():
		return "meta is required"
	case !env.meta.IsObject():
		return "meta must be an object"
	}
	var found string
	if env.version2() {
		found = checkV2(env)
	} else {
		found = checkV1(env)
	}
	if found == "" && ev.ObjectID == "" {
		return "the object's id is required, in meta or in the data"
	}
	return found
}

func checkV2(env *envelope) string {
	m := &env.m
	for _, field := range []struct {
		name  string
		value gjson.Result
	}{{"meta.action", m.action}, {"meta.entity", m.entity}} {
		if found := needText(field.name, field.value); found != "" {
			return found
		}
	}
	if !env.data.Exists() && !env.previous.Exists() {
		return "data or previous is required"
	}
	return needObjects("data", env.data, env.previous)
}

func checkV1(env *envelope) string {
	m := &env.m
	eventAction, eventObject := splitEvent(env.event.String())
	if eventAction == "" || m.action.Exists() {
		if found := needText("meta.action", m.action); found != "" {
			return found
		}
	}
	if eventObject == "" || m.object.Exists() {
		if found := needText("meta.object", m.object); found != "" {
			return found
		}
	}
	if !env.current.Exists() && !env.previous.Exists() {
		return "current or previous is required"
	}
	return needObjects("current", env.current, env.previous)
}

func needText(name string, v gjson.Result) string {
	switch {
	case !present(v):
		return name + " is required"
	case v.Type != gjson.String || v.Str == "":
		return name + " must be text"
	}
	return ""
}

func needObjects(name string, now, before gjson.Result) string {
	for _, field := range []struct {
		name  string
		value gjson.Result
	}{{name, now}, {"previous", before}} {
		v := single(field.value)
		if present(field.value) && !v.IsObject() {
			return field.name + " must be an object or null"
		}
	}
	return ""
}
