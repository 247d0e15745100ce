package typings_test

import (
	"os"
	"strings"
	"testing"

	"github.com/pipehook/pipehook/core/jshost/typings"
	"github.com/pipehook/pipehook/core/pipedrive/shape"
)

func TestTheFieldsOfAnAccountHaveTypes(t *testing.T) {
	text, err := os.ReadFile("testdata/fields.json")
	if err != nil {
		t.Fatal(err)
	}
	f, err := shape.ParseFields(text)
	if err != nil {
		t.Fatal(err)
	}
	got, without := string(typings.Text("v1", f)), string(typings.Text("v1", nil))
	own, ok := strings.CutPrefix(got, without)
	if !ok || own == "" || strings.Contains(without, "DealEvent<") {
		t.Fatalf("they are not behind what all have:\n%s", own)
	}
	for _, want := range []string{
		"  export interface DealFields {", "  export interface LeadFields {", "  export interface PersonFields {",
		"  export type DealEvent<Current = Fields, Previous = Partial<NonNullable<Current>>> = Event<Current, Previous, DealFields>;",
		"    /** Tier * / \"quoted\" next line (enum) */\n    readonly tier?: \"Gold \\\"1\\\"\" | \"Sil\\\\ver\\n\\u2028`${x}`\" | number | null;",
		"    readonly interests?: readonly (\"Golf\" | \"Chess\" | number)[] | null;",
		"    readonly contract_end?: string | null;", "    readonly \"größe\"?: number | null;", "    readonly \"odd-name \\\"x\\\"\"?: {", "    readonly new_kind?: any | null;",
	} {
		if !strings.Contains(own, want) {
			t.Errorf("no %s in\n%s", want, own)
		}
	}
	if strings.Contains(own, "title") {
		t.Error("a built-in field is no custom one")
	}
	if again := string(typings.Text("v1", f)); again != got {
		t.Error("it is another each time")
	}
}
