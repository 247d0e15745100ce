package jshost_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/jshost"
	"github.com/pipehook/pipehook/core/samples"
	"github.com/pipehook/pipehook/core/source/pipedrive"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func event(t testing.TB, body string) core.Event {
	t.Helper()
	ev := core.Event{ID: "id-1", Pipeline: "crm", Source: "pipedrive", Body: []byte(body), ReceivedAt: time.Date(2026, 6, 1, 10, 0, 1, 0, time.UTC)}
	if err := (pipedrive.Source{}).Name(&ev); err != nil {
		t.Fatal(err)
	}
	return ev
}

func sample(t testing.TB) core.Event {
	_, body, _ := samples.For("updated.deal")
	return event(t, string(body))
}

// script compiles files; the first is the handler.
func script(t testing.TB, files ...string) (string, *jshost.Program, error) {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(files); i += 2 {
		if err := os.WriteFile(filepath.Join(dir, files[i]), []byte(files[i+1]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, files[0])
	p, err := jshost.Compile(path)
	return path, p, err
}

// run calls a handler once and returns what it said.
func run(t testing.TB, ev core.Event, files ...string) ([]string, error) {
	t.Helper()
	_, p, err := script(t, files...)
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	s := jshost.NewScript("it", p, 1, jshost.Options{Log: slog.New(slog.DiscardHandler), Said: func(l jshost.Line) { said = append(said, l.Text) }})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	return said, errors.Join(s.Handle(ctx, ev))
}

func runSaid(t testing.TB, ev core.Event, code string) string {
	t.Helper()
	_, p, err := script(t, "it.js", code)
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	s := jshost.NewScript("it", p, 1, jshost.Options{Log: slog.New(slog.DiscardHandler), Said: func(l jshost.Line) { said = append(said, l.Text) }})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := s.Handle(ctx, ev); err != nil {
		t.Fatal(err)
	}
	return strings.Join(said, "\n")
}

func TestEveryFormOfModuleIsAHandler(t *testing.T) {
	for name, files := range map[string][]string{
		"export default":           {"a.js", `export const match = ["updated.deal", "added.*"]; export default function (event, ctx) { ctx.log.info(event.action) }`},
		"an arrow function":        {"a.js", `export const match = ["updated.deal", "added.*"]; export default (event, ctx) => ctx.log.info(event.action)`},
		"async":                    {"a.js", `export const match = ["updated.deal", "added.*"]; export default async (event, ctx) => { await null; ctx.log.info(event.action) }`},
		"module.exports":           {"a.cjs", `module.exports = function (event, ctx) { ctx.log.info(event.action) }; module.exports.match = ["updated.deal", "added.*"]`},
		"exports.default":          {"a.js", `exports.default = (event, ctx) => ctx.log.info(event.action); exports.match = ["updated.deal", "added.*"]`},
		"TypeScript":               {"a.ts", `interface E { action: string }; export const match: string[] = ["updated.deal", "added.*"]; export default function (event: E, ctx: any): void { ctx.log.info(event.action) }`},
		"a file and JSON imported": {"a.js", `import { say } from "./lib"; import conf from "./conf.json"; export const match = conf.match; export default say`, "lib.ts", `export const say = (event: any, ctx: any) => ctx.log.info(event.action)`, "conf.json", `{"match":["updated.deal","added.*"]}`},
	} {
		t.Run(name, func(t *testing.T) {
			_, p, err := script(t, files...)
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(p.Match()); got != "[updated.deal added.*]" || !p.Handles() {
				t.Errorf("match %s, handles %v", got, p.Handles())
			}
			var said string
			s := jshost.NewScript("a", p, 1, jshost.Options{Log: slog.New(slog.DiscardHandler), Said: func(l jshost.Line) { said = l.Text }})
			if err := s.Handle(t.Context(), sample(t)); err != nil || said != "updated" {
				t.Errorf("said %q (%v)", said, err)
			}
		})
	}
}

func TestAFileThatDoesNotCompileNamesThePlace(t *testing.T) {
	for name, test := range map[string]struct{ code, want string }{
		"broken syntax":         {"export default function (event) {\n  const = 5;\n}", `:2:9: Expected identifier but found "="`},
		"a missing import":      {"import x from \"./nowhere\";\nexport default () => x", `:1:15: Could not resolve "./nowhere"`},
		"an error at the top":   {"const a = null;\n\na.b;\nexport default () => 1", ":3:3: TypeError: Cannot read property 'b' of"},
		"an endless top":        {"for (;;) {}\nexport default () => 1", "stopped: its time was over"},
		"a match that is none":  {"export const match = 5; export default () => 1", ": match must be a pattern or a list"},
		"a pattern that is not": {"export const match = ['deal']; export default () => 1", `: match: pattern "deal" is not action.object`},
	} {
		t.Run(name, func(t *testing.T) {
			path, _, err := script(t, "it.js", test.code)
			failure, ok := errors.AsType[*jshost.CompileError](err)
			if !ok || !strings.HasPrefix(err.Error(), path) || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("error %v, want %s%s", err, path, test.want)
			}
			if strings.HasPrefix(test.want, ":") && test.want[1] != ' ' && failure.Line == 0 {
				t.Errorf("no line in %+v", failure)
			}
		})
	}
	if _, p, err := script(t, "lib.js", "export const x = 1"); err != nil || p.Handles() {
		t.Errorf("a library: handles %v (%v)", p.Handles(), err)
	}
}

func TestAFailureSaysWhereAndWhat(t *testing.T) {
	for name, test := range map[string]struct{ code, want string }{
		"an Error":                      {"export default (event) => {\n\n  throw new Error('deal ' + event.objectId);\n}", "it.js:3:9: Error: deal 8"},
		"a TypeError":                   {"export default (event) => {\n  event.nothing.here;\n}", "it.js:2:17: TypeError: Cannot read property 'here' of undefined"},
		"a thrown object":               {"export default () => { throw { code: 3 } }", `{"code":3}`},
		"a thrown text":                 {"export default () => { throw 'no' }", "no"},
		"an async function":             {"export default async () => {\n  await null;\n  throw new RangeError('late');\n}", "it.js:3:9: RangeError: late"},
		"a promise that nobody handles": {"export default () => { Promise.reject(new Error('lost')) }", "a promise was rejected and nobody handled it: Error: lost"},
		"a promise that never settles":  {"export default () => new Promise(() => {})", "the handler's promise never settled"},
		"endless recursion":             {"const f = () => f();\nexport default () => f()", "the calls are nested too deep"},
		"a change of the event":         {"export default (event) => {\n  event.action = 'x';\n}", "TypeError: the event can't be changed"},
		"a change of its data":          {"export default (event) => {\n  event.current.title = 'x';\n}", "TypeError: the event's data can't be changed"},
		"code made of text":             {"export default () => eval('1')", "ReferenceError: eval is not defined"},
		"a constructor of functions":    {"export default () => (() => 1).constructor('return 1')()", "TypeError"},
		"a huge string":                 {"export default () => 'x'.repeat(2 ** 40)", "RangeError: repeat: a string may have at most"},
		"a module of Node's":            {"import fs from 'fs'; export default () => fs", `no module "fs"`},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "a module of Node's" {
				_, _, err := script(t, "it.js", test.code)
				if err == nil {
					t.Fatal("compiled")
				}
				return
			}
			_, err := run(t, sample(t), "it.js", test.code)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %s", err, test.want)
			}
		})
	}
}

func TestAnErrorInAnImportedFileNamesThatFile(t *testing.T) {
	_, err := run(t, sample(t), "it.js", "import { f } from './lib';\nexport default () => f()", "lib.ts", "export const f = (): void => {\n  throw new Error('deep');\n}")
	if err == nil || !strings.Contains(err.Error(), "lib.ts:2:9: Error: deep") {
		t.Errorf("error %v", err)
	}
}

func TestTheEventHasEveryFieldAndMethod(t *testing.T) {
	code := `export default (event, ctx) => console.log([
		event.id, event.pipeline, event.source, event.action, event.object, event.objectId, event.current.stage_id, event.previous.stage_id,
		event.meta.entity, event.version, event.attempt, event.occurredAt, event.receivedAt, typeof event.raw,
		event.isCreate(), event.isUpdate(), event.isDelete(), event.isMerge(), event.isObjectType("deal"), event.isObjectType("person"),
		event.getUserId(), event.getCompanyId(), event.getChangeSource(), event.isFromApp(), event.isFromApi(), event.isBulkUpdate(),
		event.getRetryCount(), event.isRetry(), event.changed("stage_id"), event.changed("title"), event.changes(),
		Object.keys(event).join(), "isCreate" in event, "nothing" in event, ctx.listener, ctx.deadline > 0])`
	want := `["id-1","crm","pipedrive","updated","deal","8",4,3,"deal","2.0",1,"2026-06-01T10:00:00.400Z","2026-06-01T10:00:01.000Z","string",` +
		`false,true,false,false,true,false,12415231,8087566,"app",true,false,false,0,false,true,false,{"stage_id":{"was":3,"is":4}},` +
		`"id,pipeline,source,action,object,objectId,current,previous,meta,version,attempt,occurredAt,receivedAt,raw",true,false,"it",true]`
	if got := runSaid(t, sample(t), code); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestTheDataBehavesLikePlainObjects(t *testing.T) {
	body := `{"meta":{"version":"2.0","action":"change","entity":"deal","entity_id":"1"},"previous":{"a":null},
		"data":{"a":1,"b":{"c":[1,{"d":"x"}]},"big":9007199254740993,"max":9007199254740991,"f":1.5,"t":true,"n":null,"neg":-0,"e":1e3,"s":"ü\n","__proto__":1,"a.b":2}}`
	for code, want := range map[string]string{
		`Object.keys(event.current).join()`:                                              `a,b,big,max,f,t,n,neg,e,s,__proto__,a.b`,
		`JSON.stringify(event.current.b)`:                                                `{"c":[1,{"d":"x"}]}`,
		`JSON.stringify({ ...event.current.b, e: 1 })`:                                   `{"c":[1,{"d":"x"}],"e":1}`,
		`event.current.big`:                                                              `9007199254740993`,
		`typeof event.current.big + typeof event.current.max`:                            `stringnumber`,
		`event.current.f + event.current.e`:                                              `1001.5`,
		`event.current.n === null && event.current.missing === undefined`:                `true`,
		`"n" in event.current && !("missing" in event.current)`:                          `true`,
		`event.current.b?.c?.[1]?.d ?? "none"`:                                           `x`,
		`event.current.x?.y ?? "none"`:                                                   `none`,
		`Array.isArray(event.current.b.c) + event.current.b.c.map(v => typeof v).join()`: `truenumber,object`,
		`(() => { const { a, b: { c: [first] } } = event.current; return a + first })()`: `2`,
		`event.current.s`:                  "ü\n",
		`event.current["a.b"]`:             `2`,
		`event.current === event.current`:  `true`,
		`event.previous.a`:                 `null`,
		`JSON.parse(event.raw).data.a`:     `1`,
		`Object.is(event.current.neg, -0)`: `true`,
		`(() => { let s = ""; for (const k in event.current.b) s += k; return s })()`: `c`,
		`JSON.stringify(event).length > 100`:                                          `true`,
	} {
		if got := runSaid(t, event(t, body), "export default (event) => console.log(String("+code+"))"); got != want {
			t.Errorf("%s = %q, want %q", code, got, want)
		}
	}
	created := `{"meta":{"version":"2.0","action":"create","entity":"deal","entity_id":"1"},"data":{"id":1},"previous":null}`
	if got := runSaid(t, event(t, created), "export default (event) => console.log(event.previous, event.occurredAt, event.getUserId())"); got != "null null null" {
		t.Errorf("what is not known: %s", got)
	}
}

func TestADeadlineEndsTheCallAndTheNextOneWorks(t *testing.T) {
	for name, loop := range map[string]string{
		"a loop":           "for (;;);",
		"a trap":           "for (;;) { try { for (;;); } catch (e) {} finally { for (;;); } }",
		"promise jobs":     "const again = () => Promise.resolve().then(again); again();",
		"a growing string": "let s = 'x'; for (;;) { s = 'x' + s.slice(0, 10); }",
	} {
		t.Run(name, func(t *testing.T) {
			_, p, err := script(t, "it.js", "export default (event) => {\n  if (event.id === 'stuck') {\n    "+loop+"\n  }\n}")
			if err != nil {
				t.Fatal(err)
			}
			s := jshost.NewScript("it", p, 1, jshost.Options{})
			for range 3 {
				ev := sample(t)
				ev.ID = "stuck"
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
				err = s.Handle(ctx, ev)
				cancel()
				if err == nil || !strings.Contains(err.Error(), "stopped: its time was over") || !errors.Is(err, context.DeadlineExceeded) {
					t.Fatalf("error %v", err)
				}
				if err := s.Handle(t.Context(), sample(t)); err != nil {
					t.Fatalf("the next call: %v", err)
				}
			}
		})
	}
}

func TestManyCallsShareFewRuntimes(t *testing.T) {
	_, p, err := script(t, "it.js", "let n = 0; export default () => { n++ }")
	if err != nil {
		t.Fatal(err)
	}
	s := jshost.NewScript("it", p, 2, jshost.Options{})
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 50 {
				if err := s.Handle(t.Context(), sample(t)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func TestASwapGoesToTheNewVersion(t *testing.T) {
	compile := func(word string) *jshost.Program {
		_, p, err := script(t, "it.js", "export default (event, ctx) => ctx.log.info('"+word+"')")
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	var said []string
	first, second := compile("one"), compile("two")
	s := jshost.NewScript("it", first, 1, jshost.Options{Log: slog.New(slog.DiscardHandler), Said: func(l jshost.Line) { said = append(said, l.Text) }})
	for _, p := range []*jshost.Program{nil, second} {
		if p != nil {
			s.Swap(p)
		}
		if err := s.Handle(t.Context(), sample(t)); err != nil {
			t.Fatal(err)
		}
	}
	if strings.Join(said, " ") != "one two" || s.Hash() != second.Hash() || first.Hash() == second.Hash() {
		t.Errorf("said %v, hash %s", said, s.Hash())
	}
}

func TestAFolderHasHandlersAndOtherFiles(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a.js", "b-c.ts", "d.mjs", "e.test.js", "types.d.ts", "_lib.js", ".hidden.js", "note.md", "Bad Name.js"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	found, err := jshost.Scan(dir)
	var names []string
	for _, f := range found {
		names = append(names, f.Name)
	}
	if got := strings.Join(names, " "); got != "a b-c d" || err == nil || !strings.Contains(err.Error(), "Bad Name.js") {
		t.Errorf("found %s (%v)", got, err)
	}
	if found, err := jshost.Scan(filepath.Join(dir, "none")); found != nil || err != nil {
		t.Errorf("a folder that is not there: %v %v", found, err)
	}
}

func TestAChangedFileIsNoticed(t *testing.T) {
	dir := t.TempDir()
	changed := make(chan struct{}, 100)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- jshost.Watch(ctx, []string{dir}, func() { changed <- struct{}{} }) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	// Until the watcher listens nothing is noticed, so the first write is repeated.
	for noticed := false; !noticed; {
		if err := os.WriteFile(filepath.Join(dir, "a.js"), []byte("1"), 0o600); err != nil {
			t.Fatal(err)
		}
		select {
		case <-changed:
			noticed = true
		case <-time.After(300 * time.Millisecond):
		}
	}
	for _, change := range []func() error{
		func() error { return os.WriteFile(filepath.Join(dir, ".a.js.swp"), []byte("2"), 0o600) },
		func() error { return os.Rename(filepath.Join(dir, ".a.js.swp"), filepath.Join(dir, "a.js")) },
		func() error { return os.Mkdir(filepath.Join(dir, "lib"), 0o700) },
		func() error { return os.WriteFile(filepath.Join(dir, "lib", "b.js"), []byte("3"), 0o600) },
		func() error { return os.Remove(filepath.Join(dir, "a.js")) },
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		<-changed
	}
}

func FuzzDataIsWhatJSONParseGives(f *testing.F) {
	f.Add(`{"a":[1,{"b":"x"}],"c":1.5,"d":null,"e":true}`)
	_, p, err := script(f, "it.js", `export default (event) => {
		const view = JSON.stringify(JSON.parse(JSON.stringify(event.current))), parsed = JSON.stringify(JSON.parse(event.raw).data);
		if (view !== parsed && !/\d{16}|__proto__/.test(event.raw)) throw new Error(view + " is not " + parsed);
	}`)
	if err != nil {
		f.Fatal(err)
	}
	s := jshost.NewScript("it", p, 1, jshost.Options{})
	f.Fuzz(func(t *testing.T, data string) {
		if !json.Valid([]byte(data)) || !strings.HasPrefix(data, "{") || len(data) > 4096 {
			return
		}
		ev := core.Event{ID: "x", Body: []byte(`{"meta":{"version":"2.0","action":"a","entity":"b"},"data":` + data + `}`)}
		if (pipedrive.Source{}).Name(&ev) != nil {
			return
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := s.Handle(ctx, ev); err != nil {
			t.Error(err)
		}
	})
}

func BenchmarkAHandlerThatReadsThreeFields(b *testing.B) {
	_, p, err := script(b, "it.js", `export default (event) => { if (event.changed("stage_id")) { event.current.title; event.current.value; event.current.owner_id } }`)
	if err != nil {
		b.Fatal(err)
	}
	s := jshost.NewScript("it", p, 1, jshost.Options{})
	ev := sample(b)
	ctx, cancel := context.WithTimeout(b.Context(), time.Hour)
	defer cancel()
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Handle(ctx, ev); err != nil {
			b.Fatal(err)
		}
	}
}
