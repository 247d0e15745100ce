package simulate_test

import (
	"encoding/json"
	"fmt"
	"math/rand"
	"testing"

	"github.com/pipehook/pipehook/core/pipedrive/shape"
	"github.com/pipehook/pipehook/core/pipedrive/simulate"
)

func TestBothVersionsOfTheAPIShowTheSameRecord(t *testing.T) {
	a := start(t, simulate.Options{})
	fill(t, a.Server, 300)
	if _, err := a.CRM().Act(rand.New(rand.NewSource(2)), 500, simulate.Mix{}); err != nil {
		t.Fatal(err)
	}
	defined := map[string][]shape.Field{}
	for _, object := range []string{"deal", "person", "organization"} {
		defined[object] = a.CRM().Fields(object)
	}
	fields := shape.NewFields("company", defined)
	for _, object := range []string{"deal", "person", "organization"} {
		t.Run(object, func(t *testing.T) {
			for _, rec := range a.CRM().List(object) {
				read := func(version int) shape.Record {
					got := a.do("GET", fmt.Sprintf("/api/v%d/%ss/%v", version, object, rec["id"]), "")
					read, err := shape.FromAPI(object, json.RawMessage(got.Data), fields)
					if err != nil {
						t.Fatal(err, got.Text)
					}
					return read
				}
				one, two := read(1), read(2)
				if diff := shape.Differ(one, two); len(diff) > 0 {
					t.Fatalf("%s %v differs in %v:\n%v\n%v", object, rec["id"], diff, one.Values, two.Values)
				}
			}
		})
	}
}
