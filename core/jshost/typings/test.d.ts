/** For *.test.ts and *.test.js, which `pipehook test` runs. */
declare module "pipehook/test" {
  import type { Context, Event, Fields, SourceRequest, StageContext } from "pipehook";

  type Body = () => unknown;

  /** A test of its own: it has a fresh copy of the file, an empty kv, no mocks, and 5 s. */
  export const test: {
    (name: string, body: Body, options?: { timeout?: number }): void;
    /** Is listed and not run. */
    skip(name: string, body?: Body, options?: { timeout?: number }): void;
    /** Only tests like this one run in this file. */
    only(name: string, body: Body, options?: { timeout?: number }): void;
    /** One test for each row; `%s` in the name is the row. */
    each<T>(rows: readonly T[]): (name: string, body: (row: T) => unknown) => void;
  };
  export const it: typeof test;

  /** Names a group of tests. */
  export const describe: {
    (name: string, body: () => void): void;
    skip(name: string, body: () => void): void;
    only(name: string, body: () => void): void;
  };
  /** Runs before each test of the group that it stands in. */
  export function beforeEach(body: Body): void;
  /** Runs after each test of the group that it stands in, also when it failed. */
  export function afterEach(body: Body): void;

  /** The change that fixture makes to a recorded event. */
  export interface FixtureChange {
    /** Merged into what was recorded. Null: the sender sent none. */
    current?: object | null;
    /** For a sender that reports only what changed, all that it reported; else merged. */
    previous?: object | null;
    /** Merged into what was recorded. */
    meta?: object | null;
    /** What stages wrote on it. */
    labels?: { [name: string]: string };
    id?: string;
    pipeline?: string;
    source?: string;
    action?: string;
    object?: string;
    objectId?: string | number;
    occurredAt?: string;
    receivedAt?: string;
    attempt?: number;
    version?: string;
    replayed?: boolean;
    gathered?: string[];
  }

  /**
   * An event as a handler gets it: fixture("updated.deal") is a recorded one of Pipedrive's, fixture("./deal.json") the
   * body in a file beside the test, or what `pipehook events show ID --json` printed, and fixture({ action, object, … })
   * one of any sender.
   */
  export function fixture<Current = Fields, Named = Fields>(of: string | (FixtureChange & { action: string; object: string }), change?: FixtureChange): Event<Current, Partial<NonNullable<Current>>, Named>;

  /** A request for a source. An object is sent as JSON. */
  export function request(body: string | object, headers?: { [name: string]: string }): SourceRequest;

  /** What came of a run. */
  export interface Result {
    /** The function returned, or its promise was fulfilled. */
    readonly ok: boolean;
    readonly error?: {
      readonly message: string;
      /** file:line:column */
      readonly at: string;
      /** ctx.fail: no other attempt is made. */
      readonly permanent: boolean;
      /** ctx.retryAfter: in seconds. */
      readonly retryAfter?: number;
    };
    /** What it returned, as JSON holds it. */
    readonly value: any;
    readonly logs: readonly { readonly level: "debug" | "info" | "warn" | "error"; readonly text: string; readonly data?: { readonly [name: string]: any } }[];
    /** What it did outside, in order. */
    readonly effects: readonly Effect[];
    /** The reason of ctx.drop. */
    readonly dropped?: string;
    /** What ctx.reject said. */
    readonly rejected?: { readonly status: number; readonly message: string };
  }

  /** One thing that a run did outside: a fetch, a change of kv, or an emit. */
  export interface Effect {
    /** Method and URL, such as "POST https://chat.example.com/hook". */
    readonly fetch?: string;
    readonly headers?: { readonly [name: string]: string };
    /** Read as JSON where it is JSON. */
    readonly body?: any;
    /** Of the answer; missing when there was none. */
    readonly status?: number;
    /** What kept it from being done. */
    readonly error?: string;

    readonly kv?: "set" | "delete";
    readonly shared?: true;
    /** Of kv; of an emit that the script gave one. */
    readonly key?: string;
    readonly value?: any;
    /** In seconds. */
    readonly ttl?: number;
    /** ifVersion was not met: nothing was written. */
    readonly conflict?: true;

    /** The type of the event, such as "added.invoice". */
    readonly emit?: string;
    readonly objectId?: string;
    readonly current?: any;
    readonly previous?: any;
    readonly meta?: any;
    /** The same key was emitted before. */
    readonly duplicate?: true;
  }

  export interface RunOptions {
    /** The delivery attempt, ctx.attempt. */
    attempt?: number;
    /** In milliseconds of the test's own clock. 5000 when not given. */
    timeout?: number;
  }

  /** Calls a function as pipehook would, and waits for it. Never throws what the function throws: look at ok and error. */
  export function run(source: (request: SourceRequest, ctx: Context) => unknown, request: SourceRequest, options?: RunOptions): Promise<Result>;
  export function run(handler: (event: Event<any, any, any>, ctx: StageContext) => unknown, event: Event<any, any, any>, options?: RunOptions): Promise<Result>;

  /** What fetch gets. With error, it fails. */
  export interface FetchAnswer {
    status?: number;
    headers?: { [name: string]: string };
    json?: unknown;
    body?: string;
    error?: string;
  }

  export const mock: {
    /** Answers fetch for a URL; `*` stands for any text, and "POST https://…" for one method. Several answers are given in turn, the last again and again. */
    fetch(url: string, ...answers: (FetchAnswer | ((request: Request) => FetchAnswer | Response | Promise<FetchAnswer | Response>))[]): void;
    /** Sets the clock: what Date, timers and ctx.deadline see. */
    now(time: string | number | Date): void;
    /** Moves the clock on and runs the timers that end meanwhile. Text such as "5m", or milliseconds. */
    advance(time: string | number): Promise<void>;
    /** Grants a secret. Effects show it as [secret NAME]. */
    secret(name: string, value: string): void;
    /** Puts a value where ctx.kv finds it. */
    kv(entries: { [key: string]: unknown }, options?: { shared?: boolean }): void;
  };

  export interface Matchers<T> {
    /** Expects the opposite. */
    readonly not: Matchers<T>;
    /** What the promise was fulfilled with. */
    readonly resolves: AsyncMatchers;
    /** What the promise was rejected with. */
    readonly rejects: AsyncMatchers;
    toBe(expected: T): void;
    /** Compares what is inside; a field that is undefined is as one that is missing. */
    toEqual(expected: unknown): void;
    /** As toEqual, for the fields that are given. */
    toMatchObject(expected: object): void;
    /** Text has the part, or a list the element. */
    toContain(part: unknown): void;
    toContainEqual(element: unknown): void;
    toMatch(expected: string | RegExp): void;
    /** The function throws. With text, the message has it. */
    toThrow(expected?: string | RegExp | (new (...args: any[]) => Error)): void;
    toHaveLength(length: number): void;
    /** A dot reaches inside. */
    toHaveProperty(path: string, value?: unknown): void;
    toBeDefined(): void;
    toBeUndefined(): void;
    toBeNull(): void;
    toBeTruthy(): void;
    toBeFalsy(): void;
    toBeNaN(): void;
    toBeGreaterThan(than: number | bigint): void;
    toBeGreaterThanOrEqual(than: number | bigint): void;
    toBeLessThan(than: number | bigint): void;
    toBeLessThanOrEqual(than: number | bigint): void;
    toBeCloseTo(to: number, digits?: number): void;
    toBeInstanceOf(of: abstract new (...args: any[]) => unknown): void;
    /** The value is as in __snapshots__/NAME.snap. */
    toMatchSnapshot(hint?: string): void;
  }

  export type AsyncMatchers = {
    [K in Exclude<keyof Matchers<any>, "not" | "resolves" | "rejects">]: (...args: Parameters<Matchers<any>[K]>) => Promise<void>;
  } & { readonly not: AsyncMatchers };

  export const expect: {
    <T>(value: T): Matchers<T>;
    /** In toEqual and its like: anything of that kind, such as expect.any(Number). */
    any(kind: (...args: any[]) => unknown): any;
    /** Anything but null and undefined. */
    anything(): any;
    objectContaining(part: object): any;
    arrayContaining(part: readonly unknown[]): any;
    stringContaining(part: string): any;
    stringMatching(pattern: string | RegExp): any;
  };
}
