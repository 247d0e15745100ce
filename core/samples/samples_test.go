package samples_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/samples"
	"github.com/pipehook/pipehook/core/source/pipedrive"
)

func TestASampleIsChosenByItsEvent(t *testing.T) {
	for eventType, want := range map[string]string{
		"updated.deal": "made-up-v2-change-deal-stage", "change.deal": "made-up-v2-change-deal-stage",
		"added.person": "pipedrive_docs-v2-create-person", "create.person": "pipedrive_docs-v2-create-person",
		"added.stage": "django_pipedrive-v1-added-stage", "merged.person": "made-up-v2-change-person-merged",
		"deleted.lead": "pipedrive_docs-v2-delete-lead", "added.nothing": "",
	} {
		if name, _, _ := samples.For(eventType); name != want {
			t.Errorf("%s: %q, want %q", eventType, name, want)
		}
	}
	for _, eventType := range samples.Types() {
		if _, _, ok := samples.For(eventType); !ok {
			t.Errorf("no sample for %s", eventType)
		}
	}
}

func TestAFreshSampleIsAnotherEventOfTheSameKind(t *testing.T) {
	now := time.Date(2026, 11, 1, 10, 0, 0, 123e6, time.UTC)
	for _, name := range samples.Names() {
		t.Run(name, func(t *testing.T) {
			body, _ := samples.Body(name)
			fresh := samples.Fresh(body, now)
			if !json.Valid(fresh) {
				t.Fatalf("not JSON: %s", fresh)
			}
			old, renewed := &core.Event{Body: body}, &core.Event{Body: fresh}
			for _, ev := range []*core.Event{old, renewed} {
				if err := (pipedrive.Source{}).Name(ev); err != nil {
					t.Fatal(err)
				}
			}
			if bytes.Equal(old.Key, renewed.Key) {
				t.Error("it would count as a duplicate")
			}
			if old.Type() != renewed.Type() || old.ObjectID != renewed.ObjectID || renewed.OccurredAt.Sub(now).Abs() > time.Second || renewed.IsRetry() {
				t.Errorf("%s %s %v", renewed.Type(), renewed.ObjectID, renewed.OccurredAt)
			}
		})
	}
}
