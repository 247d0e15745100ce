// The globals beside those of the language. There are no others: scripts run neither in Node.js nor in a browser.

/** Writes to pipehook's log. */
declare var console: {
  debug(...values: unknown[]): void;
  log(...values: unknown[]): void;
  info(...values: unknown[]): void;
  warn(...values: unknown[]): void;
  error(...values: unknown[]): void;
};

/** The global object, as Node.js calls it. */
declare var global: typeof globalThis;
/** The global object, as browsers call it. */
declare var self: typeof globalThis;

declare function setTimeout<A extends unknown[]>(f: (...args: A) => void, milliseconds?: number, ...args: A): number;
declare function clearTimeout(timer?: number): void;
declare function setInterval<A extends unknown[]>(f: (...args: A) => void, milliseconds?: number, ...args: A): number;
declare function clearInterval(timer?: number): void;
declare function queueMicrotask(f: () => void): void;

declare function structuredClone<T>(value: T): T;
declare function atob(base64: string): string;
declare function btoa(binary: string): string;

type BufferSource = ArrayBuffer | ArrayBufferView;
type HeadersInit = Headers | [string, string][] | { [name: string]: string };
type BodyInit = string | BufferSource | URLSearchParams;

interface RequestInit {
  method?: string;
  headers?: HeadersInit;
  body?: BodyInit | null;
  /** "follow" goes on to the same host only. */
  redirect?: "follow" | "error" | "manual";
  signal?: AbortSignal | null;
}

/** Calls a host that the configuration allows, as ctx.fetch. */
declare function fetch(url: string | URL | Request, init?: RequestInit): Promise<Response>;

declare class Headers implements Iterable<[string, string]> {
  constructor(init?: HeadersInit);
  append(name: string, value: string): void;
  delete(name: string): void;
  get(name: string): string | null;
  getSetCookie(): string[];
  has(name: string): boolean;
  set(name: string, value: string): void;
  forEach(f: (value: string, name: string, headers: Headers) => void, thisArg?: unknown): void;
  entries(): IterableIterator<[string, string]>;
  keys(): IterableIterator<string>;
  values(): IterableIterator<string>;
  [Symbol.iterator](): IterableIterator<[string, string]>;
}

declare class Request {
  constructor(url: string | URL | Request, init?: RequestInit);
  readonly url: string;
  readonly method: string;
  readonly headers: Headers;
  readonly redirect: string;
  readonly signal: AbortSignal;
  readonly bodyUsed: boolean;
  clone(): Request;
  text(): Promise<string>;
  json(): Promise<any>;
  arrayBuffer(): Promise<ArrayBuffer>;
  bytes(): Promise<Uint8Array>;
}

declare class Response {
  constructor(body?: BodyInit | null, init?: { status?: number; statusText?: string; headers?: HeadersInit });
  static json(value: unknown, init?: { status?: number; statusText?: string; headers?: HeadersInit }): Response;
  readonly status: number;
  readonly statusText: string;
  /** Is the status from 200 to 299? */
  readonly ok: boolean;
  readonly url: string;
  readonly redirected: boolean;
  readonly headers: Headers;
  readonly bodyUsed: boolean;
  clone(): Response;
  text(): Promise<string>;
  json(): Promise<any>;
  arrayBuffer(): Promise<ArrayBuffer>;
  bytes(): Promise<Uint8Array>;
}

/** What an aborted operation is rejected with: its name is "AbortError" or "TimeoutError". */
declare class DOMException extends Error {
  constructor(message?: string, name?: string);
  /** Of an older kind than the name: 20 for "AbortError", 23 for "TimeoutError". */
  readonly code: number;
}

declare class AbortController {
  constructor();
  readonly signal: AbortSignal;
  abort(reason?: unknown): void;
}

declare class AbortSignal {
  private constructor();
  static abort(reason?: unknown): AbortSignal;
  static timeout(milliseconds: number): AbortSignal;
  static any(signals: Iterable<AbortSignal>): AbortSignal;
  readonly aborted: boolean;
  readonly reason: any;
  onabort: ((event: { type: "abort"; target: AbortSignal }) => void) | null;
  throwIfAborted(): void;
  addEventListener(type: "abort", f: (event: { type: "abort"; target: AbortSignal }) => void, options?: boolean | { once?: boolean }): void;
  removeEventListener(type: "abort", f: (event: { type: "abort"; target: AbortSignal }) => void): void;
}

declare class URL {
  constructor(url: string | URL, base?: string | URL);
  static canParse(url: string | URL, base?: string | URL): boolean;
  static parse(url: string | URL, base?: string | URL): URL | null;
  href: string;
  readonly origin: string;
  protocol: string;
  username: string;
  password: string;
  host: string;
  hostname: string;
  port: string;
  pathname: string;
  search: string;
  readonly searchParams: URLSearchParams;
  hash: string;
  toString(): string;
  toJSON(): string;
}

declare class URLSearchParams implements Iterable<[string, string]> {
  constructor(init?: string | URLSearchParams | Iterable<[string, string]> | { [name: string]: string });
  readonly size: number;
  append(name: string, value: string): void;
  delete(name: string, value?: string): void;
  get(name: string): string | null;
  getAll(name: string): string[];
  has(name: string, value?: string): boolean;
  set(name: string, value: string): void;
  sort(): void;
  forEach(f: (value: string, name: string, params: URLSearchParams) => void, thisArg?: unknown): void;
  entries(): IterableIterator<[string, string]>;
  keys(): IterableIterator<string>;
  values(): IterableIterator<string>;
  [Symbol.iterator](): IterableIterator<[string, string]>;
  toString(): string;
}

declare class TextEncoder {
  constructor();
  readonly encoding: string;
  encode(text?: string): Uint8Array;
  encodeInto(text: string, into: Uint8Array): { read: number; written: number };
}

declare class TextDecoder {
  constructor(encoding?: string, options?: { fatal?: boolean; ignoreBOM?: boolean });
  readonly encoding: string;
  readonly fatal: boolean;
  readonly ignoreBOM: boolean;
  decode(bytes?: BufferSource): string;
}

interface CryptoKey {
  readonly type: "secret";
  readonly extractable: boolean;
  readonly algorithm: { readonly name: "HMAC"; readonly hash: { readonly name: string }; readonly length: number };
  readonly usages: readonly ("sign" | "verify")[];
}

type HashName = "SHA-1" | "SHA-256" | "SHA-384" | "SHA-512";

type DigestEncoding = "hex" | "base64" | "base64url";

declare var crypto: {
  randomUUID(): string;
  getRandomValues<T extends ArrayBufferView>(array: T): T;
  /** The hash of text or bytes: as text, or as bytes without an encoding. */
  digest(algorithm: HashName, data: string | BufferSource, encoding: DigestEncoding): string;
  digest(algorithm: HashName, data: string | BufferSource): Uint8Array;
  /** The HMAC of text or bytes: as text, or as bytes without an encoding. */
  hmac(algorithm: HashName, key: string | BufferSource, data: string | BufferSource, encoding: DigestEncoding): string;
  hmac(algorithm: HashName, key: string | BufferSource, data: string | BufferSource): Uint8Array;
  /** Are they equal? It takes the same time whatever the answer is. */
  timingSafeEqual(a: string | BufferSource, b: string | BufferSource): boolean;
  /** As in browsers, for hashes and HMAC. */
  readonly subtle: {
    digest(algorithm: HashName | { name: HashName }, data: BufferSource): Promise<ArrayBuffer>;
    importKey(format: "raw", key: BufferSource, algorithm: { name: "HMAC"; hash: HashName | { name: HashName } }, extractable: boolean, usages: ("sign" | "verify")[]): Promise<CryptoKey>;
    sign(algorithm: "HMAC" | { name: "HMAC" }, key: CryptoKey, data: BufferSource): Promise<ArrayBuffer>;
    verify(algorithm: "HMAC" | { name: "HMAC" }, key: CryptoKey, signature: BufferSource, data: BufferSource): Promise<boolean>;
  };
};
