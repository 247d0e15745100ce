// Package samples holds webhook bodies to try things with: public captures and examples from the
// sender's documentation, and a few built from documented shapes, whose names begin with made-up.
package samples

import (
	"bytes"
	"cmp"
	"embed"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/tidwall/gjson"

	"github.com/pipehook/pipehook/core"
)

//go:embed *.json
var files embed.FS

// Names lists the samples.
func Names() []string {
	entries, err := files.ReadDir(".")
	if err != nil {
		panic(err) // the files are part of the program
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = strings.TrimSuffix(e.Name(), path.Ext(e.Name()))
	}
	return names
}

// Body is a sample as it comes over the wire, compact; ok is false when there is none of the name.
func Body(name string) (body []byte, ok bool) {
	text, err := files.ReadFile(name + ".json")
	if err != nil {
		return nil, false
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, text); err != nil {
		panic(fmt.Sprintf("sample %s: %v", name, err)) // a test reads them all
	}
	return compact.Bytes(), true
}

// preferred samples are what For chooses where several fit: version 2, with something to see.
var preferred = map[string]string{"updated.deal": "made-up-v2-change-deal-stage"}

// For is a sample whose event is of the type, such as updated.deal or its alias change.deal; of
// several, one of the newer version 2.
func For(eventType string) (name string, body []byte, ok bool) {
	action, object, _ := strings.Cut(eventType, ".")
	eventType = core.CanonicalAction(action) + "." + object
	if name, ok = preferred[eventType]; !ok {
		for _, candidate := range Names() {
			if typeOf(candidate) == eventType && (name == "" || version2(candidate) && !version2(name)) {
				name = candidate
			}
		}
	}
	body, ok = Body(name)
	return name, body, ok
}

// Types lists the event types that For knows.
func Types() []string {
	var types []string
	for _, name := range Names() {
		types = append(types, typeOf(name))
	}
	slices.Sort(types)
	return slices.Compact(types)
}

func version2(name string) bool { return strings.Contains(name, "-v2-") }

func typeOf(name string) string {
	body, _ := Body(name)
	meta := gjson.GetBytes(body, "meta")
	action, object := core.CanonicalAction(meta.Get("action").Str), cmp.Or(meta.Get("entity").Str, meta.Get("object").Str)
	if meta.Get("merged_from_id").Exists() {
		action = core.Merged
	}
	return action + "." + object
}

// Fresh is the sample as if its event had just happened, so that it is no duplicate of an earlier
// one. Every other byte stays.
func Fresh(body []byte, now time.Time) []byte {
	values := map[string]string{"meta.correlation_id": quote(uuid.NewString()), "meta.attempt": "1", "retry": "0"}
	if gjson.GetBytes(body, "meta.version").Exists() {
		values["meta.id"] = quote(uuid.NewString())
		values["meta.timestamp"] = quote(now.UTC().Format("2006-01-02T15:04:05.000Z"))
	} else {
		values["meta.timestamp"] = fmt.Sprint(now.Unix())
		values["meta.timestamp_micro"] = fmt.Sprint(now.UnixMicro())
		values["meta.timestamp_milli"] = fmt.Sprint(now.UnixMilli())
	}
	return splice(body, values)
}

func quote(s string) string { return `"` + s + `"` }

// splice replaces the values at the paths that the body has.
func splice(body []byte, values map[string]string) []byte {
	type edit struct {
		from, to int
		with     string
	}
	var edits []edit
	for at, with := range values {
		if r := gjson.GetBytes(body, at); r.Exists() {
			edits = append(edits, edit{r.Index, r.Index + len(r.Raw), with})
		}
	}
	slices.SortFunc(edits, func(a, b edit) int { return cmp.Compare(a.from, b.from) })
	var out []byte
	last := 0
	for _, e := range edits {
		out = append(append(out, body[last:e.from]...), e.with...)
		last = e.to
	}
	return append(out, body[last:]...)
}
