package main

import (
	"context"
	"fmt"
	"log/slog"
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
			if slices.Contains(names, name) {
				continue
			}
			key := fmt.Sprintf("listener[%d]", slices.IndexFunc(conf.Listeners, func(one config.Listener) bool { return one.Name == l.Name }))
			wrong := "there is no custom field fields." + name + " of " + objectsText(l.Match)
			if !haveCustom(l.Match) {
				mistakes = append(mistakes, conf.Mistake(key, wrong+": "+bareText(l.Match), "leave it out, or match objects that have custom fields"))
				continue
			}
			hint := "pipehook pipedrive fields pull"
			if len(names) > 0 {
				hint = strict.Suggest(name, names)
			}
			mistakes = append(mistakes, conf.Mistake(key, wrong, hint))
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

// haveCustom reports whether any object of the patterns may have custom fields.
func haveCustom(match []core.Pattern) bool {
	return len(match) == 0 || slices.ContainsFunc(match, func(p core.Pattern) bool {
		o, known := shape.Find(p.Object())
		return !known || o.Custom
	})
}

// bareText says that the objects of the patterns have no custom fields.
func bareText(match []core.Pattern) string {
	if name := match[0].Object(); objectsText(match) == name {
		return name + "s have no custom fields"
	}
	return "they have no custom fields"
}

// tellFields logs the mistakes that check refuses. A process goes on with them: the definitions may have become others since.
func tellFields(ctx context.Context, conf *config.Config, log *slog.Logger) {
	nameless, wrong := checkFields(ctx, conf)
	for _, w := range nameless {
		log.Warn(w)
	}
	if wrong == nil {
		return
	}
	for _, one := range complaints(wrong) {
		log.Warn("custom fields are asked for that are not known", complaintAttrs(one)...)
	}
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
