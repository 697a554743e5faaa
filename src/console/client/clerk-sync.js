// clerk-sync for pages: live changes over one websocket that goes on where it broke off, and lists that stay true.
// One ES2020 module, no dependencies. Options, frames, errors: clerk-sync.d.ts. How to begin: README.md.

// --- numbers; times in milliseconds
const TICK = 1000;
const OPENING = 15000; // from asking for a token to `welcome`
const QUIET = 20000; // nothing heard for so long: a ping; nothing for as long again: the connection is dead
const STEADY = 10000; // live for so long: the next failure counts as the first
const AGAIN = 2000; // until what is not ready, or a token that is still the same, is asked for again
const SETTLE = 1000; // what is stored has reached the page by then
const REST = 5000; // until a list that nobody listens to stops
const REQUEST = 30000; // one page of a list
const FRAMES = 60; // sent for topics at once, and half as many a second; the server takes 100, and 50

const AUTH = {};
const CLOSED = { 1001: 'going_away', 4400: 'bad_message', 4401: 'unauthenticated', 4403: 'forbidden', 4408: 'too_slow' };
const REFUSED = { 400: 'invalid_request', 403: 'forbidden', 404: 'not_found', 422: 'invalid_request' };

const isText = (value) => typeof value === 'string';
const isSeq = Number.isSafeInteger;
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const report = (error) => (globalThis.reportError || console.error)(error);
const failure = (reason, more) => Object.assign(new Error(`clerk-sync: ${reason}`), { reason, final: false }, more);

/** Calls what the page gave us. What it throws is for the page to hear of, and stops nothing here. */
function safely(fn, ...given) {
  try {
    fn(...given);
  } catch (error) {
    report(error);
  }
}

function listen(set, fn) {
  const own = (...given) => fn(...given);
  set.add(own);
  return () => void set.delete(own);
}

// --- tokens

/** What a session token says of itself, unverified; nothing if it is none. */
function claims(token) {
  try {
    return JSON.parse(atob(token.split('.')[1].replace(/-/g, '+').replace(/_/g, '/'))) || {};
  } catch {
    return {};
  }
}

/** When to ask for the next: a quarter of its life before the end, at most 10 s; by chance up to half as much earlier. */
function renewal({ exp, iat }, now) {
  if (!(exp > 0)) return Infinity;
  const left = exp * 1000 - now;
  const life = iat > 0 ? (exp - iat) * 1000 : left;
  // Where the clock here is wrong, the end seems past or too far away.
  const known = left > 0 && left <= life ? left : life;
  return now + Math.max(TICK, known - Math.min(10000, life / 4) * (1 + Math.random() / 2));
}

export function connect(options) {
  const { url, getToken } = options;
  if (!url || typeof getToken !== 'function') throw new TypeError('clerk-sync: connect({ url, getToken })');
  const { min = 250, max = 30000 } = options.backoff || {};
  const Socket = options.WebSocket || globalThis.WebSocket;
  const request = options.fetch || ((...given) => globalThis.fetch(...given));
  const base = new URL(url, globalThis.location && globalThis.location.href);
  base.protocol = base.protocol.replace('ws', 'http');
  base.pathname = base.pathname.replace(/\/*$/, '/');
  base.username = base.password = base.search = base.hash = '';
  const door = new URL('v1/ws', base);
  door.protocol = base.protocol.replace('http', 'ws');

  let [status, reason] = Socket ? ['connecting'] : ['closed', 'no_websocket'];
  let over = !Socket;
  let socket, ticker, retryTimer;
  let turn = 0; // rises with every connection; what an older one still says is not heard
  let failures = 0;
  let liveSince, heard, deadline; // when it became live, was last heard, must next be heard
  let token, person, renewAt;
  let epoch;
  let head; // the newest change that this connection has told of
  let seen = 0; // the newest change that any connection has told of, in this epoch
  let asked = []; // questions; their answers come in this order
  let budget = 0; // frames that may be sent now
  let fresh = false; // whether the last event was new here
  const topics = new Set();
  const words = new Map(); // what the page calls a topic, to the topic
  const [statuses, notices] = [new Set(), new Set()];
  if (options.onStatus) listen(statuses, options.onStatus);

  // --- the connection

  const pause = (tries) => Math.random() * Math.min(max, min * 2 ** tries);

  function become(next, why) {
    [status, reason] = [next, why];
    for (const fn of [...statuses]) safely(fn, status, reason);
  }

  function send(frame) {
    try {
      socket.send(JSON.stringify(frame));
    } catch {
      // A socket that takes nothing any more is about to say so itself.
    }
  }

  /** Notes the newest change that was told: what is read from here on must not be older. */
  function advance(seq) {
    head = Math.max(head, seq);
    seen = Math.max(seen, seq);
  }

  /** Forgets the connection, not the topics. */
  function drop() {
    turn += 1;
    clearTimeout(retryTimer);
    const old = socket;
    [socket, asked, head, deadline, renewAt] = [undefined, [], 0, Infinity, Infinity];
    for (const topic of topics) {
      Object.assign(topic, { name: undefined, sent: false, due: 0 });
      for (const follower of topic.followers) follower.on = false;
    }
    if (old) safely(() => old.close());
  }

  async function open() {
    drop();
    const mine = turn;
    deadline = Date.now() + OPENING;
    become('connecting');
    let given;
    try {
      given = await getToken();
    } catch {
      return mine === turn && retry('no_token');
    }
    if (mine !== turn || !adopt(given)) return;
    try {
      socket = new Socket(door.href, 'clerk-sync.v1');
    } catch {
      return retry('cannot_open');
    }
    socket.onopen = () => mine === turn && present();
    socket.onmessage = ({ data }) => mine === turn && hear(data);
    socket.onclose = ({ code, reason: text }) => mine === turn && lost(code, text);
  }

  /** Takes a token, unless it is nobody's, or somebody else's, whose changes must not be mixed with what is here. */
  function adopt(given) {
    if (!given) return end('closed', 'signed_out');
    const said = claims(given);
    if (token !== undefined && said.sub !== person) return end('closed', 'other_person');
    [token, person, renewAt] = [given, said.sub, renewal(said, Date.now())];
    return true;
  }

  function present() {
    asked.push(AUTH);
    send({ type: 'auth', token });
  }

  async function renew() {
    const mine = turn;
    renewAt = Infinity;
    let given = token;
    try {
      given = await getToken();
    } catch {
      // As if it were still the same.
    }
    if (mine !== turn) return;
    if (given === token) renewAt = Date.now() + AGAIN;
    else if (adopt(given)) present();
  }

  function lost(code, text) {
    const why = /^[a-z_]{1,40}$/.test(text) ? text : CLOSED[code] || 'lost';
    if (code === 4400 && why !== 'rate_limited') report(failure('the server and clerk-sync.js are not of one version (4400)'));
    else if (code !== 4403 || why === 'too_many_connections') return retry(why);
    end('refused', why);
  }

  function retry(why) {
    drop();
    if (liveSince && Date.now() - liveSince >= STEADY) failures = 0;
    liveSince = 0;
    retryTimer = setTimeout(open, pause(failures));
    failures += 1;
    become('waiting', why);
  }

  function end(next, why, silent) {
    drop();
    over = true;
    token = '';
    clearInterval(ticker);
    watch('removeEventListener');
    become(next, why);
    for (const topic of [...topics]) leave(topic, why, silent);
  }

  function ping(limit) {
    deadline = Math.min(deadline, Date.now() + limit);
    send({ type: 'ping' });
  }

  /** Timers of hidden pages run late: silence is only a ping that was not answered. */
  function tick() {
    const now = Date.now();
    budget = Math.min(FRAMES, budget + FRAMES / 2);
    if (now > deadline) return retry('no_answer');
    if (status !== 'live') return;
    if (now - heard >= QUIET && deadline === Infinity) ping(QUIET);
    if (now >= renewAt) renew();
    pump();
  }

  function wake() {
    if (status === 'waiting') open();
    else if (status === 'live') ping(OPENING);
  }

  const shown = () => document.visibilityState === 'visible' && wake();

  function watch(how) {
    if (globalThis[how]) globalThis[how]('online', wake);
    if (globalThis.document) document[how]('visibilitychange', shown);
  }

  // --- what the server says

  function hear(text) {
    heard = Date.now();
    if (status === 'live') deadline = Infinity;
    let frame;
    try {
      frame = JSON.parse(text);
    } catch {
      // Judged with what is no frame.
    }
    if (!frame || !isText(frame.type)) return retry('garbled');
    // Types that are not known are a newer server's.
    const take = takes[frame.type];
    if (take && take(frame) === false) retry('garbled');
  }

  const named = (name) => [...topics].find((topic) => topic.name === name);

  /** Each answers `false` to what is no frame of the protocol. */
  const takes = {
    __proto__: null,

    welcome({ seq, epoch: now }) {
      if (!isSeq(seq) || !isText(now) || asked.shift() !== AUTH) return false;
      // The numbers of another history mean nothing in this one.
      if (epoch !== now) seen = 0;
      advance(seq);
      if (status === 'live') return;
      [epoch, liveSince, deadline, budget] = [now, heard, Infinity, FRAMES];
      become('live');
      pump();
    },

    subscribed({ topics: names }) {
      const { topic, followers } = asked.shift() || AUTH;
      if (!topic || !Array.isArray(names) || !isText(names[0])) return false;
      const twin = named(names[0]);
      if (twin && twin !== topic) return merge(topic, twin);
      topic.name = names[0];
      for (const follower of followers.filter((one) => topic.followers.has(one))) {
        const { lost: back, last = head } = follower;
        Object.assign(follower, { on: true, lost: false, last });
        if (back) safely(follower.call, { type: 'reset', topic: topic.name, seq: last });
        else if (follower.joined) safely(follower.joined);
      }
    },

    error({ code }) {
      if (!isText(code)) return false;
      const question = asked.shift();
      const { topic } = question || AUTH;
      if (question === AUTH) [token, renewAt] = ['', Date.now() + AGAIN];
      else if (topics.has(topic) && code === 'not_ready') topic.due = Date.now() + AGAIN;
      else if (topics.has(topic)) leave(topic, code);
    },

    event(frame) {
      const { seq } = frame;
      if (!isSeq(seq) || !isText(frame.topic) || !isText(frame.event)) return false;
      advance(seq);
      const topic = named(frame.topic);
      const followers = topic ? [...topic.followers] : [];
      fresh = followers.length > 0 && !followers.some((follower) => follower.last >= seq);
      for (const follower of followers) {
        if (!follower.on || follower.last >= seq) continue;
        follower.last = seq;
        safely(follower.call, frame);
      }
    },

    notice(frame) {
      // With an event that comes again, for a handler that goes back, it would be shown twice.
      if (fresh) for (const fn of [...notices]) safely(fn, frame);
    },

    reset(frame) {
      if (!isSeq(frame.seq) || !isText(frame.topic)) return false;
      seen = Math.max(seen, frame.seq);
      const { followers = [] } = named(frame.topic) || {};
      for (const follower of [...followers].filter((one) => one.on)) {
        follower.last = frame.seq;
        safely(follower.call, frame);
      }
    },

    revoked({ topics: names, reason: why }) {
      if (!Array.isArray(names) || !names.every(isText) || !isText(why)) return false;
      for (const topic of names.map(named)) if (topic) leave(topic, why);
    },
  };

  // --- topics

  function forget(topic) {
    topics.delete(topic);
    for (const [word, known] of words) if (known === topic) words.delete(word);
  }

  /** The topic is gone for the page; its handlers are told. */
  function leave(topic, why, silent) {
    const followers = [...topic.followers];
    topic.followers.clear();
    forget(topic);
    for (const follower of followers) {
      follower.on = false;
      if (!silent) safely(follower.call, { type: 'revoked', topics: [topic.name || topic.word], reason: why });
    }
  }

  /** Two names of one topic have one subscription at the server, which begins again for the handlers of both. */
  function merge(topic, twin) {
    for (const follower of topic.followers) {
      Object.assign(follower, { topic: twin, on: false });
      twin.followers.add(follower);
    }
    topics.delete(topic);
    for (const [word, known] of words) if (known === topic) words.set(word, twin);
    twin.due = 0;
    pump();
  }

  /** Asks for what the page wants and has not got: one question a topic, as each has its own `after`. */
  function pump() {
    if (status !== 'live') return;
    for (const topic of topics) {
      if (topic.due > Date.now() || budget < 1) continue;
      budget -= topic.sent ? 2 : 1;
      topic.due = Infinity;
      const followers = [...topic.followers];
      for (const follower of followers) {
        // The numbers of another history mean nothing in this one.
        if (follower.epoch && follower.epoch !== epoch) Object.assign(follower, { last: undefined, lost: true });
        follower.epoch = epoch;
      }
      const question = { type: 'subscribe', topics: [topic.word] };
      if (followers.some(({ last }) => last !== undefined)) {
        for (const follower of followers) if (follower.last === undefined) follower.last = head;
        Object.assign(question, { after: Math.min(...followers.map(({ last }) => last)), epoch });
      }
      // What was sent once on a connection comes again only to a new subscription.
      if (topic.sent) send({ type: 'unsubscribe', topics: [topic.name || topic.word] });
      topic.sent = true;
      asked.push({ topic, followers });
      send(question);
    }
  }

  /** A follower: `call` and `joined`; `last`, the newest change that it got, of `epoch`; `on`, whether its turn has come. */
  function follow(word, follower) {
    if (over) {
      queueMicrotask(() => safely(follower.call, { type: 'revoked', topics: [word], reason }));
      return () => {};
    }
    const topic = words.get(word) || named(word) || { word, name: undefined, followers: new Set(), sent: false, due: 0 };
    const newest = Math.max(...[...topic.followers].filter((one) => one.on).map((one) => one.last));
    topics.add(topic);
    words.set(word, topic);
    topic.followers.add(Object.assign(follower, { topic, on: false }));
    if (follower.last === undefined && newest >= 0) {
      Object.assign(follower, { on: true, last: newest, epoch });
      if (follower.joined) queueMicrotask(() => follower.on && safely(follower.joined));
    } else {
      topic.due = 0;
      // With what else is asked for at this moment.
      queueMicrotask(pump);
    }
    return () => {
      const own = follower.topic;
      follower.on = false;
      if (!own.followers.delete(follower) || own.followers.size) return;
      forget(own);
      if (own.sent) send({ type: 'unsubscribe', topics: [own.name || own.word] });
    };
  }

  function subscribe(topic, handler, { after } = {}) {
    if (!isText(topic) || typeof handler !== 'function') throw new TypeError('clerk-sync: subscribe(topic, handler)');
    if (after !== undefined && !(isSeq(after) && after >= 0)) throw new TypeError('clerk-sync: after must be a seq');
    return follow(topic, { call: handler, last: after });
  }

  // --- reads

  /** Where a path leads: to the server's own origin, since the token goes with it. */
  function resolve(path) {
    const where = new URL(path.replace(/^\/+/, ''), base);
    if (where.origin !== base.origin) throw new TypeError('clerk-sync: path leads to another origin');
    return where;
  }

  /** Reads an object, or what `accept` takes of it, as new as every change that was told. */
  async function read(target, accept) {
    if (seen) target.searchParams.set('min_rev', seen);
    for (let attempt = 0; ; attempt += 1) {
      const bearer = await getToken();
      if (!bearer) throw failure('signed_out', { final: true });
      if (token !== undefined && claims(bearer).sub !== person) throw failure('other_person', { final: true });
      const stop = new AbortController();
      const timer = setTimeout(() => stop.abort(), REQUEST);
      try {
        const headers = { authorization: `Bearer ${bearer}` };
        // A token goes to the server's own origin, and nowhere else.
        const given = { headers, signal: stop.signal, credentials: 'omit', redirect: 'error' };
        const answer = await request(target.href, given);
        const found = answer.ok && (await answer.json());
        if (found && accept(found)) return found;
        if (answer.ok) throw failure('garbled');
        if (answer.status === 401 && attempt === 0) continue;
        if (REFUSED[answer.status]) throw failure(REFUSED[answer.status], { final: true });
        throw failure(`http_${answer.status}`, { wait: Number(answer.headers.get('retry-after')) * 1000 });
      } finally {
        clearTimeout(timer);
      }
    }
  }

  async function get(path) {
    if (!isText(path)) throw new TypeError('clerk-sync: get(path)');
    const target = resolve(path);
    try {
      return await read(target, (found) => typeof found === 'object');
    } catch (error) {
      throw error.reason ? error : failure('unreachable');
    }
  }

  // --- lists

  /** One page of a list. */
  function readPage(where, cursor) {
    const target = new URL(where);
    target.searchParams.set('limit', 200);
    if (cursor) target.searchParams.set('cursor', cursor);
    return read(target, (page) => Array.isArray(page.data));
  }

  function liveList({ topic, path, key = (row) => row.id, sort }) {
    const org = isText(topic) && topic.startsWith('org:') && encodeURIComponent(topic.slice(4));
    const kind = org ? 'membership.' : { users: 'user.', organizations: 'organization.' }[topic];
    if (!kind) throw new TypeError('clerk-sync: a list follows org:…, users or organizations');
    const usual = org ? `v1/organizations/${org}/members` : `v1/${topic}`;
    const where = resolve(path || usual);
    const order = sort || ((a, b) => (key(a) < key(b) ? -1 : 1));
    const listeners = new Set();
    let rows = new Map();
    let shown; // what was shown last, until something changes
    let early; // events that come while the rows are being read
    let floor = 0; // changes up to here are in the rows that were read
    let run = 0;
    let stop, restTimer;

    function publish(news) {
      Object.assign(list, news);
      shown = undefined;
      for (const fn of [...listeners]) safely(fn);
    }

    function apply(to, { seq, event, changed, data }) {
      if (seq <= floor || !data || typeof data !== 'object') return;
      const id = key(data);
      if (id === undefined) throw failure(`an event of ${topic} has no key (gateway.list_fields)`);
      const old = to.get(id);
      if (old && old.rev >= seq) return;
      if (event.endsWith('.deleted')) return to.delete(id);
      const row = { ...old };
      // What changed and is not told must not stay as it was.
      for (const column of Array.isArray(changed) ? changed : []) delete row[column];
      to.set(id, Object.freeze({ ...row, ...data }));
    }

    async function load() {
      const mine = (run += 1);
      const current = () => mine === run && !over;
      publish({ loading: true });
      for (let tries = 0; current(); tries += 1) {
        // What was told by now was stored before, so it is in the rows that are read from here on.
        [early, floor] = [[], head];
        try {
          const found = new Map();
          let cursor, page;
          do {
            cursor = page && page.next_cursor;
            page = await readPage(where, cursor);
            if (!current()) return;
            for (const row of page.data) found.set(key(row), Object.freeze(row));
            if (cursor && page.next_cursor === cursor) throw failure('garbled');
          } while (page.next_cursor);
          // Rows may be newer than what was told of them meanwhile. Then the rest is on its way: with it nothing goes back.
          if (early.length) await sleep(SETTLE);
          if (!current()) return;
          for (const frame of early) safely(apply, found, frame);
          [rows, early] = [found, undefined];
          return publish({ loading: false, error: null });
        } catch (error) {
          if (!current()) return;
          if (error.final) return finish(error.reason);
          publish({ error: error.reason ? error : failure('unreachable') });
          await sleep(Math.max(pause(tries), error.wait || 0));
        }
      }
    }

    function take(frame) {
      if (frame.type === 'reset') return load();
      if (frame.type === 'revoked') return finish(frame.reason);
      if (org && frame.event === 'organization.deleted') return finish('organization_deleted');
      if (!frame.event.startsWith(kind)) return;
      if (early) return early.push(frame);
      apply(rows, frame);
      publish();
    }

    /** Nothing more comes, and what was there is not the page's to show any more. */
    function finish(why) {
      run += 1;
      stop();
      [rows, early] = [new Map(), undefined];
      publish({ loading: false, error: failure(why, { final: true }) });
    }

    function rest() {
      run += 1;
      stop();
      stop = undefined;
    }

    const list = {
      loading: true,
      error: null,
      getSnapshot: () => shown || (shown = Object.freeze([...rows.values()].sort(order))),
      subscribe(fn) {
        const unlisten = listen(listeners, fn);
        clearTimeout(restTimer);
        if (!stop) {
          Object.assign(list, { loading: true, error: null });
          stop = follow(topic, { call: take, joined: () => list.loading && load() });
        }
        return () => {
          unlisten();
          clearTimeout(restTimer);
          if (!listeners.size) restTimer = setTimeout(rest, REST);
        };
      },
    };
    return list;
  }

  // --- what the page gets

  drop();
  if (!over) {
    ticker = setInterval(tick, TICK);
    watch('addEventListener');
    // Once this function has returned, so that handlers can use what it returns.
    queueMicrotask(() => over || open());
  }
  return {
    subscribe,
    liveList,
    get,
    onNotice: (fn) => listen(notices, fn),
    onStatus(fn) {
      const stop = listen(statuses, fn);
      safely(fn, status, reason);
      return stop;
    },
    close: () => void (over || end('closed', 'closed', true)),
    get status() {
      return status;
    },
    get epoch() {
      return epoch;
    },
  };
}
