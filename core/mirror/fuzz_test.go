package mirror_test

import (
	"testing"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/coretest/testdb"
	"github.com/pipehook/pipehook/core/mirror"
	"github.com/pipehook/pipehook/core/samples"
	"github.com/pipehook/pipehook/core/source/pipedrive"
)

// Whatever a body holds, it is written or refused for good: it is never the database that fails.
func FuzzAnyBody(f *testing.F) {
	for _, name := range samples.Names() {
		body, _ := samples.Body(name)
		f.Add(body)
	}
	m := open(f, testdb.SQLite(f))
	f.Fuzz(func(t *testing.T, body []byte) {
		ev := core.Event{ID: "0190", Source: mirror.Source, Body: body}
		if err := (pipedrive.Source{}).Name(&ev); err != nil {
			return
		}
		for range 2 {
			if err := m.Handle(t.Context(), ev); err != nil && core.KindOf(err) != core.Permanent {
				t.Fatalf("%v", err)
			}
		}
	})
}
