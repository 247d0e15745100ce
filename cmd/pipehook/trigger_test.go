package main

import (
	"testing"

	"github.com/pipehook/pipehook/core/config"
)

func TestAPipelineIsChosenWhereOnlyOneCanBeMeant(t *testing.T) {
	crm, acme, other := config.Pipeline{Name: "crm", Source: "pipedrive"}, config.Pipeline{Name: "acme", Source: config.ScriptSource}, config.Pipeline{Name: "other", Source: "pipedrive"}
	for name, test := range map[string]struct {
		all    []config.Pipeline
		chosen string
		sample bool
		want   string // empty for a refusal
	}{
		"there is one":                              {[]config.Pipeline{acme}, "", false, "acme"},
		"one understands samples":                   {[]config.Pipeline{acme, crm}, "", true, "crm"},
		"a file may be for either":                  {[]config.Pipeline{acme, crm}, "", false, ""},
		"two understand samples":                    {[]config.Pipeline{acme, crm, other}, "", true, ""},
		"one is named":                              {[]config.Pipeline{acme, crm, other}, "other", true, "other"},
		"a pipeline that is not there is a mistake": {[]config.Pipeline{crm}, "nosuch", true, ""},
	} {
		p, err := choosePipeline(&config.Config{Pipelines: test.all}, test.chosen, test.sample)
		if p.Name != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%s: got %q and error %v, want %q", name, p.Name, err, test.want)
		}
	}
}
