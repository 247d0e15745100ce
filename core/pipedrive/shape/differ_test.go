package shape_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/pipedrive/shape"
	"github.com/tidwall/gjson"
)

func TestOnlyWhatMeansAnotherThingDiffers(t *testing.T) {
	for _, test := range []struct {
		name, local, remote string
		want                []string
	}{
		{"the same", `{"id":1,"title":"a"}`, `{"id":1,"title":"a"}`, nil},
		{"another text", `{"id":1,"title":"a"}`, `{"id":1,"title":"b"}`, []string{"title"}},
		{"what one does not carry", `{"id":1}`, `{"id":1,"title":"b"}`, nil},
		{"a number written otherwise", `{"id":1,"value":100}`, `{"id":1,"value":1.00e2}`, nil},
		{"a number beyond a float", `{"id":1,"value":9007199254740993}`, `{"id":1,"value":9007199254740992}`, []string{"value"}},
		{"an instant written otherwise", `{"id":1,"won_time":"2022-01-01T00:00:00Z"}`, `{"id":1,"won_time":"2022-01-01T00:00:00.000Z"}`, nil},
		{"nothing written otherwise", `{"id":1,"a":null,"b":"","c":[]}`, `{"id":1,"a":"","b":null,"c":null}`, nil},
		{"something that was emptied", `{"id":1,"a":"x"}`, `{"id":1,"a":null}`, []string{"a"}},
		{"ids in another order", `{"id":1,"label_ids":[1,2]}`, `{"id":1,"label_ids":[2,1]}`, nil},
		{"counts and when it changed", `{"id":1,"files_count":1,"update_time":"2022-01-01T00:00:00Z","org_name":"a"}`, `{"id":1,"files_count":2,"update_time":"2023-01-01T00:00:00Z","org_name":"b"}`, nil},
		{"custom fields", `{"id":1,"custom_fields":{"a":1,"b":{"value":1,"currency":"EUR"},"c":1}}`, `{"id":1,"custom_fields":{"a":2,"b":{"value":1.0,"currency":"EUR"},"d":5}}`, []string{"custom_fields.a"}},
		{"an option as version 1 writes it", `{"id":1,"custom_fields":{"a":"17","b":"1,2"}}`, `{"id":1,"custom_fields":{"a":17,"b":[2,1]}}`, nil},
		{"parts that one has", `{"id":1,"prices":[{"price":1,"notes":""}]}`, `{"id":1,"prices":[{"price":1.0,"cost":5}]}`, nil},
		{"yes and no", `{"id":1,"done":true}`, `{"id":1,"done":false}`, []string{"done"}},
		{"a text that looks like a number", `{"id":1,"code":"1.10","title":"1e2"}`, `{"id":1,"code":"1.1","title":"100"}`, []string{"code", "title"}},
		{"a number as text", `{"id":1,"a":"1.10"}`, `{"id":1,"a":1.1}`, nil},
		{"a value with parts and one without", `{"id":1,"custom_fields":{"a":"10:00","b":"x"}}`,
			`{"id":1,"custom_fields":{"a":{"value":"10:00:00","timezone_id":1},"b":{"value":"y","country":"z"}}}`, []string{"custom_fields.b"}},
		{"yes as a number", `{"id":1,"done":1,"pinned_to_deal_flag":0,"active_flag":1}`, `{"id":1,"done":true,"pinned_to_deal_flag":false,"is_deleted":false}`, nil},
		{"a time of day", `{"id":1,"due_time":"10:00"}`, `{"id":1,"due_time":"10:00:00"}`, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			local, err := shape.FromAPI("deal", json.RawMessage(test.local), nil)
			if err != nil {
				t.Fatal(err)
			}
			remote, err := shape.FromAPI("deal", json.RawMessage(test.remote), nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := shape.Differ(local, remote); !slices.Equal(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestAStateIsThatOfOneSecondOfOneRecord(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	one := shape.State("1", "deal", "2", at, false)
	if len(one) != 24 || !bytes.Equal(one, shape.State("1", "deal", "2", at.Add(999*time.Millisecond).In(time.FixedZone("", 3600)), false)) {
		t.Errorf("%x", one)
	}
	for i, other := range [][]byte{
		shape.State("1", "deal", "2", at.Add(time.Second), false), shape.State("1", "deal", "3", at, false), shape.State("1", "person", "2", at, false),
		shape.State("2", "deal", "2", at, false), shape.State("1", "deal", "2", at, true), shape.State("1", "deal", "2", time.Time{}, true),
	} {
		if bytes.Equal(one, other) {
			t.Errorf("%d is the same state", i)
		}
	}
	gone := shape.State("1", "deal", "2", at, true)
	if bytes.Equal(gone, shape.State("1", "deal", "2", at.Add(time.Second), true)) || !bytes.Equal(gone, shape.State("1", "deal", "2", at.Add(time.Millisecond), true)) {
		t.Error("a record that is deleted, restored, changed and deleted is in another state")
	}
	if shape.State("1", "deal", "2", time.Time{}, true) == nil || shape.State("1", "deal", "2", time.Time{}, false) != nil {
		t.Error("what is deleted has a state, and what says no time has none")
	}
}

func TestABodyIsAWebhookOfVersion2(t *testing.T) {
	body := shape.Body(shape.Envelope{
		Action: core.Merged, Object: "deal", ID: "7", CompanyID: "1", UserID: "2", Data: json.RawMessage(`{"id":7}`), At: time.UnixMilli(1_800_000_000_123), MergedFrom: "6",
	})
	if !json.Valid(body) {
		t.Fatalf("%s", body)
	}
	for path, want := range map[string]string{
		"meta.action": "change", "meta.entity": "deal", "meta.entity_id": "7", "meta.version": "2.0", "meta.timestamp": "2027-01-15T08:00:00.123Z",
		"meta.merged_from_id": "6", "data.id": "7", "previous": "", "meta.attempt": "1", "meta.user_id": "2",
	} {
		if got := fmt.Sprint(gjson.GetBytes(body, path)); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
}

func TestABodyDoesNotSayWhatNobodyKnows(t *testing.T) {
	meta := gjson.GetBytes(shape.Body(shape.Envelope{Action: core.Added, Object: "deal", ID: "7", CompanyID: "1", At: time.Now()}), "meta")
	if meta.Get("change_source").Exists() || meta.Get("user_id").Exists() {
		t.Errorf("%s", meta)
	}
}
