package scripttest_test

import (
	"fmt"
	"strings"
	"testing"
)

// matches are expectations that hold, whose opposites therefore do not.
var matches = []string{
	`expect(1).toBe(1)`, `expect(NaN).toBe(NaN)`, `expect("a").toBe("a")`,
	`expect({ a: [1, { b: 2 }] }).toEqual({ a: [1, { b: 2 }] })`, `expect({ a: 1, b: undefined }).toEqual({ a: 1 })`,
	`expect(new Map([["a", 1]])).toEqual(new Map([["a", 1]]))`, `expect(new Set([{ a: 1 }])).toEqual(new Set([{ a: 1 }]))`,
	`expect(new Date(5)).toEqual(new Date(5))`, `expect(/a/g).toEqual(/a/g)`, `expect(new TypeError("x")).toEqual(new TypeError("x"))`,
	`expect(new Uint8Array([1, 2])).toEqual(new Uint8Array([1, 2]))`,
	`expect({ a: 1, b: { c: 2, d: 3 } }).toMatchObject({ b: { c: 2 } })`, `expect([{ a: 1, b: 2 }]).toMatchObject([{ a: 1 }])`,
	`expect("stage").toContain("tag")`, `expect([1, 2]).toContain(2)`, `expect([{ a: 1 }]).toContainEqual({ a: 1 })`,
	`expect("stage 4").toMatch(/\d/)`, `expect("stage 4").toMatch("age")`, `expect([1, 2]).toHaveLength(2)`, `expect("abc").toHaveLength(3)`,
	`expect({ a: { b: null } }).toHaveProperty("a.b")`, `expect({ a: { b: 5 } }).toHaveProperty("a.b", 5)`,
	`expect(null).toBeDefined()`, `expect(undefined).toBeUndefined()`, `expect(null).toBeNull()`, `expect("x").toBeTruthy()`, `expect(0).toBeFalsy()`, `expect(0 / 0).toBeNaN()`,
	`expect(2).toBeGreaterThan(1)`, `expect(2).toBeGreaterThanOrEqual(2)`, `expect(1n).toBeLessThan(2)`, `expect(2).toBeLessThanOrEqual(2)`,
	`expect(0.1 + 0.2).toBeCloseTo(0.3)`, `expect(new TypeError("x")).toBeInstanceOf(Error)`,
	`expect(() => { throw new Error("no title") }).toThrow()`, `expect(() => { throw new Error("no title") }).toThrow("title")`,
	`expect(() => { throw new TypeError("x") }).toThrow(TypeError)`, `expect(() => { throw new Error("a1") }).toThrow(/\d/)`,
	`expect({ id: 7, at: "now" }).toEqual({ id: expect.any(Number), at: expect.anything() })`,
	`expect({ a: "moved", b: [1, 2, 3] }).toEqual({ a: expect.stringContaining("ov"), b: expect.arrayContaining([3, 1]) })`,
	`expect({ a: { b: 1, c: 2 } }).toEqual({ a: expect.objectContaining({ c: 2 }) })`, `expect("v12").toEqual(expect.stringMatching(/^v\d+$/))`,
	`expect(fixture("updated.deal").current).toMatchObject({ id: 8 })`,
}

func TestWhatIsExpectedHoldsAndItsOppositeDoesNot(t *testing.T) {
	var code strings.Builder
	for i, one := range matches {
		fmt.Fprintf(&code, "test(`%d`, () => { %s });\n", i, one)
		at := strings.LastIndex(one, ").to")
		fmt.Fprintf(&code, "test(`not %d`, () => { expect(() => { %s.not%s }).toThrow(\".not.\") });\n", i, one[:at+1], one[at+1:])
	}
	f := runCode(t, code.String())
	passes(t, f)
	if want := 2 * len(matches); len(f.Tests) != want {
		t.Errorf("%d tests, want %d", len(f.Tests), want)
	}
}

func TestPromisesAreExpectedToo(t *testing.T) {
	passes(t, runCode(t, `test("it", async () => {
  await expect(Promise.resolve(3)).resolves.toBe(3);
  await expect(Promise.resolve(3)).resolves.not.toBe(4);
  await expect(Promise.reject(new Error("no title"))).rejects.toThrow("title");
  await expect(Promise.reject({ code: "EHOST" })).rejects.toMatchObject({ code: "EHOST" });
  await expect(expect(Promise.resolve(3)).rejects.toThrow()).rejects.toThrow("was fulfilled");
  await expect(expect(Promise.reject(3)).resolves.toBe(3)).rejects.toThrow("was rejected");
});`))
}

func TestAFailureSaysWhereAndWhatIsOtherwise(t *testing.T) {
	for name, test := range map[string]struct {
		code   string
		line   int
		msg    string
		detail []string
	}{
		"one value":        {"test('it', () => {\n  expect(1 + 1).toBe(3);\n});", 3, "expect(…).toBe(3)", []string{"expected: 3\nreceived: 2"}},
		"a deep one":       {"test('it', () => {\n  expect({ a: 1, list: [1, 2] }).toEqual({ a: 1, list: [1, 3] });\n});", 3, "expect(…).toEqual(", []string{"-     3,", "+     2,", "    a: 1,"}},
		"two objects":      {"test('it', () => {\n  expect({}).toBe({});\n});", 3, "toBe(", []string{"use toEqual"}},
		"part of one":      {"test('it', () => {\n  expect({ a: 1, much: 'more' }).toMatchObject({ a: 2 });\n});", 3, "toMatchObject", []string{"-   a: 2,\n+   a: 1,"}},
		"the opposite":     {"test('it', () => {\n\n  expect([1]).not.toHaveLength(1);\n});", 4, "expect(…).not.toHaveLength(1)", []string{"received: [\n  1,\n]"}},
		"nothing thrown":   {"test('it', () => {\n  expect(() => 1).toThrow('x');\n});", 3, "toThrow(\"x\")", []string{"nothing was thrown"}},
		"an error":         {"test('it', () => {\n  null.x;\n});", 3, "TypeError: Cannot read property 'x' of undefined", nil},
		"a rejection":      {"test('it', async () => {\n  await null;\n  throw new Error('later');\n});", 4, "Error: later", nil},
		"nobody handles":   {"test('it', () => {\n  Promise.reject(new Error('lost'));\n});", 3, "nobody handled it: Error: lost", nil},
		"a number":         {"test('it', () => {\n  expect('5').toBeGreaterThan(3);\n});", 3, "toBeGreaterThan compares numbers", []string{`received: "5"`}},
		"no function":      {"test('it', async () => {\n  await run({} as any, fixture('updated.deal'));\n});", 3, "run wants the function of a script", nil},
		"no event":         {"test('it', async () => {\n  await run(() => {}, {} as any);\n});", 3, "run wants an event or a request", nil},
		"no such sample":   {"test('it', () => {\n  fixture('updated.deel');\n});", 3, `nothing is recorded of "updated.deel": there are added.activity, `, nil},
		"an unknown field": {"test('it', () => {\n  fixture('updated.deal', { curent: {} } as any);\n});", 3, `unknown field "curent"`, nil},
		"a test inside":    {"test('it', () => {\n  test('inner', () => {});\n});", 3, "stands inside a test", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := fails(t, runCode(t, test.code))
			if !strings.Contains(f.Message, test.msg) || f.Line != test.line || f.Column < 3 || !strings.HasSuffix(f.File, "it.test.ts") {
				t.Errorf("%s: %s", f.Place(), f.Message)
			}
			for _, want := range test.detail {
				if !strings.Contains(f.Detail, want) {
					t.Errorf("no %q in\n%s", want, f.Detail)
				}
			}
			if !strings.Contains(f.Frame(), fmt.Sprintf("> %d | ", test.line)) || !strings.Contains(f.Frame(), "^") {
				t.Errorf("frame\n%s", f.Frame())
			}
		})
	}
}

func TestAFailureInAHelperSaysWhoCalledIt(t *testing.T) {
	f := fails(t, runCode(t, "import { same } from './lib/same';\ntest('it', () => {\n  same(1, 2);\n});",
		"lib/same.ts", "import { expect } from 'pipehook/test';\nexport function same(a: number, b: number) {\n  expect(a).toBe(b);\n}\n"))
	if !strings.HasSuffix(f.File, "same.ts") || f.Line != 3 || !strings.Contains(f.Via, "it.test.ts:4:") {
		t.Errorf("%s via %s", f.Place(), f.Via)
	}
}
