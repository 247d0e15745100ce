declare module "pipehook" {
  /** Values of JSON under their names. */
  export interface Fields {
    // What a sender puts there is not known here; Event<Deal> says it.
    [name: string]: any;
  }

  /** Text such as "90s", "5m", "1h30m" or "7d", or a number of seconds. */
  export type Duration = string | number;

  type FieldOf<T> = T extends object ? Extract<keyof T, string> : never;

  /**
   * An event as it was stored. Nothing in it can be changed; copy first: `{ ...event.current }`.
   *
   * `Event<Deal>` types the fields. `current` is null when the sender sends no record, as for
   * deleted.*: handle those with `Event<null, Deal>`, and several kinds with `Event<Deal | null>`.
   * The third type is that of the custom fields by name: `pipehook types` writes DealEvent and others for
   * those of the account.
   */
  export interface Event<Current = Fields, Previous = Partial<NonNullable<Current>>, Named = Fields> {
    /** pipehook's name for the event, the same each time it is delivered. */
    readonly id: string;
    /** The pipeline where it came in. */
    readonly pipeline: string;
    /** The kind of sender, such as "pipedrive". */
    readonly source: string;
    /** "added", "updated", "deleted", "merged", or the sender's own word. */
    readonly action: string;
    /** What it is about, such as "deal". */
    readonly object: string;
    /** Of what it is about; every digit as it was sent. */
    readonly objectId: string;
    /** The record after the event; null when there is none, as after deleted.* */
    readonly current: Readonly<Current>;
    /** The record before it, perhaps only what changed: a missing field was not reported. Null when there is none, as for added.* */
    readonly previous: Readonly<Previous>;
    /** The custom fields of current by the names that people gave them: `event.fields.contract_end`. An option is its label. Empty when the sender has none, or their definitions are not at hand. */
    readonly fields: Readonly<Named>;
    /** The same of previous: what is missing was not reported. */
    readonly previousFields: Readonly<Partial<Named>>;
    /** What the sender tells about the event. */
    readonly meta: Readonly<Fields>;
    /** "webhook", or "reconcile" for what no webhook brought and a comparison with the sender found. */
    readonly origin: string;
    /** What stages wrote on it. */
    readonly labels: { readonly [name: string]: string };
    /** Of the sender's format. */
    readonly version: string;
    /** The sender's delivery attempt from 1; 0 when it does not say. */
    readonly attempt: number;
    /** ISO 8601 in UTC; null when the sender does not say. */
    readonly occurredAt: string | null;
    /** ISO 8601 in UTC. */
    readonly receivedAt: string;
    /** The body as it was received. */
    readonly raw: string;
    /** Was the delivery asked for again by hand after it had ended? */
    readonly replayed: boolean;
    /** The ids of all events that this call settles, its own last. */
    readonly gathered: readonly string[];

    /** Is the action "added"? */
    isCreate(): boolean;
    /** Is the action "updated"? */
    isUpdate(): boolean;
    /** Is the action "deleted"? */
    isDelete(): boolean;
    /** Is the action "merged"? */
    isMerge(): boolean;
    /** Is it about such an object, for example "deal"? */
    isObjectType(type: string): boolean;
    /** Does the field differ between previous and current? A dot reaches inside: "custom_fields.abc". */
    changed(field: FieldOf<NonNullable<Current>> | (string & {})): boolean;
    /** All fields at the top that changed: `{ stage_id: { was: 3, is: 4 } }`. */
    changes(): { [field: string]: Change };
    /** A number, text when a number would not hold every digit, null when not known. */
    getUserId(): number | string | null;
    /** A number, text when a number would not hold every digit, null when not known. */
    getCompanyId(): number | string | null;
    /** "app", "api", the sender's own word, or null. */
    getChangeSource(): string | null;
    /** Did a person cause it, in the sender's application? */
    isFromApp(): boolean;
    /** Did a program cause it, through the sender's API? */
    isFromApi(): boolean;
    /** Was it part of a bulk operation? */
    isBulkUpdate(): boolean;
    /** How often had the sender tried before? */
    getRetryCount(): number;
    /** Had the sender tried before? */
    isRetry(): boolean;
  }

  /** One field of event.changes(). */
  export interface Change {
    readonly was: any;
    readonly is: any;
  }

  /** A line in pipehook's log. The fields of data become attributes. */
  export interface Log {
    debug(text: unknown, data?: unknown): void;
    info(text: unknown, data?: unknown): void;
    warn(text: unknown, data?: unknown): void;
    error(text: unknown, data?: unknown): void;
  }

  /** What a function can do, beside looking at the event. */
  export interface Context {
    readonly log: Log;
    /** The listener's name. */
    readonly listener: string;
    /** The number of the delivery attempt, from 1. */
    readonly attempt: number;
    /** When the call will be stopped, in milliseconds since 1970; null for never. */
    readonly deadline: number | null;
    /** Ends when the call is stopped: give it to what should stop then too. */
    readonly signal: AbortSignal;
    /** Calls a host that the configuration allows. */
    readonly fetch: typeof fetch;
    /** What lasts from call to call, for this script. */
    readonly kv: KV & {
      /** The same for all scripts. */
      readonly shared: KV;
    };
    /** The API of the Pipedrive account that the configuration connects. What is written is known to the stage echo. */
    readonly pipedrive: Pipedrive;
    /** Values that the configuration grants, by name. One that it does not grant throws, with the line to add. */
    readonly secrets: { readonly [name: string]: string };
    /** Throws: the call has failed, and no other attempt is made. */
    fail(message?: string): never;
    /** Throws: the call has failed, and the next attempt comes after that time. */
    retryAfter(when: Duration, message?: string): never;
    /** Stores an event of your own, such as "added.invoice", which other listeners get. An attempt that is made again stores nothing twice. */
    emit(type: string, event?: Emit): Promise<Emitted>;
  }

  /**
   * Pipedrive's API. A path is whole: "/api/v2/deals/1", "/api/v1/notes". Calls wait for the account's budget
   * and are tried again where that is safe. One that fails is rejected with a PipedriveError.
   */
  export interface Pipedrive {
    /** The answer's data. */
    get<T = any>(path: string, query?: PipedriveQuery): Promise<T>;
    /** All records of a list, page by page: the first `limit`, or at most 10,000. */
    list<T = any>(path: string, query?: PipedriveQuery, options?: { limit?: number }): Promise<T[]>;
    /** One page. To go on, give next back as cursor; as start where the path begins with /api/v1/. */
    page<T = any>(path: string, query?: PipedriveQuery): Promise<{ items: T[]; next: string | null }>;
    post<T = any>(path: string, body?: unknown): Promise<T>;
    put<T = any>(path: string, body?: unknown): Promise<T>;
    patch<T = any>(path: string, body?: unknown): Promise<T>;
    delete<T = any>(path: string): Promise<T>;
  }

  /** What is null or undefined is left out; a list is written with commas. */
  export interface PipedriveQuery {
    [name: string]: string | number | boolean | null | undefined | readonly (string | number | boolean)[];
  }

  /** What a call of ctx.pipedrive is rejected with. */
  export interface PipedriveError extends Error {
    /**
     * "EUNAUTHORIZED", "EFORBIDDEN", "ENOTFOUND", "EINVALID", "ERATELIMIT", "EDAILYSPENT", "EUNAVAILABLE", "ETOOLARGE", "ETIMEDOUT",
     * "ENOTCONNECTED", "ENOTAVAILABLE" or "ELIMIT".
     */
    code: string;
    /** Of HTTP; missing when there was no answer. */
    status?: number;
  }

  /** What ctx.emit tells about an event. */
  export interface Emit {
    objectId?: string | number;
    current?: object | null;
    previous?: object | null;
    meta?: object | null;
    /** Tells the events of one call apart when their order may change. */
    key?: string;
  }

  export interface Emitted {
    /** Of the event; of the first one, when it is a duplicate. */
    readonly id: string;
    readonly duplicate: boolean;
  }

  /** A durable map. Keys are text, values are JSON. */
  export interface KV {
    /** The value; undefined when there is none. */
    get<T = any>(key: string): Promise<T | undefined>;
    /** The value with its version; undefined when there is none. */
    entry<T = any>(key: string): Promise<KVEntry<T> | undefined>;
    /** False when ifVersion was not met, and nothing was written. */
    set(key: string, value: unknown, options?: KVSet): Promise<boolean>;
    /** True when there was one to delete. */
    delete(key: string, options?: { ifVersion?: string }): Promise<boolean>;
    /** Entries in the order of their keys' bytes. */
    list<T = any>(options?: KVList): Promise<{ entries: (KVEntry<T> & { readonly key: string })[]; more: boolean }>;
    /** Sets what fn makes of the value, and calls fn again when another was faster. Returns the new value. */
    update<T = any>(key: string, fn: (value: T | undefined) => T | Promise<T>, options?: { ttl?: Duration }): Promise<T>;
  }

  export interface KVEntry<T = any> {
    readonly value: T;
    readonly version: string;
    /** ISO 8601 in UTC; null for never. */
    readonly expiresAt: string | null;
  }

  export interface KVSet {
    /** How long it is kept; for ever when not given. */
    ttl?: Duration;
    /** Write only over this version; null: only when there is none. */
    ifVersion?: string | null;
  }

  export interface KVList {
    prefix?: string;
    /** Only keys that come after this one. */
    after?: string;
    limit?: number;
  }

  /** What a file exports as match: "updated.deal", "*.deal", or several. */
  export type Match = string | string[];

  /** A listener's function: `const handler: Handler = async (event, ctx) => { … }; export default handler`. */
  export type Handler<Current = Fields, Previous = Partial<NonNullable<Current>>, Named = Fields> = (event: Event<Current, Previous, Named>, ctx: Context) => any;

  /** What the function of a stage can do. */
  export interface StageContext extends Context {
    /** Throws: the event ends here, and its sender is told that it was taken. */
    drop(reason?: string): never;
    /** Throws: the request is turned away. */
    reject(status: 400 | 401 | 403 | 409 | 413 | 415 | 422 | 429 | 503, message?: string): never;
  }

  /** What a stage changes; what is left out stays. */
  export interface StageResult {
    /** Added to the labels of earlier stages; null or "" takes one away. */
    labels?: { [name: string]: string | null };
    action?: string;
    object?: string;
    objectId?: string | number;
    /** In place of the event's. */
    current?: object | null;
    /** In place of the event's. */
    previous?: object | null;
  }

  /** The function of a stage. */
  export type StageHandler<Current = Fields, Previous = Partial<NonNullable<Current>>, Named = Fields> = (
    event: Event<Current, Previous, Named>,
    ctx: StageContext,
  ) => StageResult | undefined | void | Promise<StageResult | undefined | void>;

  /** A request whose body a source turns into an event. */
  export interface SourceRequest {
    /** By names in lower case. */
    readonly headers: { readonly [name: string]: string };
    readonly body: string;
    /** The body read as JSON. */
    json<T = any>(): T;
  }

  /** What a body says. */
  export interface SourceResult {
    action: string;
    object: string;
    objectId?: string | number;
    current?: object | null;
    previous?: object | null;
    meta?: object | null;
    version?: string;
    /** The sender's delivery attempt, from 1. */
    attempt?: number;
    occurredAt?: string | number | Date | null;
    /** Who caused it. */
    userId?: string | number | null;
    companyId?: string | number | null;
    /** "app", "api", or a word of the sender's own. */
    changeSource?: string | null;
    /** Equal for redeliveries of one occurrence and only for those. */
    key?: string;
  }

  /** The function of a source. */
  export type SourceHandler = (request: SourceRequest, ctx: Context) => SourceResult | Promise<SourceResult>;
}
