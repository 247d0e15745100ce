package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/pipedrive/shape"
	"github.com/pipehook/pipehook/core/strict"
)

// askedFields are the names of custom fields that a listener asks for in changed and where.
func askedFields(l *config.Listener) []string {
	names := l.Where.FieldNames()
	for _, field := range l.Changed {
		rest, ok := strings.CutPrefix(field, "fields.")
		if name, _, _ := strings.Cut(rest, "."); ok && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// checkFields refuses names of custom fields that none of the listener's objects has. Without definitions it
// can only say where they come from.
func checkFields(ctx context.Context, conf *config.Config) (warnings []string, err error) {
	if wrong := definitions.look(); wrong != nil {
		return nil, conf.Mistake("pipedrive.fields", wrong.Error(), "pipehook pipedrive fields pull")
	}
	if !slices.ContainsFunc(conf.Listeners, func(l config.Listener) bool { return len(askedFields(&l)) > 0 }) {
		return nil, nil
	}
	known, err := knownListeners(ctx, conf)
	if err != nil {
		return nil, nil // that it is wrong is said elsewhere
	}
	f := definitions.fields()
	var mistakes config.Mistakes
	for _, l := range known {
		asked := askedFields(&l.Listener)
		if len(asked) > 0 && f == nil {
			warnings = append(warnings, fmt.Sprintf("listener %s: whether there are fields.%s is not known: run pipehook pipedrive fields pull", l.Name, strings.Join(asked, ", fields.")))
			continue
		}
		names := fieldNames(f, l.Match)
		for _, name := range asked {
			if !slices.Contains(names, name) {
				at := slices.IndexFunc(conf.Listeners, func(one config.Listener) bool { return one.Name == l.Name })
				mistakes = append(mistakes, conf.Mistake(fmt.Sprintf("listener[%d]", at), "there is no custom field fields."+name+" of "+objectsText(l.Match), strict.Suggest(name, names)))
			}
		}
	}
	return warnings, mistakes.Err()
}

// fieldNames are the custom fields of what the patterns choose, by name.
func fieldNames(f *shape.Fields, match []core.Pattern) []string {
	objects := make([]string, 0, len(match))
	for _, p := range match {
		objects = append(objects, p.Object())
	}
	if len(match) == 0 || slices.Contains(objects, "*") {
		objects = f.Objects()
	}
	var names []string
	for _, object := range objects {
		for _, field := range f.Of(object) {
			if field.Custom {
				names = append(names, field.Name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func objectsText(match []core.Pattern) string {
	var objects []string
	for _, p := range match {
		if p.Object() == "*" {
			return "any object"
		}
		if !slices.Contains(objects, p.Object()) {
			objects = append(objects, p.Object())
		}
	}
	if len(objects) == 0 {
		return "any object"
	}
	return strings.Join(objects, " or ")
}
