package jshost

import (
	"slices"
	"strconv"
	"time"

	"github.com/dop251/goja"

	"github.com/pipehook/pipehook/core"
)

// eventFields are the data of an event, in the order in which they are listed.
var eventFields = []string{
	"id", "pipeline", "source", "action", "object", "objectId", "current", "previous", "meta",
	"version", "attempt", "occurredAt", "receivedAt", "raw",
}

// eventView is an event as a script sees it: each part is made when it is first asked for. It can't
// be changed.
type eventView struct {
	rt    *runtime
	ev    *core.Event
	parts [3]goja.Value // current, previous, meta
}

func (rt *runtime) eventObject(ev *core.Event) *goja.Object {
	object := rt.vm.NewDynamicObject(&eventView{rt: rt, ev: ev})
	_ = object.SetPrototype(rt.proto) // a new object takes any prototype
	return object
}

func (v *eventView) Keys() []string              { return eventFields }
func (v *eventView) Has(key string) bool         { return slices.Contains(eventFields, key) }
func (v *eventView) Set(string, goja.Value) bool { return v.rt.readOnly("event") }
func (v *eventView) Delete(string) bool          { return v.rt.readOnly("event") }

// readOnly throws: a change that silently does nothing would be worse.
func (rt *runtime) readOnly(what string) bool {
	panic(rt.vm.NewTypeError("the %s can't be changed: make a copy, such as { ...event.current }", what))
}

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
	case "version":
		return vm.ToValue(ev.Version)
	case "attempt":
		return vm.ToValue(ev.Attempt)
	case "occurredAt":
		return v.rt.timeValue(ev.OccurredAt)
	case "receivedAt":
		return v.rt.timeValue(ev.ReceivedAt)
	case "raw":
		return vm.ToValue(string(ev.Body))
	}
	return nil
}

func (v *eventView) part(i int, text []byte) goja.Value {
	if v.parts[i] == nil {
		v.parts[i] = v.rt.jsonValue(text)
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

// eventPrototype holds the methods; each works on the event it is called on.
func (rt *runtime) eventPrototype() *goja.Object {
	proto := rt.vm.NewObject()
	for name, method := range map[string]func(ev *core.Event, call goja.FunctionCall) goja.Value{
		"isCreate":        func(ev *core.Event, _ goja.FunctionCall) goja.Value { return rt.vm.ToValue(ev.IsCreate()) },
		"isUpdate":        func(ev *core.Event, _ goja.FunctionCall) goja.Value { return rt.vm.ToValue(ev.IsUpdate()) },
		"isDelete":        func(ev *core.Event, _ goja.FunctionCall) goja.Value { return rt.vm.ToValue(ev.IsDelete()) },
		"isMerge":         func(ev *core.Event, _ goja.FunctionCall) goja.Value { return rt.vm.ToValue(ev.IsMerge()) },
		"isFromApp":       func(ev *core.Event, _ goja.FunctionCall) goja.Value { return rt.vm.ToValue(ev.IsFromApp()) },
		"isFromApi":       func(ev *core.Event, _ goja.FunctionCall) goja.Value { return rt.vm.ToValue(ev.IsFromAPI()) },
		"isBulkUpdate":    func(ev *core.Event, _ goja.FunctionCall) goja.Value { return rt.vm.ToValue(ev.Facts.Bulk) },
		"isRetry":         func(ev *core.Event, _ goja.FunctionCall) goja.Value { return rt.vm.ToValue(ev.IsRetry()) },
		"getRetryCount":   func(ev *core.Event, _ goja.FunctionCall) goja.Value { return rt.vm.ToValue(ev.RetryCount()) },
		"getUserId":       func(ev *core.Event, _ goja.FunctionCall) goja.Value { return rt.idValue(ev.Facts.UserID) },
		"getCompanyId":    func(ev *core.Event, _ goja.FunctionCall) goja.Value { return rt.idValue(ev.Facts.CompanyID) },
		"getChangeSource": func(ev *core.Event, _ goja.FunctionCall) goja.Value { return rt.textValue(ev.Facts.ChangeSource) },
		"isObjectType": func(ev *core.Event, call goja.FunctionCall) goja.Value {
			return rt.vm.ToValue(ev.IsObjectType(call.Argument(0).String()))
		},
		"changed": func(ev *core.Event, call goja.FunctionCall) goja.Value {
			return rt.vm.ToValue(ev.Changed(call.Argument(0).String()))
		},
		"changes": func(ev *core.Event, _ goja.FunctionCall) goja.Value { return rt.changesValue(ev) },
	} {
		rt.method(proto, name, method)
	}
	return proto
}

func (rt *runtime) method(proto *goja.Object, name string, f func(ev *core.Event, call goja.FunctionCall) goja.Value) {
	value := rt.vm.ToValue(func(call goja.FunctionCall) goja.Value {
		view, ok := call.This.Export().(*eventView)
		if !ok {
			panic(rt.vm.NewTypeError("%s must be called on the event, as event.%s()", name, name))
		}
		return f(view.ev, call)
	})
	// Methods are not listed among an event's keys.
	_ = proto.DefineDataProperty(name, value, goja.FLAG_FALSE, goja.FLAG_FALSE, goja.FLAG_FALSE)
}

func (rt *runtime) changesValue(ev *core.Event) goja.Value {
	changes := rt.vm.NewObject()
	for name, change := range ev.Changes() {
		one := rt.vm.NewObject()
		_ = one.Set("was", rt.jsonValue(change.Was)) // a plain new object takes any property
		_ = one.Set("is", rt.jsonValue(change.Is))
		_ = changes.Set(name, one)
	}
	return changes
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

// safe reports whether JavaScript's numbers hold n exactly.
func safe(n int64) bool { return -1<<53 < n && n < 1<<53 }
