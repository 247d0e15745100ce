package web

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/dop251/goja"

	"github.com/pipehook/pipehook/core/jsonscan"
)

func (w *World) fetchNatives() map[string]func(goja.FunctionCall) goja.Value {
	return map[string]func(goja.FunctionCall) goja.Value{
		"isBytes": func(call goja.FunctionCall) goja.Value { return w.vm.ToValue(w.isBytes(call.Argument(0))) },
		// body is a copy of text or bytes that no script can reach.
		"body": func(call goja.FunctionCall) goja.Value {
			return w.newBuffer([]byte(string(w.data(call.Argument(0), MaxBody))))
		},
		"text": func(call goja.FunctionCall) goja.Value { return w.bodyText(w.bytes(call.Argument(0), MaxBody)) },
		"json": func(call goja.FunctionCall) goja.Value {
			data := w.bytes(call.Argument(0), MaxBody)
			if jsonscan.Depth(data, jsonscan.MaxDepth) > jsonscan.MaxDepth {
				panic(w.failure("SyntaxError", fmt.Sprintf("the JSON is nested deeper than %d", jsonscan.MaxDepth)))
			}
			return w.bodyText(data)
		},
		"url": func(call goja.FunctionCall) goja.Value {
			a := w.address(call.Argument(0), nil)
			if _, err := a.wire(); err != nil {
				panic(w.vm.NewTypeError("fetch: " + err.Error()))
			}
			return w.vm.ToValue(a.href())
		},
		"send": w.send,
	}
}

// bodyText is UTF-8 without a byte order mark.
func (w *World) bodyText(data []byte) goja.Value {
	if len(data) >= 3 && data[0] == 0xEF && data[1] == 0xBB && data[2] == 0xBF {
		data = data[3:]
	}
	text, _, _ := decodeUTF8(data, false)
	return w.vm.ToValue(text)
}

// send(method, url, headers, body, redirect) gives { promise, abort }. A failure is a value, not a
// rejection: the error that a script sees was made where it called fetch.
func (w *World) send(call goja.FunctionCall) goja.Value {
	target, err := w.address(call.Argument(1), nil).wire()
	if err != nil {
		panic(w.vm.NewTypeError("fetch: " + err.Error()))
	}
	request := &FetchRequest{Method: call.Argument(0).String(), URL: target, Redirect: call.Argument(4).String()}
	headers := call.Argument(2).ToObject(w.vm)
	for i := int64(0); i < headers.Get("length").ToInteger(); i += 2 {
		request.Header = append(request.Header, [2]string{headers.Get(fmt.Sprint(i)).String(), headers.Get(fmt.Sprint(i + 1)).String()})
	}
	if body := call.Argument(3); !goja.IsNull(body) {
		request.Body = w.bytes(body, MaxBody) // a copy that was made for this
	}
	aborted, abort := context.WithCancel(context.Background())
	promise := w.deps.Async(func(ctx context.Context) (func(*goja.Runtime) goja.Value, error) {
		defer abort()
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(aborted, cancel)()
		response, err := w.fetch(ctx, request)
		return func(*goja.Runtime) goja.Value { return w.answer(response, err) }, nil
	})
	sent := w.vm.NewObject()
	must(sent.Set("promise", promise))
	must(sent.Set("abort", func(goja.FunctionCall) goja.Value {
		abort()
		return goja.Undefined()
	}))
	return sent
}

// fetch runs on another goroutine than the runtime.
func (w *World) fetch(ctx context.Context, r *FetchRequest) (*FetchResponse, error) {
	if w.deps.Fetch == nil {
		return nil, &FetchError{Code: "ENOTAVAILABLE", Msg: "it is not available here"}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	response, err := w.deps.Fetch(ctx, r)
	if err == nil && len(response.Body) > MaxBody {
		return nil, &FetchError{Code: "ETOOLARGE", Msg: fmt.Sprintf("the response has more than %d bytes", MaxBody)}
	}
	return response, err
}

// answer is what the JavaScript makes a Response of, or { message, code }.
func (w *World) answer(r *FetchResponse, err error) goja.Value {
	o := w.vm.NewObject()
	set := func(key string, v any) { must(o.Set(key, v)) }
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err // whose text repeats the URL
		}
		coded, _ := errors.AsType[*FetchError](err)
		if coded == nil {
			coded = &FetchError{Msg: err.Error()}
		}
		set("message", coded.Msg)
		set("code", coded.Code)
		return o
	}
	pairs := make([]any, len(r.Header))
	for i, pair := range r.Header {
		pairs[i] = w.strings(pair[0], latin1([]byte(pair[1])))
	}
	set("status", r.Status)
	set("statusText", latin1([]byte(r.StatusText)))
	set("url", r.URL)
	set("redirected", r.Redirected)
	set("headers", w.vm.NewArray(pairs...))
	set("body", w.vm.NewArrayBuffer(r.Body))
	return o
}
