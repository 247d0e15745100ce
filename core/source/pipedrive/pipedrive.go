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
	"github.com/pipehook/pipehook/core/pipedrive/shape"
)

// Source is Pipedrive. Its zero value is ready. It may be used by many goroutines at once.
type Source struct {
	Fields  func() *shape.Fields               // the definitions as they are now; may be nil, and may return nil
	Unknown func(object string, keys []string) // is told of custom fields that the definitions lack; may be nil, and must not wait
	States  bool                               // events get a State
}

// Name fills in the event. A body of version 1 is brought into the form of version 2; of version 2 nothing is
// rewritten, so that what the event holds are parts of its body. Only a body that is no JSON object is refused; an action or object that
// Pipedrive does not document is kept, and a missing one is core.Unknown.
func (s Source) Name(ev *core.Event) error {
	env, err := read(ev.Body)
	if err != nil {
		return err
	}
	ev.Meta = part(ev.Body, env.meta)
	if env.version2() {
		nameV2(ev, &env)
	} else {
		nameV1(ev, &env)
		modernize(ev, s.definitions())
	}
	ev.Flaw = flaw(ev, &env)
	ev.Action, ev.Object = orUnknown(ev.Action), orUnknown(ev.Object)
	s.nameFields(ev)
	if compared := ev.Origin == core.OriginReconcile; s.States || compared {
		if ev.State = stateOf(ev); compared && ev.State != nil {
			ev.Key = ev.State // a webhook about it that comes later is a duplicate
		}
	}
	return nil
}

func orUnknown(s string) string {
	if s == "" {
		return core.Unknown
	}
	return s
}

func nameV2(ev *core.Event, env *envelope) {
	m := &env.m
	ev.Version = text(m.version)
	if ev.Version == "" || ev.Version == "2" {
		ev.Version = "2.0"
	}
	ev.Action, ev.Object = core.CanonicalAction(word(m.action)), word(m.entity)
	ev.Current, ev.Previous = part(ev.Body, env.data), part(ev.Body, env.previous)
	// A merge arrives as the change of the survivor and the delete of the loser. Version 1 sends
	// the first as merged, so it is merged here too; patterns for updated still choose it.
	if ev.Action == core.Updated && present(m.mergedFrom) {
		ev.Action, ev.AlsoAction = core.Merged, core.Updated
	}
	id := firstID(m.entityID, single(env.data), single(env.previous))
	ev.ObjectID = text(id)
	ev.Attempt = count(m.attempt)
	ev.OccurredAt = occurred(m)
	ev.Facts = facts(m, m.bulkEdit)
	ev.Key = keyV2(ev, m, id)
}

func nameV1(ev *core.Event, env *envelope) {
	m := &env.m
	ev.Version = "1.0"
	action, object := env.eventV1()
	ev.Action, ev.Object = core.CanonicalAction(action), object
	current, previous := single(env.current), single(env.previous)
	ev.Current, ev.Previous = part(ev.Body, current), part(ev.Body, previous)
	id := firstID(m.id, current, previous)
	ev.ObjectID = text(id)
	if env.retry.Exists() {
		ev.Attempt = count(env.retry) + 1
	}
	ev.OccurredAt = occurred(m)
	ev.Facts = facts(m, m.bulkUpdate)
	ev.Key = keyV1(ev, env, id)
}

func facts(m *meta, bulk gjson.Result) core.Facts {
	return core.Facts{
		UserID: text(m.userID), CompanyID: text(m.companyID), ChangeSource: text(m.changeSource), Bulk: bulk.Bool(),
	}
}

func malformed(format string, args ...any) error {
	return &core.Error{Kind: core.Malformed, Msg: fmt.Sprintf(format, args...)}
}
