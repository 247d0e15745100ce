package pipedrive

import (
	"github.com/tidwall/gjson"

	"github.com/pipehook/pipehook/core"
)

// flaw is the first field in which the body is not of the documented shape. What Pipedrive may add
// is no flaw, and neither is an id that stands in the data only.
func flaw(ev *core.Event, env *envelope) string {
	switch {
	case env.ambiguous != "":
		return env.ambiguous
	case !present(env.meta):
		return "meta is required"
	case !env.meta.IsObject():
		return "meta must be an object"
	}
	var found string
	id := env.m.entityID
	if env.version2() {
		found = checkV2(env)
	} else {
		found = checkV1(env)
		id = env.m.id
	}
	switch {
	case found != "" || ev.ObjectID != "":
		return found
	case present(id) && scalar(id) != "":
		return "the object's id must be a number or short printable text"
	}
	return "the object's id is required, in meta or in the data"
}

func checkV2(env *envelope) string {
	m := &env.m
	if found := needWord("meta.action", m.action); found != "" {
		return found
	}
	if found := needWord("meta.entity", m.entity); found != "" {
		return found
	}
	if !env.data.Exists() && !env.previous.Exists() {
		return "data or previous is required"
	}
	return needObjects("data", env.data, env.previous)
}

// checkV1 lets the top level's "updated.deal" stand for what meta does not say.
func checkV1(env *envelope) string {
	m := &env.m
	action, object := env.eventV1()
	if action == "" || m.action.Exists() {
		if found := needWord("meta.action", m.action); found != "" {
			return found
		}
	}
	if object == "" || m.object.Exists() {
		if found := needWord("meta.object", m.object); found != "" {
			return found
		}
	}
	if !env.current.Exists() && !env.previous.Exists() {
		return "current or previous is required"
	}
	return needObjects("current", env.current, env.previous)
}

func needWord(name string, v gjson.Result) string {
	switch {
	case !present(v):
		return name + " is required"
	case v.Type != gjson.String || v.Str == "":
		return name + " must be text"
	case !storable(v.Str):
		return name + " must be short printable text"
	}
	return ""
}

func needObjects(name string, now, before gjson.Result) string {
	if !objects(now) {
		return name + " must be an object or null"
	}
	if !objects(before) {
		return "previous must be an object or null"
	}
	return ""
}

// objects takes an array too: version 1 sends users so, and an empty one may stand for an object
// without members.
func objects(v gjson.Result) bool {
	first := single(v)
	return !present(v) || first.IsObject() || v.IsArray() && !first.Exists()
}
