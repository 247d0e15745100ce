package engine_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/jshost/bundle"
	"github.com/pipehook/pipehook/core/jshost/engine"
	"github.com/pipehook/pipehook/core/samples"
	"github.com/pipehook/pipehook/core/source/pipedrive"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// options and script are one pool that is called as a listener.
type options struct{ Said func(engine.Line) }

type script struct{ *engine.Pool }

func newScript(name string, p *engine.Program, size int, o options) *script {
	return &script{engine.NewPool(p, engine.Options{Name: name, Size: size, Said: o.Said})}
}

func (s *script) Handle(ctx context.Context, ev core.Event) error {
	var err error
	s.Run(ctx, []engine.Call{{Event: &ev}}, func(_ int, r engine.Result) { err = r.Err })
	return err
}

func compileFile(path string) (*engine.Program, error) {
	code, err := bundle.Make(path)
	if err != nil {
		return nil, err
	}
	return engine.Compile(code)
}

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

// compile compiles files; the first is the handler.
func compile(t testing.TB, files ...string) (string, *engine.Program, error) {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(files); i += 2 {
		if err := os.WriteFile(filepath.Join(dir, files[i]), []byte(files[i+1]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, files[0])
	p, err := compileFile(path)
	return path, p, err
}

// run calls a handler once and returns what it said.
func run(t testing.TB, ev core.Event, files ...string) ([]string, error) {
	t.Helper()
	_, p, err := compile(t, files...)
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	s := newScript("it", p, 1, options{Said: func(l engine.Line) { said = append(said, l.Text) }})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	return said, errors.Join(s.Handle(ctx, ev))
}

func runSaid(t testing.TB, ev core.Event, code string) string {
	t.Helper()
	_, p, err := compile(t, "it.js", code)
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	s := newScript("it", p, 1, options{Said: func(l engine.Line) { said = append(said, l.Text) }})
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
			_, p, err := compile(t, files...)
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(p.Match()); got != "[updated.deal added.*]" || !p.Handles() {
				t.Errorf("match %s, handles %v", got, p.Handles())
			}
			var said string
			s := newScript("a", p, 1, options{Said: func(l engine.Line) { said = l.Text }})
			if err := s.Handle(t.Context(), sample(t)); err != nil || said != "updated" {
				t.Errorf("said %q (%v)", said, err)
			}
		})
	}
}

func TestAFileThatDoesNotCompileNamesThePlace(t *testing.T) {
	for name, test := range map[string]struct{ code, want string }{
		"broken syntax":            {"export default function (event) {\n  const = 5;\n}", `:2:9: Expected identifier but found "="`},
		"a broken pattern of text": {"const a = 1;\nexport default (event) => /(/.test(event.id)", ":2:27: SyntaxError: Unterminated group"},
		"a missing import":         {"import x from \"./nowhere\";\nexport default () => x", `:1:15: Could not resolve "./nowhere"`},
		"an error at the top":      {"const a = null;\n\na.b;\nexport default () => 1", ":3:3: TypeError: Cannot read property 'b' of"},
		"an endless top":           {"const a = 1;\nfor (;;) { a.b }\nexport default () => 1", ":2:"},
		"a module of Node's":       {"import fs from 'node:fs';\nexport default () => fs", `:1:16: there is no module "node:fs": scripts don't run in Node.js`},
		"a rejection at the top":   {"Promise.reject(new Error('early'));\nexport default () => 1", ":1:16: a promise was rejected and nobody handled it: Error: early"},
		"a match that throws":      {"module.exports = { default() {},\n  get match() { throw new Error('mine') } }", ":2:23: Error: mine"},
		"a match without an end":   {"module.exports = { default() {},\n  get match() { for (;;); } }", ":2:3: the file's top level ran for more than 1s"},
		"a match of nothing":       {"exports.match = new Array(4e9); exports.default = () => 1", ": match must be a pattern or a list"},
		"a function that throws":   {"module.exports = {\n  get default() { throw new Error('mine') } }", ":2:25: Error: mine"},
		"names without an end":     {"module.exports = new Proxy({}, {\n  ownKeys() { for (;;); } })", ":2:"},
		"a pattern of numbers":     {"export const match = [5]; export default () => 1", ": match must be a pattern or a list"},
		"a match that is none":     {"export const match = 5; export default () => 1", ": match must be a pattern or a list"},
		"a pattern that is not":    {"export const match = ['deal']; export default () => 1", `: match: pattern "deal" is not action.object`},
	} {
		t.Run(name, func(t *testing.T) {
			path, _, err := compile(t, "it.js", test.code)
			failure, ok := errors.AsType[*engine.CompileError](err)
			if !ok || !strings.HasPrefix(err.Error(), path) || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("error %v, want %s%s", err, path, test.want)
			}
			if strings.HasPrefix(test.want, ":") && test.want[1] != ' ' && failure.Line == 0 {
				t.Errorf("no line in %+v", failure)
			}
		})
	}
	if _, p, err := compile(t, "lib.js", "export const x = 1"); err != nil || p.Handles() {
		t.Errorf("a library: handles %v (%v)", p.Handles(), err)
	}
}

func TestAFailureSaysWhereAndWhat(t *testing.T) {
	for name, test := range map[string]struct{ code, want string }{
		"an Error":                      {"export default (event) => {\n\n  throw new Error('deal ' + event.objectId);\n}", "it.js:3:9: Error: deal 8"},
		"a TypeError":                   {"export default (event) => {\n  event.nothing.here;\n}", "it.js:2:17: TypeError: Cannot read property 'here' of undefined"},
		"a thrown object":               {"export default () => {\n  throw { code: 3 } }", `it.js:2:3: threw {"code":3}`},
		"a thrown text":                 {"export default () => { throw 'no' }", `threw "no"`},
		"a thrown nothing":              {"export default () => { throw undefined }", "threw undefined"},
		"a rejection with an object":    {"export default async () => { throw { code: 4 } }", `it.js: threw {"code":4}`},
		"a cause that says the same":    {"export default () => { throw new Error('a: b', { cause: new TypeError('b') }) }", "Error: a: b"},
		"an error with a cause":         {"export default () => { throw new Error('a', { cause: new TypeError('b') }) }", "Error: a (caused by TypeError: b)"},
		"a cause that is repeated":      {"export default () => { throw new Error('a: b', { cause: new TypeError('b', { cause: new Error('c') }) }) }", "Error: a: b (caused by Error: c)"},
		"a foreign promise":             {"export default () => ({ then(ok, fail) { fail(new Error('thenable')) } })", "Error: thenable"},
		"a change of a list":            {"export default (event) => { event.meta.permitted_user_ids.push(1) }", "TypeError: the event's data can't be changed: make a copy, such as [...list]"},
		"a new field":                   {"export default (event) => { event.current.mine = 1 }", "TypeError: the event's data can't be changed"},
		"a deleted field":               {"export default (event) => { delete event.current.title }", "TypeError: the event's data can't be changed"},
		"a change of ctx":               {"export default (event, ctx) => { 'use strict'; ctx.mine = 1 }", "TypeError"},
		"a getter that recurses":        {"const o = { get a() { return this.a } };\nexport default () => o.a", "the calls are nested too deep: more than 1000"},
		"source text in a constructor":  {"export default () => (async () => 1).constructor('return 1')()", "TypeError"},
		"an unresolved require":         {"const name = './nowhere';\nexport default () => require(name)", `there is no module "./nowhere"`},
		"code below everything mapped":  {"export default () => {\n  null.x }", "it.js:2:"},
		"an async function":             {"export default async () => {\n  await null;\n  throw new RangeError('late');\n}", "it.js:3:9: RangeError: late"},
		"a promise that nobody handles": {"export default () => { Promise.reject(new Error('lost')) }", "a promise was rejected and nobody handled it: Error: lost"},
		"a promise that never settles":  {"export default () => new Promise(() => {})", "it.js: the function's promise never settled: nothing is left to run that could settle it"},
		"endless recursion":             {"const f = () => f();\nexport default () => f()", "the calls are nested too deep"},
		"a change of the event":         {"export default (event) => {\n  event.action = 'x';\n}", "TypeError: the event can't be changed"},
		"a change of its data":          {"export default (event) => {\n  event.current.title = 'x';\n}", "TypeError: the event's data can't be changed"},
		"code made of text":             {"export default () => eval('1')", "TypeError: eval: code can't be made of text here"},
		"a constructor of functions":    {"export default () => (() => 1).constructor('return 1')()", "TypeError"},
		"a huge string":                 {"export default () => 'x'.repeat(2 ** 40)", "RangeError: repeat: a string may have at most"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := run(t, sample(t), "it.js", test.code)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %s", err, test.want)
			}
		})
	}
}

func TestAnErrorInAnImportedFileNamesThatFile(t *testing.T) {
	_, err := run(t, sample(t), "it.js", "import { f } from './lib';\nexport default () => f()", "lib.ts", "export const f = (): void => {\n  throw new Error('deep');\n}")
	if err == nil || !strings.Contains(err.Error(), "lib.ts:2:9: Error: deep (called from ") || !strings.HasSuffix(err.Error(), "it.js:2:24)") {
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
		`"id,pipeline,source,action,object,objectId,current,previous,fields,previousFields,meta,labels,origin,version,attempt,occurredAt,receivedAt,raw,replayed,gathered",true,false,"it",true]`
	if got := runSaid(t, sample(t), code); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestTheDataBehavesLikePlainObjects(t *testing.T) {
	body := `{"meta":{"version":"2.0","action":"change","entity":"deal","entity_id":"1"},"previous":{"a":null},
		"data":{"a":1,"b":{"c":[1,{"d":"x"}]},"big":9007199254740993,"max":9007199254740991,"f":1.5,"t":true,"n":null,"neg":-0,"e":1e3,"s":"ü\n","__proto__":1,"a.b":2,
		"half":"\ud83d","face":"\ud83d\ude00","k\u0065y":7,"order":{"b":1,"10":1,"1":1,"a":1},"twice":1,"list":[3,1,2],"twice":2}}`
	for code, want := range map[string]string{
		`Object.keys(event.current).join()`:                                              `a,b,big,max,f,t,n,neg,e,s,__proto__,a.b,half,face,key,order,twice,list`,
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
		`[...event.current.b.c].length + event.current.b.c.filter(v => v === 1).length`:                        `3`,
		`event.current.b.c instanceof Array && event.current.b.c.at(-1).d`:                                     `x`,
		`(() => { let s = ""; for (const v of event.current.b.c) s += typeof v; return s })()`:                 `numberobject`,
		`Object.entries(event.current.b.c[1]).join()`:                                                          `d,x`,
		`Object.values({ ...event.current.b.c[1] }).join()`:                                                    `x`,
		`(() => { const { changed, isUpdate } = event; return changed("a") + isUpdate() })()`:                  `2`,
		`event.current.hasOwnProperty("a") && Object.hasOwn(event.current, "a") && !Object.hasOwn(event, "z")`: `true`,
		`Object.assign({}, event.current.b).c.length`:                                                          `2`,
		`event.current.half === "\ud83d" && event.current.face === "\u{1f600}"`:                                `true`,
		`event.current["k\u0065y"]`:                                                                            `7`,
		`Object.keys(event.current.order).join()`:                                                              `1,10,b,a`,
		`event.current.twice`:                  `2`,
		`event.current.list.toSorted().join()`: `1,2,3`,
		`JSON.stringify(event.changes())`:      `{"a":{"was":null,"is":1}}`,
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

func TestAProgramKnowsTheFilesItIsMadeOf(t *testing.T) {
	path, p, err := compile(t, "it.js", `import { a } from "./lib"; import "./c.json"; export default () => a`, "lib.ts", "export const a = 1", "c.json", "{}", "other.js", "1")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(path)
	want := fmt.Sprint([]string{filepath.Join(dir, "c.json"), path, filepath.Join(dir, "lib.ts")})
	if got := fmt.Sprint(p.Inputs()); got != want || p.Name() != "it" || p.Path() != path {
		t.Errorf("inputs of %s %s: %s, want %s", p.Name(), p.Path(), got, want)
	}
}

func TestASourceMapIsNotReadFromElsewhere(t *testing.T) {
	path, _, err := compile(t, "it.js", "export default () => 1\nconst a = null; a.b;\n//# sourceMappingURL=/etc/hostname")
	if err == nil || !strings.HasPrefix(err.Error(), path+":2:") {
		t.Errorf("error %v", err)
	}
}

// What docs/scripts.md tells of the engine; a new version of it may change these.
func TestTheEngineDiffersFromNodeAsDocumented(t *testing.T) {
	for code, want := range map[string]string{
		`/\p{L}/u.test("a")`:               "false",
		`(1234.5).toLocaleString("de-DE")`: "RangeError",
		`typeof Object.groupBy + typeof Promise.withResolvers + typeof Array.fromAsync + typeof WeakRef`: "undefinedundefinedundefinedundefined",
		`typeof Intl + typeof process + typeof Buffer`:                                                   "undefinedundefinedundefined",
		`(() => { null.x })()`: "TypeError: Cannot read property 'x' of undefined",
	} {
		got := runSaid(t, sample(t), "export default () => { try { console.log(String("+code+")) } catch (e) { console.log(String(e)) } }")
		if !strings.HasPrefix(got, want) {
			t.Errorf("%s = %s, want %s", code, got, want)
		}
	}
}
