package engine

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/dop251/goja"

	"github.com/pipehook/pipehook/core"
)

// eventFields are the data of an event, in the order in which they are listed.
var eventFields = []string{
	"id", "pipeline", "source", "action", "object", "objectId", "current", "previous", "fields", "previousFields", "meta", "labels",
	"origin", "version", "attempt", "occurredAt", "receivedAt", "raw", "replayed", "gathered",
}

// eventView is an event as a script sees it: each part is made when it is first asked for. It can't
// be changed.
type eventView struct {
	rt    *runtime
	ev    *core.Event
	parts [6]goja.Value // current, previous, meta, labels, fields, previousFields
}

func (rt *runtime) eventObject(ev *core.Event) *goja.Object {
	return rt.vm.NewDynamicObject(&eventView{rt: rt, ev: ev})
}

var viewType = reflect.TypeFor[*eventView]()

// eventOf is the event that a value shows. It looks at the type first: exporting another object would
// copy all of it.
func eventOf(v goja.Value) (*core.Event, bool) {
	object, ok := v.(*goja.Object)
	if !ok || object.ExportType() != viewType {
		return nil, false
	}
	view, ok := object.Export().(*eventView)
	if !ok {
		return nil, false
	}
	return view.ev, true
}

func (v *eventView) Keys() []string { return eventFields }
func (v *eventView) Has(key string) bool {
	_, method := eventMethods[key] // they are not listed among an event's keys
	return method || slices.Contains(eventFields, key)
}

func (v *eventView) Set(string, goja.Value) bool {
	return v.rt.readOnly("the event", "{ ...event }")
}

func (v *eventView) Delete(string) bool { return v.rt.readOnly("the event", "{ ...event }") }

func (v *eventView) Get(key string) goja.Value {
	ev, vm := v.ev, v.rt.vm
	switch key {
	case "id":
		return vm.ToValue(ev.ID)
	case "pipeline":
		return vm.ToValue(ev.Pipeline)
	case "source":
		return vm.ToValue(ev.Source)
	case "action":
		return vm.ToValue(ev.Action)
	case "object":
		return vm.ToValue(ev.Object)
	case "objectId":
		return vm.ToValue(ev.ObjectID)
	case "current":
		return v.part(0, ev.Current)
	case "previous":
		return v.part(1, ev.Previous)
	case "meta":
		return v.part(2, ev.Meta)
	case "labels":
		return v.labels()
	case "fields":
		return v.part(4, orEmpty(ev.Fields))
	case "previousFields":
		return v.part(5, orEmpty(ev.PreviousFields))
	case "origin":
		return vm.ToValue(cmp.Or(ev.Origin, "webhook"))
	case "version":
		return vm.ToValue(ev.Version)
	case "attempt":
		return vm.ToValue(ev.Attempt)
	case "occurredAt":
		return v.rt.timeValue(ev.OccurredAt)
	case "receivedAt":
		return v.rt.timeValue(ev.ReceivedAt)
	case "replayed":
		return vm.ToValue(ev.Replayed)
	case "gathered":
		return v.gathered()
	case "raw":
		return vm.ToValue(string(ev.Body))
	}
	return v.rt.eventMethod(key)
}

// labels is an object of texts, empty when there are none.
func (v *eventView) labels() goja.Value {
	return v.part(3, orEmpty([]byte(v.ev.LabelsText())))
}

// orEmpty is an object without members in place of nothing, so that what is asked of it is not an error.
func orEmpty(doc []byte) []byte {
	if len(doc) == 0 {
		return []byte("{}")
	}
	return doc
}

// gathered are the ids of all the events that this call settles, the event's own last.
func (v *eventView) gathered() goja.Value {
	ids := v.ev.Gathered
	if len(ids) == 0 {
		ids = []string{v.ev.ID}
	}
	values := make([]any, len(ids))
	for i, id := range ids {
		values[i] = id
	}
	return v.rt.vm.NewArray(values...)
}

func (v *eventView) part(i int, doc []byte) goja.Value {
	if v.parts[i] == nil {
		v.parts[i] = v.rt.jsonValue(doc)
	}
	return v.parts[i]
}

// timeValue is a time as Date.prototype.toISOString writes it, null when it is not known.
func (rt *runtime) timeValue(t time.Time) goja.Value {
	if t.IsZero() {
		return goja.Null()
	}
	return rt.vm.ToValue(t.UTC().Format("2006-01-02T15:04:05.000Z"))
}

// eventMethod answers a script; arg is the text of the first argument.
type eventMethod func(rt *runtime, ev *core.Event, arg goja.Value) goja.Value

// eventMethods are what an event can be asked, by the names of JavaScript.
var eventMethods = map[string]eventMethod{
	"isCreate":        yes((*core.Event).IsCreate),
	"isUpdate":        yes((*core.Event).IsUpdate),
	"isDelete":        yes((*core.Event).IsDelete),
	"isMerge":         yes((*core.Event).IsMerge),
	"isFromApp":       yes((*core.Event).IsFromApp),
	"isFromApi":       yes((*core.Event).IsFromAPI),
	"isRetry":         yes((*core.Event).IsRetry),
	"isBulkUpdate":    yes(func(ev *core.Event) bool { return ev.Facts.Bulk }),
	"isObjectType":    about((*core.Event).IsObjectType),
	"changed":         about((*core.Event).Changed),
	"changes":         func(rt *runtime, ev *core.Event, _ goja.Value) goja.Value { return rt.changesValue(ev) },
	"getRetryCount":   func(rt *runtime, ev *core.Event, _ goja.Value) goja.Value { return rt.vm.ToValue(ev.RetryCount()) },
	"getUserId":       func(rt *runtime, ev *core.Event, _ goja.Value) goja.Value { return rt.idValue(ev.Facts.UserID) },
	"getCompanyId":    func(rt *runtime, ev *core.Event, _ goja.Value) goja.Value { return rt.idValue(ev.Facts.CompanyID) },
	"getChangeSource": func(rt *runtime, ev *core.Event, _ goja.Value) goja.Value { return rt.textValue(ev.Facts.ChangeSource) },
}

func yes(ask func(*core.Event) bool) eventMethod {
	return func(rt *runtime, ev *core.Event, _ goja.Value) goja.Value { return rt.vm.ToValue(ask(ev)) }
}

func about(ask func(*core.Event, string) bool) eventMethod {
	return func(rt *runtime, ev *core.Event, arg goja.Value) goja.Value {
		return rt.vm.ToValue(ask(ev, arg.String()))
	}
}

// eventMethod is made once for each runtime, when it is first asked for; nil when there is no such
// method. It answers for the event it is called on, and for the event being handled when it was taken
// off: const { changed } = event.
func (rt *runtime) eventMethod(name string) goja.Value {
	if made, ok := rt.methods[name]; ok {
		return made
	}
	answer, ok := eventMethods[name]
	if !ok {
		return nil
	}
	made := rt.function(name, func(call goja.FunctionCall) goja.Value {
		ev := rt.event
		if on, ok := eventOf(call.This); ok {
			ev = on
		}
		if ev == nil {
			panic(rt.vm.NewTypeError("%s must be called on an event, as event.%s()", name, name))
		}
		return answer(rt, ev, call.Argument(0))
	})
	rt.methods[name] = made
	return made
}

func (rt *runtime) changesValue(ev *core.Event) goja.Value {
	object, changes := rt.vm.NewObject(), ev.Changes()
	for _, name := range slices.Sorted(maps.Keys(changes)) {
		one := rt.vm.NewObject()
		_ = one.Set("was", rt.jsonValue(changes[name].Was)) // a plain new object takes any property
		_ = one.Set("is", rt.jsonValue(changes[name].Is))
		_ = object.Set(name, one)
	}
	return object
}

// idValue is a number where a number holds all digits, else text; null when not known.
func (rt *runtime) idValue(id string) goja.Value {
	if n, err := strconv.ParseInt(id, 10, 64); err == nil && safe(n) && strconv.FormatInt(n, 10) == id {
		return rt.vm.ToValue(n)
	}
	return rt.textValue(id)
}

func (rt *runtime) textValue(s string) goja.Value {
	if s == "" {
		return goja.Null()
	}
	return rt.vm.ToValue(s)
}
