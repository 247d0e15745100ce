package samples_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core/samples"
)

// renewed are the members that a fresh sample has other values of.
var renewed = []string{"id", "correlation_id", "timestamp", "timestamp_micro", "timestamp_milli", "attempt"}

func TestAFreshSampleKeepsTheRestInOrder(t *testing.T) {
	for _, name := range samples.Names() {
		body, _ := samples.Body(name)
		before := bytes.Clone(body)
		fresh := samples.Fresh(body, time.Unix(1_800_000_000, 0))
		if !bytes.Equal(body, before) {
			t.Errorf("%s: the sample itself was changed", name)
		}
		if was, is := without(t, body), without(t, fresh); !reflect.DeepEqual(was, is) {
			t.Errorf("%s: got %v, want %v", name, is, was)
		}
		if was, is := names(t, body), names(t, fresh); !reflect.DeepEqual(was, is) {
			t.Errorf("%s: keys %v, want %v", name, is, was)
		}
	}
}

// without is the body but for what is renewed.
func without(t *testing.T, body []byte) map[string]any {
	t.Helper()
	var all map[string]any
	if err := json.Unmarshal(body, &all); err != nil {
		t.Fatal(err)
	}
	delete(all, "retry")
	for _, key := range renewed {
		if meta := all["meta"].(map[string]any); key != "id" || meta["version"] != nil {
			delete(meta, key)
		}
	}
	return all
}

// names are all tokens that are texts before a colon, in order.
func names(t *testing.T, body []byte) []string {
	t.Helper()
	var keys []string
	for rest := body; ; {
		colon := bytes.Index(rest, []byte(`":`))
		if colon < 0 {
			return keys
		}
		keys = append(keys, string(rest[bytes.LastIndexByte(rest[:colon], '"')+1:colon]))
		rest = rest[colon+2:]
	}
}

func TestASampleThatThereIsNotIsNotOK(t *testing.T) {
	for _, name := range []string{"", "nothing", "../samples", "README"} {
		if body, ok := samples.Body(name); ok || body != nil {
			t.Errorf("%q: %s", name, body)
		}
	}
}

func TestTheDealThatMovesIsOfAnOrdinarySize(t *testing.T) {
	_, body, ok := samples.For("change.deal")
	var deal struct {
		Data, Previous struct {
			Stage int `json:"stage_id"`
		}
	}
	if err := json.Unmarshal(body, &deal); err != nil || !ok {
		t.Fatal(ok, err)
	}
	if deal.Previous.Stage != 3 || deal.Data.Stage != 4 || len(body) < 2000 || len(body) > 2600 {
		t.Errorf("stage %d to %d in %d bytes", deal.Previous.Stage, deal.Data.Stage, len(body))
	}
}
