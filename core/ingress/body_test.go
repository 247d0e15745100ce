package ingress

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/pipehook/pipehook/core"
)

func TestOnlyJSONInUTF8IsTaken(t *testing.T) {
	tests := []struct {
		name     string
		types    []string
		encoding []string
		status   int
	}{
		{"JSON", []string{"application/json"}, nil, 200},
		{"JSON in capitals", []string{"Application/JSON"}, nil, 200},
		{"with a charset", []string{"application/json; charset=utf-8"}, nil, 200},
		{"with a quoted charset", []string{`application/json;charset="UTF-8"`}, nil, 200},
		{"with another parameter", []string{"application/json; profile=x"}, nil, 200},
		{"a JSON of its own kind", []string{"application/cloudevents+json"}, nil, 200},
		{"a JSON of its own kind with a charset", []string{"application/vnd.api+json; charset=utf-8"}, nil, 200},
		{"not encoded", []string{"application/json"}, []string{"identity"}, 200},
		{"no type", nil, nil, 415},
		{"an empty type", []string{""}, nil, 415},
		{"two types", []string{"application/json", "text/plain"}, nil, 415},
		{"a list of types", []string{"application/json, text/plain"}, nil, 415},
		{"text", []string{"text/plain"}, nil, 415},
		{"a form", []string{"application/x-www-form-urlencoded"}, nil, 415},
		{"JSON that is text", []string{"text/x+json"}, nil, 415},
		{"a suffix alone", []string{"application/+json"}, nil, 415},
		{"another type that begins so", []string{"application/jsonp"}, nil, 415},
		{"a sequence of JSON", []string{"application/json-seq"}, nil, 415},
		{"another charset", []string{"application/json; charset=latin1"}, nil, 415},
		{"an empty charset", []string{`application/json; charset=""`}, nil, 415},
		{"two charsets", []string{"application/json; charset=utf-8; charset=latin1"}, nil, 415},
		{"gzip", []string{"application/json"}, []string{"gzip"}, 415},
		{"gzip after identity", []string{"application/json"}, []string{"identity", "gzip"}, 415},
		{"an empty encoding", []string{"application/json"}, []string{""}, 415},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := &shelf{}
			r := crmPost("{}")
			r.Header["Content-Type"] = test.types
			r.Header["Content-Encoding"] = test.encoding
			if a := ask(t, storing(Options{}, s), r); a.Code != test.status || (s.count() == 1) != (test.status == 200) {
				t.Errorf("answer %d %s, %d stored", a.Code, a.Body, s.count())
			}
		})
	}
}

func TestASourceMayReadMoreThanJSON(t *testing.T) {
	for _, test := range []struct {
		given  string
		status int
	}{
		{"application/xml", 200},
		{"Application/XML; charset=iso-8859-1", 200},
		{"text/xml", 200},
		{"application/json", 200},
		{"text/plain", 415},
		{"application/xml, text/xml", 415},
		{"application/xml; charset", 415},
		{"", 415},
	} {
		h := storing(Options{}, &shelf{})
		hook := *h.rules.Load().hooks[crmPath]
		hook.Types = []string{"application/xml", "text/xml"}
		h.SetHooks([]Hook{hook})
		r := crmPost("{}")
		r.Header.Set("Content-Type", test.given)
		if a := ask(t, h, r); a.Code != test.status || test.status == 415 && !strings.Contains(a.Body.String(), "or as application/xml or text/xml") {
			t.Errorf("%q: answer %d %s", test.given, a.Code, a.Body)
		}
	}
}

func TestABodyIsTakenWholeOrNotAtAll(t *testing.T) {
	broken := func(text string) io.Reader {
		return io.MultiReader(strings.NewReader(text), readerFunc(func([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }))
	}
	const limit = 3*firstPart + 5 // so that it takes several parts
	full := strings.Repeat("x", limit)
	tests := []struct {
		name   string
		body   io.Reader
		length int64
		status int
	}{
		{"sized, one byte", strings.NewReader("1"), 1, 200},
		{"sized, the first part exactly", strings.NewReader(full[:firstPart]), firstPart, 200},
		{"sized, one byte above the first part", strings.NewReader(full[:firstPart+1]), firstPart + 1, 200},
		{"sized, at the limit", strings.NewReader(full), limit, 200},
		{"sized, one byte above the limit", strings.NewReader(full + "x"), limit + 1, 413},
		{"announced as endless", strings.NewReader("1"), 1 << 62, 413},
		{"not sized, one byte", strings.NewReader("1"), -1, 200},
		{"not sized, one byte below the limit", strings.NewReader(full[1:]), -1, 200},
		{"not sized, at the limit", strings.NewReader(full), -1, 200},
		{"not sized, one byte above the limit", strings.NewReader(full + "x"), -1, 413},
		{"not sized and endless", readerFunc(func(p []byte) (int, error) { return len(p), nil }), -1, 413},
		{"not sized, byte by byte", iotestOneByte(full), -1, 200},
		{"sized and empty", http.NoBody, 0, 400},
		{"not sized and empty", strings.NewReader(""), -1, 400},
		{"sized, cut off at once", broken(""), 10, 400},
		{"sized, cut off", broken("12345"), 10, 400},
		{"sized, ends early without an error", strings.NewReader("12345"), 10, 400},
		{"not sized, cut off at once", broken(""), -1, 400},
		{"not sized, cut off", broken("12345"), -1, 400},
		{"not sized, cut off between parts", broken(full[:firstPart]), -1, 400},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := &shelf{}
			h := storing(Options{MaxBody: limit}, s)
			r := crmPost("")
			r.Body, r.ContentLength = io.NopCloser(test.body), test.length
			a := ask(t, h, r)
			if a.Code != test.status {
				t.Fatalf("answer %d %s, want %d", a.Code, a.Body, test.status)
			}
			if test.status != 200 && s.count() != 0 {
				t.Error("something was stored")
			}
			if test.length > 0 && a.Code == 200 && s.bodies[0] != full[:test.length] && s.bodies[0] != "1" {
				t.Error("another body was stored")
			}
			if left := h.rules.Load().budget.used.Load(); left != 0 {
				t.Errorf("%d bytes are still counted", left)
			}
		})
	}
}

func iotestOneByte(text string) io.Reader {
	rest := strings.NewReader(text)
	return readerFunc(func(p []byte) (int, error) { return rest.Read(p[:min(1, len(p))]) })
}

func TestASizedBodyTakesNoMoreMemoryThanItNeeds(t *testing.T) {
	for _, length := range []int64{1, firstPart, firstPart + 1, 5 * firstPart} {
		r := crmPost(strings.Repeat("x", int(length)))
		s := share{of: &budget{limit: 1 << 20}}
		body, err := readBody(r, 1<<20, &s)
		if err != nil || int64(cap(body)) != length || s.held != length {
			t.Errorf("%d bytes: capacity %d, counted %d, %v", length, cap(body), s.held, err)
		}
	}
}

func TestBodiesInFlightHaveALimitTogether(t *testing.T) {
	const size = 100
	s := &shelf{}
	inside, goOn := make(chan struct{}), make(chan struct{})
	h := storing(Options{MaxBody: size, InFlight: 3 * size}, s, stepFunc(func(context.Context, *core.Event) (core.Verdict, error) {
		inside <- struct{}{}
		<-goOn
		return core.Continue, nil
	}))
	body := strings.Repeat("x", size)
	var running sync.WaitGroup
	for range 3 {
		running.Go(func() { ask(t, h, crmPost(body)) })
		<-inside
	}
	if a := ask(t, h, crmPost(body)); a.Code != 503 || a.Error.Code != "unavailable" || a.Header().Get("Retry-After") != "1" {
		t.Errorf("answer %d %s", a.Code, a.Body)
	}
	close(goOn)
	running.Wait()
	go func() { <-inside }()
	if a := ask(t, h, crmPost(body)); a.Code != 200 || s.count() != 4 || h.rules.Load().budget.used.Load() != 0 {
		t.Errorf("afterwards %d %s, %d bytes are still counted", a.Code, a.Body, h.rules.Load().budget.used.Load())
	}
}

// A stranger who announces much and sends little must not use up what others need.
func TestAnnouncedBytesAreNotCounted(t *testing.T) {
	const limit = 1 << 20
	h := storing(Options{MaxBody: limit, InFlight: 4 * limit}, &shelf{})
	reading, goOn := make(chan struct{}), make(chan struct{})
	var running sync.WaitGroup
	for range 100 {
		r := crmPost("")
		r.ContentLength = limit
		r.Body = io.NopCloser(readerFunc(func([]byte) (int, error) {
			reading <- struct{}{}
			<-goOn
			return 0, io.ErrUnexpectedEOF
		}))
		running.Go(func() { ask(t, h, r) })
		<-reading
	}
	if a := ask(t, h, crmPost("{}")); a.Code != 200 {
		t.Errorf("answer %d %s", a.Code, a.Body)
	}
	close(goOn)
	running.Wait()
}

func TestTheLargestBodyFitsTheBudget(t *testing.T) {
	h := storing(Options{MaxBody: 100, InFlight: 1}, &shelf{})
	r := crmPost(strings.Repeat("x", 100))
	r.ContentLength = -1
	if a := ask(t, h, r); a.Code != 200 {
		t.Errorf("answer %d %s", a.Code, a.Body)
	}
}
