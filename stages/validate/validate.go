// Package validate is the stage that refuses what is not of the shape its sender documents: too
// deep, a field that is missing or of another type, or, where the user gives a JSON Schema, what
// breaks it. It changes nothing.
package validate

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/jsonscan"
)

// Config is the stage's table in the file.
type Config struct {
	// MaxDepth is how deep a body may be nested.
	MaxDepth int `koanf:"max_depth" validate:"gte=1,lte=512"`
	// MaxBytes is how large a body may be for this pipeline; 0 leaves it to server.max_body.
	MaxBytes int `koanf:"max_bytes" validate:"gte=0"`
	// Schema names a JSON Schema file for each pattern; a body must fit all whose pattern chooses it.
	Schema map[string]string `koanf:"schema"`
}

// Deps are what Factory needs.
type Deps struct {
	Resolve func(path string) string // makes a path of the configuration absolute
}

// Factory makes validate stages.
func Factory(deps Deps) core.Factory {
	return core.Factory{Kind: "validate", New: func(decode core.Decode, _ core.Place) (core.Stage, error) {
		conf := Config{MaxDepth: 64}
		if err := decode(&conf); err != nil {
			return nil, err
		}
		s := &stage{conf: conf}
		var wrong error
		for _, pattern := range slices.Sorted(maps.Keys(conf.Schema)) {
			rule, err := compile(pattern, deps.Resolve(conf.Schema[pattern]))
			s.rules, wrong = append(s.rules, rule), also(wrong, err)
		}
		if wrong != nil {
			return nil, wrong
		}
		return s, nil
	}}
}

// also keeps two mistakes on one line, which is what an error of the configuration is shown on.
func also(before, err error) error {
	if before == nil || err == nil {
		return cmp.Or(before, err)
	}
	return fmt.Errorf("%w; %w", before, err)
}

type stage struct {
	conf  Config
	rules []rule
}

func (s *stage) Process(_ context.Context, ev *core.Event) (core.Verdict, error) {
	if s.conf.MaxBytes > 0 && len(ev.Body) > s.conf.MaxBytes {
		return core.Continue, refuse(core.TooLarge, "the body is larger than %d bytes", s.conf.MaxBytes)
	}
	if jsonscan.Depth(ev.Body, s.conf.MaxDepth) > s.conf.MaxDepth {
		return core.Continue, refuse(core.Malformed, "the body is nested deeper than %d", s.conf.MaxDepth)
	}
	if ev.Flaw != "" {
		return core.Continue, refuse(core.Invalid, "%s", ev.Flaw)
	}
	return core.Continue, s.checkSchemas(ev)
}

func (s *stage) checkSchemas(ev *core.Event) error {
	var doc any
	for _, r := range s.rules {
		if !r.pattern.Match(ev) {
			continue
		}
		if doc == nil {
			var err error
			if doc, err = jsonschema.UnmarshalJSON(bytes.NewReader(ev.Body)); err != nil {
				return refuse(core.Malformed, "the body is not valid JSON")
			}
			if at, odd := oddNumber(doc, nil); odd {
				return refuse(core.Invalid, "%s is a number too long to be checked", pointer(at))
			}
		}
		if err := r.schema.Validate(doc); err != nil {
			return refuse(core.Invalid, "the body breaks the schema for %s: %s", r.pattern, explain(err))
		}
	}
	return nil
}

func explain(err error) string {
	if broken, ok := errors.AsType[*jsonschema.ValidationError](err); ok {
		return reason(broken)
	}
	return "it can't be checked"
}

func refuse(k core.Kind, format string, args ...any) error {
	return &core.Error{Kind: k, Msg: fmt.Sprintf(format, args...)}
}
