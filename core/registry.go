package core

import (
	"fmt"
	"slices"
	"strings"
)

// Decode fills a stage's Config from its own table of the configuration. The Config holds the
// defaults when it is called. It fails on unknown keys and on values the Config's tags refuse,
// naming each with its place.
type Decode func(into any) error

// Place is where in which chain a stage stands.
type Place struct {
	Pipeline string
	Source   Source
	Kinds    []string // of the whole chain, in order
	Index    int      // of this stage in Kinds
}

// Next is the kind of the following stage, empty for the last.
func (p Place) Next() string {
	if p.Index+1 < len(p.Kinds) {
		return p.Kinds[p.Index+1]
	}
	return ""
}

// Factory makes the stages of one kind. New decodes the stage's own table and acquires nothing
// that would have to be released.
type Factory struct {
	Kind string // what the user writes in use = "…"
	New  func(decode Decode, at Place) (Stage, error)
}

// Registry is the set of stage kinds there are.
type Registry struct{ factories map[string]Factory }

// NewRegistry fails when two factories claim one kind.
func NewRegistry(factories ...Factory) (Registry, error) {
	r := Registry{factories: make(map[string]Factory, len(factories))}
	for _, f := range factories {
		if _, double := r.factories[f.Kind]; double {
			return Registry{}, fmt.Errorf("stage kind %q is registered twice", f.Kind)
		}
		r.factories[f.Kind] = f
	}
	return r, nil
}

// New makes the stage that stands at the place.
func (r Registry) New(decode Decode, at Place) (Stage, error) {
	kind := at.Kinds[at.Index]
	f, ok := r.factories[kind]
	if !ok {
		return nil, &Error{Kind: Invalid, Msg: fmt.Sprintf("unknown stage kind %q; there are %s", kind, strings.Join(r.Kinds(), ", "))}
	}
	return f.New(decode, at)
}

// Kinds lists the kinds by name.
func (r Registry) Kinds() []string {
	kinds := make([]string, 0, len(r.factories))
	for kind := range r.factories {
		kinds = append(kinds, kind)
	}
	slices.Sort(kinds)
	return kinds
}
