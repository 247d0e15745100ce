package engine

import (
	"net/http"
	"slices"
	"strings"

	"github.com/dop251/goja"

	"github.com/pipehook/pipehook/core"
)

// argument is the function's first argument: for a source the request, for others the event.
func (rt *runtime) argument() goja.Value {
	if rt.call.Kind != Source {
		return rt.eventObject(rt.event)
	}
	return rt.requestObject(rt.event)
}

func (rt *runtime) requestObject(ev *core.Event) *goja.Object {
	request := rt.vm.NewObject()
	_ = request.DefineDataProperty("headers", rt.vm.NewDynamicObject(&headersView{rt, ev.Header}), goja.FLAG_FALSE, goja.FLAG_FALSE, goja.FLAG_TRUE) // a new object takes any property
	body := ev.Body
	var made goja.Value
	rt.getter(request, "body", func() goja.Value {
		if made == nil {
			made = rt.vm.ToValue(string(body))
		}
		return made
	})
	rt.method(request, "json", func(goja.FunctionCall) goja.Value { return rt.decode(body) })
	rt.freeze(request)
	return request
}

// headersView has the headers by their names in lower case.
type headersView struct {
	rt     *runtime
	header http.Header
}

func (v *headersView) Get(name string) goja.Value {
	values := v.header[http.CanonicalHeaderKey(name)]
	if len(values) == 0 || name != strings.ToLower(name) {
		return nil
	}
	return v.rt.vm.ToValue(strings.Join(values, ", "))
}

func (v *headersView) Has(name string) bool { return v.Get(name) != nil }

func (v *headersView) Keys() []string {
	names := make([]string, 0, len(v.header))
	for name := range v.header {
		names = append(names, strings.ToLower(name))
	}
	slices.Sort(names)
	return names
}

func (v *headersView) Set(string, goja.Value) bool { return v.Delete("") }

func (v *headersView) Delete(string) bool {
	return v.rt.readOnly("the request's headers", "{ ...request.headers }")
}
