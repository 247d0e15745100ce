package sdk_test

import (
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/pipehook/pipehook/plugins/sdk"
)

func TestEveryFieldOfAnEventIsDescribed(t *testing.T) {
	text, err := os.ReadFile("../../docs/plugins.md")
	if err != nil {
		t.Fatal(err)
	}
	internal := []string{"State", "Plan", "Overlay", "Steps", "Refused"}
	for field := range reflect.TypeFor[sdk.Event]().Fields() {
		if !field.IsExported() || slices.Contains(internal, field.Name) {
			continue
		}
		row := "\n| `" + field.Name + "` | `" + strings.ReplaceAll(field.Type.String(), "[]uint8", "[]byte") + "` | "
		if !strings.Contains(string(text), row) {
			t.Errorf("docs/plugins.md has no row %q", row)
		}
	}
}
