// What the cases stand on: time that passes when it is told to, sockets and requests that answer what they are told to.

const cases = [];

/** A case; `body` gets a [`Bench`]. */
export const test = (name, body) => cases.push({ name, body });

/** Runs the cases one by one, each on a bench of its own. */
export async function run(connect, only = '') {
  const results = [];
  for (const { name, body } of cases.filter((one) => one.name.includes(only))) {
    const bench = new Bench(connect);
    let failure = null;
    try {
      await body(bench);
      await bench.settle();
      equal(bench.reported, [], 'nothing is reported that was not expected');
    } catch (error) {
      failure = error.stack || String(error);
    }
    bench.end();
    results.push({ name, failure });
  }
  return results;
}

export function ok(condition, what) {
  if (!condition) throw new Error(what);
}

/** The members of objects in one order. */
const sorted = (_, value) =>
  value && typeof value === 'object' && !Array.isArray(value) ? Object.fromEntries(Object.entries(value).sort()) : value;

export function equal(given, expected, what) {
  const [left, right] = [JSON.stringify(given, sorted), JSON.stringify(expected, sorted)];
  if (left !== right) throw new Error(`${what}: ${left} is not ${right}`);
}

const base64 = (value) => btoa(JSON.stringify(value)).replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '');

class FakeSocket {
  constructor(bench, url, protocol) {
    Object.assign(this, { bench, url, protocol, sent: [], closed: false });
  }

  send(text) {
    if (this.closed) throw new Error('closed');
    this.sent.push(JSON.parse(text));
    if (JSON.parse(text).type === 'ping' && !this.bench.silent) {
      queueMicrotask(() => this.say({ type: 'pong' }));
    }
  }

  close() {
    this.closed = true;
  }

  /** The frames of this type that the client has sent. */
  of(type) {
    return this.sent.filter((frame) => frame.type === type);
  }

  async open() {
    this.onopen({});
    await this.bench.settle();
  }

  /** Lets the server say these frames. */
  async say(...frames) {
    for (const frame of frames) {
      this.onmessage({ data: typeof frame === 'object' ? JSON.stringify(frame) : frame });
    }
    await this.bench.settle();
  }

  async lose(code = 1006, reason = '') {
    this.closed = true;
    this.onclose({ code, reason });
    await this.bench.settle();
  }
}

class Bench {
  constructor(connect) {
    Object.assign(this, { connect, sockets: [], requests: [], statuses: [], reported: [], timers: new Map(), last: 0 });
    this.now = 1800000000000;
    // Whether the server answers no ping.
    this.silent = false;
    this.chance = 0.5;
    this.token = 'admin-token';
    this.asked = 0;
    const names = ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'reportError'];
    this.real = { date: Date.now, random: Math.random, globals: names.map((name) => [name, globalThis[name]]) };
    Date.now = () => this.now;
    Math.random = () => this.chance;
    const start = (every) => (fn, ms = 0) => {
      this.timers.set((this.last += 1), { at: this.now + ms, fn, every: every && ms });
      return this.last;
    };
    const stop = (id) => void this.timers.delete(id);
    globalThis.setTimeout = start(false);
    globalThis.setInterval = start(true);
    globalThis.clearTimeout = globalThis.clearInterval = stop;
    globalThis.reportError = (error) => this.reported.push(error.message);
  }

  end() {
    if (this.client) this.client.close();
    Date.now = this.real.date;
    Math.random = this.real.random;
    for (const [name, value] of this.real.globals) globalThis[name] = value;
  }

  /** Lets everything happen that needs no time. */
  async settle() {
    for (let turn = 0; turn < 60; turn += 1) await null;
  }

  /** Lets time pass, timer by timer. */
  async pass(ms) {
    const end = this.now + ms;
    await this.settle();
    for (;;) {
      const [id, timer] = [...this.timers].sort(([, a], [, b]) => a.at - b.at)[0] || [];
      if (!timer || timer.at > end) break;
      this.now = Math.max(this.now, timer.at);
      if (timer.every) timer.at += timer.every;
      else this.timers.delete(id);
      timer.fn();
      await this.settle();
    }
    this.now = end;
  }

  /** The time until the next timer that is no interval. */
  wait() {
    const times = [...this.timers.values()].filter(({ every }) => !every).map(({ at }) => at - this.now);
    return times.length ? Math.min(...times) : null;
  }

  /** A token that ends in so many seconds. */
  jwt(seconds, more = {}) {
    const now = Math.floor(this.now / 1000);
    const claims = { exp: now + seconds, iat: now, sub: 'user_1', sid: 'sess_1', n: (this.last += 1), ...more };
    return `${base64({ alg: 'RS256' })}.${base64(claims)}.signature`;
  }

  /** A client of this bench. */
  async start(more = {}) {
    const bench = this;
    if (this.client) this.client.close();
    this.client = this.connect({
      url: 'https://sync.example.com',
      getToken: async () => {
        bench.asked += 1;
        if (bench.token instanceof Error) throw bench.token;
        return typeof bench.token === 'function' ? bench.token() : bench.token;
      },
      onStatus: (status, reason) => bench.statuses.push(reason ? `${status} ${reason}` : status),
      WebSocket: function Fake(url, protocol) {
        const socket = new FakeSocket(bench, url, protocol);
        bench.sockets.push(socket);
        return socket;
      },
      fetch: (url, init) => bench.request(url, init),
      ...more,
    });
    await this.settle();
    return this.client;
  }

  get socket() {
    return this.sockets[this.sockets.length - 1];
  }

  get status() {
    return this.statuses[this.statuses.length - 1];
  }

  /** Brings the newest socket up to `welcome`. */
  async welcome(seq = 10, epoch = 'e1') {
    await this.socket.open();
    await this.socket.say({ type: 'welcome', seq, epoch, user: null });
    return this.socket;
  }

  /** A client that is live. */
  async live(more) {
    await this.start(more);
    await this.welcome();
    return this.client;
  }

  /** The answer to a subscription. */
  async joined(...topics) {
    for (const topic of topics) await this.socket.say({ type: 'subscribed', topics: [topic] });
  }

  request(url, init) {
    return new Promise((answer, fail) => {
      const respond = (status, body, headers = {}) => {
        answer({ ok: status < 300, status, headers: new Map(Object.entries(headers)), json: async () => body });
        return this.settle();
      };
      const given = { url: new URL(url), init, respond, fail: () => (fail(new TypeError('network')), this.settle()) };
      if (init.signal) init.signal.addEventListener('abort', () => fail(new DOMException('aborted', 'AbortError')));
      this.requests.push({ ...given, page: (data, next = null) => respond(200, { data, next_cursor: next }) });
    });
  }

  /** The newest request. */
  get asking() {
    return this.requests[this.requests.length - 1];
  }
}

export const change = (seq, topic, more = {}) => ({
  type: 'event', seq, topic, event: 'user.updated', subject: 'user_1', changed: [], data: { id: 'u1' }, at: '', ...more,
});
