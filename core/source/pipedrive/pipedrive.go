// Package pipedrive names Pipedrive's webhooks, versions 1.0 and 2.0, as events. It knows the
// bodies that Pipedrive sends and nothing of HTTP: Pipedrive signs nothing, it sends HTTP Basic.
//
// What is said here of Pipedrive's bodies is from its guides for webhooks v1 and v2, its migration
// guide, and captured deliveries.
package pipedrive

import (
	"fmt"

	"github.com/tidwall/gjson"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/jsonscan"
)

// Source is Pipedrive. Its zero value is ready.
type Source struct{}

// Name fills in the event. Only a body that is no JSON object is refused; an action or object that
// Pipedrive does not document is kept, and a missing one is core.Unknown.
func (Source) Name(ev *core.Event) error {
	env, err := read(ev.Body)
	if err != nil {
		return err
	}
	ev.Meta = part(ev.Body, env.meta)
	if env.version2() {
		nameV2(ev, &env)
	} else {
		nameV1(ev, &env)
	}
	ev.Flaw = flaw(ev, &env)
	ev.Action, ev.Object = orUnknown(ev.Action), orUnknown(ev.Object)
	return nil
}

func orUnknown(s string) string {
	if s == "" {
		return core.Unknown
	}
	return s
}

// envelope is the top level and meta of either version.
type envelope struct {
	data, current, previous, meta gjson.Result
	event, v, retry               gjson.Result
	m                             meta
	double                        string // a key that stands twice
}

type meta struct {
	action, entity, object, id, entityID, companyID, userID, webhookID gjson.Result
	version, changeSource, bulkEdit, bulkUpdate, attempt               gjson.Result
	timestamp, timestampMicro, timestampMilli, mergedFrom, service     gjson.Result
}

func (env *envelope) version2() bool {
	if env.m.version.Exists() {
		return true
	}
	return env.m.entity.Exists() && !env.v.Exists() && !env.event.Exists()
}

// read refuses what no parser should be given, then takes the envelope apart in one pass.
func read(body []byte) (envelope, error) {
	var env envelope
	if jsonscan.Depth(body, jsonscan.MaxDepth) > jsonscan.MaxDepth {
		return env, malformed("the body is nested deeper than %d", jsonscan.MaxDepth)
	}
	if !gjson.ValidBytes(body) {
		return env, malformed("the body is not valid JSON")
	}
	root := gjson.ParseBytes(body)
	if !root.IsObject() {
		return env, malformed("the body is not a JSON object")
	}
	root.ForEach(func(key, value gjson.Result) bool {
		env.top(key.String(), value)
		return true
	})
	if env.meta.IsObject() {
		env.meta.ForEach(func(key, value gjson.Result) bool {
			env.inMeta(key.String(), value)
			return true
		})
	}
	return env, nil
}

func (env *envelope) top(key string, value gjson.Result) {
	switch key {
	case "data":
		env.put(&env.data, key, value)
	case "current":
		env.put(&env.current, key, value)
	case "previous":
		env.put(&env.previous, key, value)
	case "meta":
		env.put(&env.meta, key, value)
	case "event":
		env.put(&env.event, key, value)
	case "v":
		env.put(&env.v, key, value)
	case "retry":
		env.put(&env.retry, key, value)
	}
}

func (env *envelope) inMeta(key string, value gjson.Result) {
	if into := env.m.field(key); into != nil {
		if into.Exists() {
			env.double = "meta." + key
		}
		*into = value
	}
}

// field is where a key of meta goes; nil for one that nobody reads.
func (m *meta) field(key string) *gjson.Result {
	switch key {
	case "action":
		return &m.action
	case "entity":
		return &m.entity
	case "object":
		return &m.object
	case "id":
		return &m.id
	case "entity_id":
		return &m.entityID
	case "company_id":
		return &m.companyID
	case "user_id":
		return &m.userID
	case "webhook_id":
		return &m.webhookID
	case "version":
		return &m.version
	case "change_source":
		return &m.changeSource
	case "is_bulk_edit":
		return &m.bulkEdit
	case "is_bulk_update":
		return &m.bulkUpdate
	case "attempt":
		return &m.attempt
	case "timestamp":
		return &m.timestamp
	case "timestamp_micro":
		return &m.timestampMicro
	case "timestamp_milli":
		return &m.timestampMilli
	case "merged_from_id":
		return &m.mergedFrom
	case "pipedrive_service_name":
		return &m.service
	default:
		return nil
	}
}

// put keeps the last of two equal keys, as most parsers do, and remembers that there were two.
func (env *envelope) put(into *gjson.Result, key string, value gjson.Result) {
	if into.Exists() {
		env.double = key
	}
	*into = value
}

func nameV2(ev *core.Event, env *envelope) {
	m := &env.m
	ev.Version = m.version.String()
	if ev.Version == "" {
		ev.Version = "2.0"
	}
	ev.Action, ev.Object = core.CanonicalAction(m.action.String()), m.entity.String()
	ev.Current, ev.Previous = part(ev.Body, env.data), part(ev.Body, env.previous)
	// A merge arrives as the change of the survivor and the delete of the loser. Version 1 sends
	// the first as merged, so it is merged here too; patterns for updated still choose it.
	if ev.Action == core.Updated && present(m.mergedFrom) {
		ev.Action, ev.AlsoAction = core.Merged, core.Updated
	}
	ev.ObjectID = firstText(m.entityID, env.data.Get("id"), env.previous.Get("id"))
	ev.Attempt = int(m.attempt.Int())
	ev.OccurredAt = occurred(m)
	ev.Facts = facts(m, m.bulkEdit)
	ev.Key = keyV2(ev, m)
}

func nameV1(ev *core.Event, env *envelope) {
	m := &env.m
	ev.Version = "1.0"
	action, object := m.action.String(), m.object.String()
	eventAction, eventObject := splitEvent(env.event.String())
	if action == "" {
		action = eventAction
	}
	if object == "" {
		object = eventObject
	}
	ev.Action, ev.Object = core.CanonicalAction(action), object
	current, previous := single(env.current), single(env.previous)
	ev.Current, ev.Previous = part(ev.Body, current), part(ev.Body, previous)
	ev.ObjectID = firstText(m.id, current.Get("id"), previous.Get("id"))
	if env.retry.Exists() {
		ev.Attempt = int(env.retry.Int()) + 1
	}
	ev.OccurredAt = occurred(m)
	ev.Facts = facts(m, m.bulkUpdate)
	ev.Key = keyV1(ev, env)
}

func facts(m *meta, bulk gjson.Result) core.Facts {
	return core.Facts{
		UserID: text(m.userID), CompanyID: text(m.companyID), ChangeSource: text(m.changeSource), Bulk: bulk.Bool(),
	}
}

func malformed(format string, args ...any) error {
	return &core.Error{Kind: core.Malformed, Msg: fmt.Sprintf(format, args...)}
}
