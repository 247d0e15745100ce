package coretest

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pipehook/pipehook/core"
)

// Obey is the listener that Listener is about, as a function in Go: it does what the event's object says,
// with the body as its text. Other implementations do the same.
//
//	succeed        it succeeds
//	fail           it fails with the text
//	permanent      it says with the text that another attempt would not help
//	later          it asks with the text to be tried again after the object id, such as 90s
//	slow           it does not end before it is stopped
//	tell           it fails with what it sees of the event: the part that the action names, see Tell
//
// Anything else is a failure.
func Obey(ctx context.Context, ev core.Event) error {
	text := string(ev.Body)
	switch ev.Object {
	case "succeed":
		return nil
	case "fail":
		return errors.New(text)
	case "permanent":
		return fmt.Errorf("given up: %w", &core.Error{Kind: core.Permanent, Msg: text})
	case "later":
		wait, err := core.ParseDuration(ev.ObjectID)
		if err != nil {
			return err
		}
		return &core.Error{Kind: core.Failed, Msg: text, RetryAfter: wait}
	case "slow":
		<-ctx.Done()
		return ctx.Err()
	case "tell":
		return errors.New("[" + Tell(ctx, &ev, ev.Action) + "]")
	}
	return fmt.Errorf("nobody has said what %q means", ev.Object)
}

// Tell is a part of an event as text. Besides the fields in small letters there are:
//
//	sum            the SHA-256 of the body, in hex
//	header NAME    all values under the header's name, with | between
//	big            the member big of current, as text
//	words          what the event answers yes to: create, update, delete, merge, app, api, retry, bulk
//	changed        the names of the changed fields, sorted, with commas between
//	time           whether there is some left
//
// Times are as RFC 3339 has them, with fractions as far as they go; values of JSON are without spaces;
// labels are key=value, sorted. What is absent is empty, and null where it would be JSON.
func Tell(ctx context.Context, ev *core.Event, part string) string {
	if name, ok := strings.CutPrefix(part, "header "); ok {
		return strings.Join(ev.Header[name], "|")
	}
	switch part {
	case "sum":
		sum := sha256.Sum256(ev.Body)
		return hex.EncodeToString(sum[:])
	case "big":
		var doc struct {
			Big json.Number `json:"big"`
		}
		_ = json.Unmarshal(ev.Current, &doc) // it is empty then
		return doc.Big.String()
	case "words":
		return words(ev)
	case "changed":
		return strings.Join(slices.Sorted(maps.Keys(ev.Changes())), ",")
	case "time":
		deadline, ok := ctx.Deadline()
		return fmt.Sprint(ok && time.Until(deadline) > 0)
	}
	return field(ev, part)
}

func field(ev *core.Event, part string) string {
	switch part {
	case "current":
		return document(ev.Current)
	case "previous":
		return document(ev.Previous)
	case "meta":
		return document(ev.Meta)
	case "fields":
		return document(ev.Fields)
	case "previousFields":
		return document(ev.PreviousFields)
	case "received":
		return moment(ev.ReceivedAt)
	case "occurred":
		return moment(ev.OccurredAt)
	case "remote":
		if !ev.Remote.IsValid() {
			return ""
		}
		return ev.Remote.String()
	case "labels":
		all := make([]string, 0, len(ev.Labels))
		for _, key := range slices.Sorted(maps.Keys(ev.Labels)) {
			all = append(all, key+"="+ev.Labels[key])
		}
		return strings.Join(all, ",")
	case "gathered":
		return strings.Join(ev.Gathered, ",")
	}
	value, ok := map[string]any{
		"id": ev.ID, "pipeline": ev.Pipeline, "source": ev.Source, "action": ev.Action, "also": ev.AlsoAction, "object": ev.Object,
		"objectid": ev.ObjectID, "version": ev.Version, "attempt": ev.Attempt, "replayed": ev.Replayed, "origin": ev.Origin, "flaw": ev.Flaw,
		"key": hex.EncodeToString(ev.Key), "user": ev.Facts.UserID, "company": ev.Facts.CompanyID, "changesource": ev.Facts.ChangeSource,
	}[part]
	if !ok {
		return "there is no part " + part
	}
	return fmt.Sprint(value)
}

func words(ev *core.Event) string {
	var all []string
	for _, w := range []struct {
		word string
		is   bool
	}{
		{"create", ev.IsCreate()},
		{"update", ev.IsUpdate()},
		{"delete", ev.IsDelete()},
		{"merge", ev.IsMerge()},
		{"app", ev.IsFromApp()},
		{"api", ev.IsFromAPI()},
		{"retry", ev.IsRetry()},
		{"bulk", ev.Facts.Bulk},
	} {
		if w.is {
			all = append(all, w.word)
		}
	}
	return strings.Join(all, ",")
}

func document(doc json.RawMessage) string { return cmp.Or(string(doc), "null") }

func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}
