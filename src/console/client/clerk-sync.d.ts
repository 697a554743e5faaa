/** What a page is at, towards the server. See `README.md` for every reason. */
export type Status =
  /** A token is being asked for, or a connection opened. */
  | 'connecting'
  /** Changes come as they are committed. */
  | 'live'
  /** The connection is lost; the next attempt is a moment away. */
  | 'waiting'
  /** The server does not want this client (4403), or does not understand it (4400). Final. */
  | 'refused'
  /** `close()` was called, nobody is signed in, somebody else is, or there is no WebSocket here. Final. */
  | 'closed';

/** `user:me`, `user:{id}`, `org:{id}` (our id or Clerk's); for admins also `users`, `organizations`, `admin`. */
export type Topic = 'user:me' | `user:${string}` | `org:${string}` | 'users' | 'organizations' | 'admin';

/** A change. On one topic they come in the order of `seq`, each once. */
export interface EventFrame<Data = Record<string, unknown>> {
  type: 'event';
  /** The change's number. Numbers rise; they are not dense. */
  seq: number;
  /** The topic by its canonical name, e.g. `user:0197…` where `user:me` was asked for. */
  topic: string;
  /** What happened, e.g. `user.updated`, `membership.deleted`. */
  event: string;
  /** Whom it is about, by Clerk's id; of a membership `org_…/user_…`. */
  subject: string;
  /** The columns that changed; empty where all may have. */
  changed: string[];
  /**
   * The object afterwards: whole on `user:`; on `org:` the organisation, and of members their public profile; on `users`
   * the fields of `gateway.list_fields`.
   */
  data: Data;
  /** When it happened, RFC 3339 with milliseconds. */
  at: string;
  /** The delivery that brought it. */
  correlation_id: string | null;
}

/** What was missed cannot be told any more: load anew what is shown of this topic. Changes after `seq` follow. */
export interface ResetFrame {
  type: 'reset';
  topic: string;
  seq: number;
}

/**
 * The last frame of a topic: it is taken away, or was never to be had. `membership_ended`, `organization_deleted`;
 * `forbidden`, `invalid_topic`, `too_many_topics`; or why the client ended: `signed_out`, `other_person`, `forbidden`,
 * `bad_message`. Hide what was shown of it.
 */
export interface RevokedFrame {
  type: 'revoked';
  topics: string[];
  reason: string;
}

/** What a handler gets. Look at `type` first: only an event has `data`. */
export type Frame<Data = Record<string, unknown>> = EventFrame<Data> | ResetFrame | RevokedFrame;

/** A line for people, beside the change that it is about. */
export interface Notice {
  type: 'notice';
  level: 'success' | 'info' | 'error';
  text: string;
  event: string;
}

/** Ends what it was given for. Calling it again does nothing. */
export type Stop = () => void;

export interface Options {
  /** Where clerk-sync is, e.g. `https://sync.example.com`; a path before `/v1` stays. */
  url: string | URL;
  /**
   * A session token, at best a fresh one; `null` or `undefined` where nobody is signed in, which closes the client. Asked
   * at every connection, before each token ends, and for lists. With Clerk: `() => clerk.session?.getToken()`.
   */
  getToken: () => Promise<string | null | undefined> | string | null | undefined;
  /** Called with every change of the status, and its reason where it has one. */
  onStatus?: (status: Status, reason?: string) => void;
  /**
   * The nth attempt to come back waits a random part of `min` * 2^n, of `max` at most. Milliseconds; 250 and 30,000.
   * It begins anew once a connection has been live for 10 s.
   */
  backoff?: { min?: number; max?: number };
  /** Instead of the global one. */
  WebSocket?: typeof globalThis.WebSocket;
  /** Instead of the global one. */
  fetch?: typeof globalThis.fetch;
}

/** Why a list is not as it should be, or a read failed. */
export interface ListError extends Error {
  /**
   * While it is tried again: `http_{status}`, `garbled`, `unreachable`. For good:
   * the reason of a {@link RevokedFrame}, `not_found` or `invalid_request`.
   */
  reason: string;
  /** Whether nothing more comes; the list is empty then. */
  final: boolean;
}

export interface ListOptions<Row> {
  /** `org:{id}` is the organisation's members; `users` and `organizations` are for admins. */
  topic: `org:${string}` | 'users' | 'organizations';
  /** Where the rows are; by default what belongs to the topic, e.g. `/v1/organizations/{id}/members`. */
  path?: string;
  /** What makes a row the same row; by default its `id`. */
  key?: (row: Row) => string;
  /** The order; by default that of the keys, which is the server's. */
  sort?: (a: Row, b: Row) => number;
}

/**
 * Rows that follow the server. It loads when somebody first listens, and stops 5 s after nobody does; whoever listens then
 * makes it load anew. Fits `useSyncExternalStore(list.subscribe, list.getSnapshot, list.getSnapshot)`.
 */
export interface LiveList<Row> {
  /** The rows: frozen, and the same array until something changes, `loading` and `error` included. */
  getSnapshot: () => readonly Row[];
  /** Calls back after every change. */
  subscribe: (fn: () => void) => Stop;
  /** Whether rows are being read. What was there before a `reset` is shown until they are. */
  readonly loading: boolean;
  readonly error: ListError | null;
}

/** A row of an organisation's members. */
export interface Member {
  id: string;
  clerk_id: string;
  display_name: string | null;
  image_url: string | null;
  role: string;
}

export interface Client {
  /**
   * Calls `handler` with every frame of the topic from now on; with `after`, the `seq` of an earlier event, from there on.
   * Handlers of one topic share a subscription. What a handler throws goes to `reportError` and stops nothing.
   */
  subscribe<Data = Record<string, unknown>>(
    topic: Topic,
    handler: (frame: Frame<Data>) => void,
    options?: { after?: number },
  ): Stop;
  liveList<Row = Member>(options: ListOptions<Row>): LiveList<Row>;
  /**
   * Reads an object, e.g. `get('/v1/users/me')`: with a token, and never older than the newest change that a handler has got
   * (`min_rev`). Rejects with a {@link ListError}; it tries nothing again but a token that is refused once.
   */
  get<Body = Record<string, unknown>>(path: string): Promise<Body>;
  onNotice(fn: (notice: Notice) => void): Stop;
  /** Calls back at once with the present status, then with every change. */
  onStatus(fn: (status: Status, reason?: string) => void): Stop;
  /** Ends everything; handlers are not called any more. */
  close(): void;
  readonly status: Status;
  /** The history that `seq` belongs to; another one after a restored backup. Known once live. */
  readonly epoch: string | undefined;
}

/** Connects, and stays connected until it is closed. */
export function connect(options: Options): Client;
