package pipedrive_test

import (
	"os"
	"testing"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/pipedrive/shape"
	"github.com/pipehook/pipehook/core/samples"
	"github.com/pipehook/pipehook/core/source/pipedrive"
)

func BenchmarkOneForm(b *testing.B) {
	f := definitions(b)
	known := pipedrive.Source{Fields: func() *shape.Fields { return f }, States: true}
	_, plain, _ := samples.For("change.deal")
	pair := func(version string) []byte {
		body, err := os.ReadFile("testdata/pairs/deal-updated." + version + ".json")
		if err != nil {
			b.Fatal(err)
		}
		return body
	}
	for _, bench := range []struct {
		name   string
		source pipedrive.Source
		body   []byte
	}{
		{"version 2", pipedrive.Source{}, plain}, {"version 2 with definitions and states", known, pair("v2")},
		{"version 1", pipedrive.Source{}, pair("v1")}, {"version 1 with definitions and states", known, pair("v1")},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.SetBytes(int64(len(bench.body)))
			b.ReportAllocs()
			for b.Loop() {
				if err := bench.source.Name(&core.Event{Body: bench.body}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestAStateIsTheSameInBothVersions(t *testing.T) {
	source := pipedrive.Source{States: true}
	for _, name := range []string{"deal-updated", "deal-deleted", "user-updated", "note-added", "stage-deleted"} {
		one, two := pairEvent(t, source, "testdata/pairs/"+name+".v1.json"), pairEvent(t, source, "testdata/pairs/"+name+".v2.json")
		if len(one.State) != 24 || string(one.State) != string(two.State) {
			t.Errorf("%s: %x and %x", name, one.State, two.State)
		}
	}
	if ev := pairEvent(t, pipedrive.Source{}, "testdata/pairs/deal-updated.v2.json"); ev.State != nil {
		t.Error("nobody asked for a state")
	}
}

func TestAFieldThatIsNotDefinedIsTold(t *testing.T) {
	var told []string
	none := shape.NewFields("", map[string][]shape.Field{"deal": {{Key: "title", Label: "Title"}}})
	source := pipedrive.Source{Fields: func() *shape.Fields { return none }, Unknown: func(object string, _ []string) { told = append(told, object) }}
	if ev := pairEvent(t, source, "testdata/pairs/deal-added.v2.json"); ev.Fields != nil || len(told) != 1 || told[0] != "deal" {
		t.Errorf("fields %s, told %v", ev.Fields, told)
	}
	pairEvent(t, source, "testdata/pairs/stage-added.v2.json")
	if len(told) != 1 {
		t.Errorf("told %v", told)
	}
}

func TestAnIDOfVersion1ThatIsNoIDIsNoTrouble(t *testing.T) {
	for _, id := range []string{"{}", "[]", "null", `{"a":1}`, "true"} {
		ev := name(t, []byte(oddID(id)))
		if ev.Type() != "updated.deal" || ev.ObjectID != "1" {
			t.Errorf("%s: %s %s", id, ev.Type(), ev.ObjectID)
		}
	}
}

// oddID is a body of version 1 whose records have this for an id.
func oddID(id string) string {
	return `{"v":1,"event":"updated.deal","meta":{"id":1,"action":"updated","object":"deal"},"current":{"id":` + id + `,"title":"b"},"previous":{"id":` + id + `,"title":"a"}}`
}
