package scripttest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"strings"
	"testing"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/effect"
	"github.com/pipehook/pipehook/core/fixture"
	"github.com/pipehook/pipehook/core/jshost/engine"
	"github.com/pipehook/pipehook/core/jshost/scripttest"
)

// refusing is a host that does nothing and says so.
type refusing struct{}

var errRefused = &effect.Error{Code: "EHOST", Msg: "evil.example is not allowed"}

func (refusing) Fetch(context.Context, effect.Caller, *engine.FetchRequest) (*engine.FetchResponse, error) {
	return nil, errRefused
}
func (refusing) KV(context.Context, effect.Caller, *effect.KVOp) (*effect.KVResult, error) {
	return nil, errRefused
}
func (refusing) Emit(context.Context, effect.Caller, *effect.Emit) (*effect.Emitted, error) {
	return nil, errRefused
}
func (refusing) Pipedrive(context.Context, effect.Caller, *effect.APICall) (*effect.APIAnswer, error) {
	return nil, errRefused
}

func TestARecorderKeepsWhatIsAskedOfIt(t *testing.T) {
	rec := &scripttest.Recorder{Answer: scripttest.Stub(503), KVs: &fixture.Overlay{}}
	by := effect.Caller{Name: "it", Event: &core.Event{ID: "1"}}
	request := &engine.FetchRequest{Method: "POST", URL: "https://a.example/x?token=s3cret-value", Header: [][2]string{{"Accept", "a"}, {"accept", "b"}}, Body: []byte(`{"a":1}`)}
	resp, err := rec.Fetch(t.Context(), by, request)
	if err != nil || resp.Status != 503 || string(resp.Body) != "{}" {
		t.Fatalf("%+v %v", resp, err)
	}
	if _, err := rec.Fetch(t.Context(), by, &engine.FetchRequest{Method: "PUT", URL: "https://a.example/", Body: []byte("no JSON\xff")}); err != nil {
		t.Fatal(err)
	}
	effects := rec.Take()
	hide := scripttest.Redactor(map[string]string{"TOKEN": "s3cret-value", "SHORT": "1"})
	text, err := json.Marshal([]scripttest.Effect{effects[0].Redacted(hide), effects[1].Redacted(hide)})
	want := `[{"fetch":"POST https://a.example/x?token=[secret TOKEN]","headers":{"accept":"a, b"},"body":{"a":1},"status":503},{"fetch":"PUT https://a.example/","body":"no JSON` + "\uFFFD" + `","status":503}]`
	if err != nil || string(text) != want {
		t.Errorf("%s %v", text, err)
	}
	if len(rec.Take()) != 0 {
		t.Error("they were taken twice")
	}
	rec = &scripttest.Recorder{Live: refusing{}}
	_, fetching := rec.Fetch(t.Context(), by, request)
	_, keeping := rec.KV(t.Context(), by, &effect.KVOp{Op: "set", Key: "a", Value: []byte("1")})
	_, emitting := rec.Emit(t.Context(), by, &effect.Emit{Action: "added", Object: "x"})
	if !errors.Is(fetching, errRefused) || !errors.Is(keeping, errRefused) || !errors.Is(emitting, errRefused) {
		t.Errorf("%v, %v, %v", fetching, keeping, emitting)
	}
	for i, want := range []string{`fetch POST https://a.example/x?token=s3cret-value {"a":1} → evil.example is not allowed`, "kv set a 1 → evil.example is not allowed", "emit added.x → evil.example is not allowed"} {
		if got := rec.Take(); i == 0 {
			effects = got
		}
		if effects[i].String() != want {
			t.Errorf("%s", effects[i])
		}
	}
}

func TestASecretIsHiddenInEveryForm(t *testing.T) {
	hide := scripttest.Redactor(map[string]string{"A": "pass word/\"x\"", "B": "pass word"})
	for text, want := range map[string]string{
		`pass word/"x"`:           "[secret A]",
		`{"a":"pass word/\"x\""}`: `{"a":"[secret A]"}`,
		"pass+word%2F%22x%22":     "[secret A]",
		"pass%20word":             "[secret B]",
		"a pass word":             "a [secret B]",
	} {
		if got := hide.Replace(text); got != want {
			t.Errorf("%s: %s", text, got)
		}
	}
}

func TestJUnitIsReadAsItWasMeant(t *testing.T) {
	f := runCode(t, "test('good', () => {});\ntest('<bad> & \"so\"', () => { console.log('said \\u0001'); expect(1).toBe(2); });\ntest.skip('later');")
	broken := scripttest.File{Path: "broken.test.ts", Failure: &scripttest.Failure{Message: "no", File: "broken.test.ts", Line: 3, Column: 4}}
	var out bytes.Buffer
	if err := scripttest.WriteJUnit(&out, []scripttest.File{f, broken}); err != nil {
		t.Fatal(err)
	}
	var read struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
		Skipped  int `xml:"skipped,attr"`
		Suites   []struct {
			Errors int `xml:"errors,attr"`
			Cases  []struct {
				Name    string `xml:"name,attr"`
				Failure *struct {
					Message string `xml:"message,attr"`
					Text    string `xml:",chardata"`
				} `xml:"failure"`
				Error   *struct{} `xml:"error"`
				Skipped *struct{} `xml:"skipped"`
				Out     string    `xml:"system-out"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(out.Bytes(), &read); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if read.Tests != 4 || read.Failures != 2 || read.Skipped != 1 || len(read.Suites) != 2 || read.Suites[1].Errors != 1 || read.Suites[1].Cases[0].Error == nil {
		t.Errorf("%s", out.String())
	}
	bad := read.Suites[0].Cases[1]
	if bad.Name != `<bad> & "so"` || bad.Failure == nil || bad.Failure.Message != "expect(…).toBe(2)" || !strings.Contains(bad.Failure.Text, "it.test.ts:3:") || !strings.Contains(bad.Out, "INFO said") {
		t.Errorf("%+v", bad)
	}
	if read.Suites[0].Cases[2].Skipped == nil {
		t.Errorf("%s", out.String())
	}
}
