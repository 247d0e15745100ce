package core_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/pipehook/pipehook/core"
)

func TestFieldsByNameAreAskedForLikeOthers(t *testing.T) {
	ev := &core.Event{
		Action: core.Updated, Object: "deal", Origin: core.OriginReconcile,
		Current: json.RawMessage(`{"custom_fields":{"ab":{"type":"enum","id":2}}}`), Previous: json.RawMessage(`{"custom_fields":{"ab":{"type":"enum","id":1}}}`),
		Fields: json.RawMessage(`{"tier":"Gold","budget":{"value":5,"currency":"EUR"}}`), PreviousFields: json.RawMessage(`{"tier":"Silver"}`),
	}
	if !ev.Changed("fields.tier") || ev.Changed("fields.budget") || ev.Changed("fields.other") {
		t.Error("tier alone has changed")
	}
	w, err := core.ParseWhere(map[string]any{
		"fields.tier": "Gold", "previousFields.tier": "Silver", "fields.budget.value": map[string]any{"gte": int64(5)}, "origin": "reconcile",
	})
	if err != nil {
		t.Fatal(err)
	}
	if ok, why := w.Decide(ev); !ok {
		t.Error(why)
	}
	if got, want := w.FieldNames(), []string{"budget", "tier"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	ev.Origin, ev.Fields = "", nil
	if ok, why := w.Decide(ev); ok || !strings.Contains(why, "fields.budget.value is missing") {
		t.Error(why)
	}
	sent, _ := core.ParseWhere(map[string]any{"origin": "webhook"})
	if ok, why := sent.Decide(ev); !ok || why != `where: origin is "webhook"` {
		t.Error(why)
	}
	if _, err := core.ParseWhere(map[string]any{"origin.name": "x"}); err == nil || !strings.Contains(err.Error(), "has no fields") {
		t.Error(err)
	}
}

func TestAFieldThatIsCalledFieldsIsFoundWithoutNames(t *testing.T) {
	ev := &core.Event{Current: json.RawMessage(`{"fields":{"a":1}}`), Previous: json.RawMessage(`{"fields":{"a":2}}`)}
	if !ev.Changed("fields.a") {
		t.Error("a has changed")
	}
}
