package engine

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/dop251/goja"

	"github.com/pipehook/pipehook/core/effect"
)

const pipedriveName = "pipedrive.js"

//go:embed pipedrive.js
var pipedriveSource string

var pipedriveProgram = goja.MustCompile(pipedriveName, pipedriveSource, true)

// maxAPIQuery bounds a query's JSON.
const maxAPIQuery = 8 << 10

// pipedriveObject is ctx.pipedrive. Its parts look at their arguments when they are called, so what can't be
// used is thrown where it is given.
func (rt *runtime) pipedriveObject() goja.Value {
	made, err := rt.vm.RunProgram(pipedriveProgram)
	if err != nil {
		panic(err)
	}
	build, _ := goja.AssertFunction(made)
	parts, err := build(goja.Undefined(), rt.function("ask", rt.askPipedrive))
	if err != nil {
		panic(err)
	}
	object := parts.ToObject(rt.vm)
	for _, name := range object.Keys() {
		rt.freeze(object.Get(name).ToObject(rt.vm))
	}
	rt.freeze(object)
	return object
}

// askPipedrive makes one call: of what (for errors), method, path, query, body.
func (rt *runtime) askPipedrive(call goja.FunctionCall) goja.Value {
	what := "ctx.pipedrive." + call.Argument(0).String()
	host := rt.host(what)
	if rt.call != nil && rt.call.Kind == Source {
		panic(rt.newError("HostError", "ENOTAVAILABLE", what+": a source only reads what a sender sends: ask in a stage or a listener"))
	}
	path, ok := call.Argument(2).(goja.String)
	if !ok {
		panic(rt.vm.NewTypeError("%s wants the path first, such as \"/api/v2/deals/1\"", what))
	}
	c := &effect.APICall{Method: call.Argument(1).String(), Path: path.String(), Query: rt.apiQuery(what, call.Argument(3))}
	if body := call.Argument(4); !goja.IsUndefined(body) {
		c.Body = rt.written(what+": the body", body, effect.MaxAPIBody)
	}
	if refused := c.Check(); refused != nil {
		panic(rt.vm.NewTypeError("%s: %s", what, refused.Msg))
	}
	by := rt.by()
	return rt.async(what, func(ctx context.Context) (func(*goja.Runtime) goja.Value, error) {
		r, err := host.Pipedrive(ctx, by, c)
		if err != nil {
			return nil, err
		}
		return func(vm *goja.Runtime) goja.Value {
			o := vm.NewObject()
			data := goja.Null()
			if len(r.Data) > 0 {
				data = rt.decode(r.Data)
			}
			_ = o.Set("data", data) // a plain new object takes any property
			_ = o.Set("next", r.Next)
			return o
		}, nil
	})
}

// apiQuery takes text, numbers and truth values, and lists of them, which the API wants with commas. What is
// null or undefined is left out.
func (rt *runtime) apiQuery(what string, v goja.Value) url.Values {
	o := rt.options(what+": the query", v)
	if o == nil {
		return nil
	}
	var given map[string]any
	d := json.NewDecoder(bytes.NewReader(rt.written(what+": the query", o, maxAPIQuery)))
	d.UseNumber()
	if err := d.Decode(&given); err != nil {
		panic(rt.vm.NewTypeError("%s: the query must be an object", what))
	}
	query := url.Values{}
	for name, value := range given {
		text, ok := apiText(value)
		switch list, isList := value.([]any); {
		case value == nil:
			continue
		case isList:
			texts := make([]string, len(list))
			ok = true
			for i, one := range list {
				var fits bool
				texts[i], fits = apiText(one)
				ok = ok && fits
			}
			text = strings.Join(texts, ",")
		}
		if !ok {
			panic(rt.vm.NewTypeError("%s: %s in the query must be text, a number, true, false, or a list of these", what, shortened(fmt.Sprintf("%q", name), 80)))
		}
		query.Set(name, text)
	}
	return query
}

func apiText(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool:
		return strconv.FormatBool(v), true
	}
	return "", false
}
