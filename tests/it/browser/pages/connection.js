// The connection: opened, kept, lost, found again, and given up.

import { change, equal, ok, test } from './bench.js';

test('the first frame says who it is, and no address holds a token', async (b) => {
  b.token = b.jwt(60);
  await b.start({ url: 'https://ada:secret@sync.example.com/base?token=x#y' });
  equal(b.socket.url, 'wss://sync.example.com/base/v1/ws', 'where it goes');
  equal(b.socket.protocol, 'clerk-sync.v1', 'the subprotocol');
  equal(b.socket.sent, [], 'nothing is said before the socket is open');
  await b.socket.open();
  equal(b.socket.sent, [{ type: 'auth', token: b.token }], 'the first frame');
  equal(b.statuses, ['connecting'], 'before the server has answered');
  await b.socket.say({ type: 'welcome', seq: 1, epoch: 'e', user: null });
  equal([b.statuses, b.client.epoch], [['connecting', 'live'], 'e'], 'afterwards');
});

test('every form of an address leads to the websocket', async (b) => {
  const forms = {
    'http://h:1': 'ws://h:1/v1/ws',
    'https://h/': 'wss://h/v1/ws',
    'ws://h/a//': 'ws://h/a/v1/ws',
    'wss://h/a/b': 'wss://h/a/b/v1/ws',
  };
  for (const [url, expected] of Object.entries(forms)) {
    await b.start({ url });
    equal(b.socket.url, expected, url);
    b.client.close();
  }
});

test('what is missing is said at once', async (b) => {
  for (const options of [{ url: 'https://h' }, { getToken: () => 'x' }, { url: '', getToken: () => 'x' }]) {
    let message = '';
    try {
      b.connect(options);
    } catch (error) {
      message = error.message;
    }
    equal(message, 'clerk-sync: connect({ url, getToken })', 'the error');
  }
});

test('waits double, are a random part, have a most, and begin anew after a steady while', async (b) => {
  await b.start({ backoff: { min: 100, max: 1500 } });
  const waits = [];
  for (const chance of [0.5, 1, 0.25, 1, 1, 1, 0]) {
    b.chance = chance;
    await b.socket.lose();
    waits.push(b.wait());
    await b.pass(b.wait());
  }
  equal(waits, [50, 200, 100, 800, 1500, 1500, 0], 'the waits');
  b.chance = 1;
  await b.welcome();
  await b.pass(9000);
  await b.socket.lose();
  equal(b.wait(), 1500, 'live for too short a while');
  await b.pass(1500);
  await b.welcome();
  await b.pass(10000);
  await b.socket.lose();
  equal(b.wait(), 100, 'live for long enough');
});

test('by default it waits up to 250 ms, and never more than 30 s', async (b) => {
  await b.start();
  b.chance = 1;
  const waits = [];
  for (let n = 0; n < 9; n += 1) {
    await b.socket.lose();
    waits.push(b.wait());
    await b.pass(b.wait());
  }
  equal(waits, [250, 500, 1000, 2000, 4000, 8000, 16000, 30000, 30000], 'the waits');
});

test('each close has its answer', async (b) => {
  const cases = [
    [1001, 'going_away', 'waiting going_away'],
    [1001, '', 'waiting going_away'],
    [1006, '', 'waiting lost'],
    [1000, '', 'waiting lost'],
    [1011, 'Oops <b>', 'waiting lost'],
    [4400, 'rate_limited', 'waiting rate_limited'],
    [4401, 'unauthenticated', 'waiting unauthenticated'],
    [4408, 'too_slow', 'waiting too_slow'],
    [4408, '', 'waiting too_slow'],
    [4403, '', 'refused forbidden'],
    [4403, 'too_many_connections', 'waiting too_many_connections'],
    [4400, 'bad_message', 'refused bad_message'],
  ];
  for (const [code, text, expected] of cases) {
    await b.live();
    await b.socket.lose(code, text);
    equal(b.status, expected, `${code} ${text}`);
    b.client.close();
  }
  equal(b.reported, ['clerk-sync: the server and clerk-sync.js are not of one version (4400)'], 'what is reported');
  b.reported.length = 0;
});

test('whom the server refuses, or does not understand, does not come back', async (b) => {
  for (const [code, why] of [[4403, 'forbidden'], [4400, 'bad_message']]) {
    await b.live();
    const frames = [];
    b.client.subscribe('user:me', (frame) => frames.push(frame));
    const opened = b.sockets.length;
    await b.socket.lose(code, '');
    await b.pass(600000);
    happens('online');
    await b.pass(60000);
    equal([b.sockets.length, b.client.status], [opened, 'refused'], `${code}`);
    equal(frames, [{ type: 'revoked', topics: ['user:me'], reason: why }], 'handlers are told');
    const late = [];
    b.client.subscribe('org:1', (frame) => late.push(frame));
    await b.settle();
    equal(late, [{ type: 'revoked', topics: ['org:1'], reason: why }], 'and later ones, too');
  }
  b.reported.length = 0;
});

function happens(name) {
  globalThis.dispatchEvent(new Event(name));
}

test('an expired token is replaced by a new one, and one that is always refused makes no storm', async (b) => {
  b.token = b.jwt(60);
  await b.live();
  await b.socket.lose(4401, 'unauthenticated');
  b.token = b.jwt(60);
  await b.pass(b.wait());
  await b.socket.open();
  equal(b.socket.sent[0].token, b.token, 'the new token');
  const before = b.sockets.length;
  b.chance = 1;
  for (let spent = 0; spent < 300000; spent += b.wait() || 1000) {
    if (b.status.startsWith('waiting')) await b.pass(b.wait());
    if (!b.socket.closed) await b.socket.lose(4401, 'unauthenticated');
  }
  ok(b.sockets.length - before < 25, `${b.sockets.length - before} connections in five minutes`);
});

test('coming online or to the front comes back at once, and asks where it is live', async (b) => {
  await b.live();
  await b.socket.lose();
  b.chance = 1;
  for (let n = 0; n < 6; n += 1) {
    await b.pass(b.wait());
    await b.socket.lose();
  }
  const opened = b.sockets.length;
  happens('online');
  await b.settle();
  equal(b.sockets.length, opened + 1, 'online');
  await b.socket.lose();
  if (globalThis.document) {
    document.dispatchEvent(new Event('visibilitychange'));
    await b.settle();
    equal(b.sockets.length, opened + 2, 'to the front');
  } else {
    happens('online');
    await b.settle();
  }
  await b.welcome();
  happens('online');
  equal(b.socket.of('ping').length, 1, 'a connection that seems alive is asked');
  await b.settle();
  b.silent = true;
  happens('online');
  await b.pass(16000);
  ok(b.statuses.includes('waiting no_answer'), 'it is given up soon where it does not answer');
});

test('silence is asked after 20 s and given up after 40 s', async (b) => {
  b.silent = true;
  await b.live();
  await b.pass(19000);
  equal(b.socket.of('ping').length, 0, 'not yet');
  await b.pass(2000);
  equal(b.socket.of('ping').length, 1, 'one ping');
  await b.socket.say({ type: 'pong' });
  await b.pass(21000);
  equal([b.socket.of('ping').length, b.client.status], [2, 'live'], 'an answer is enough');
  await b.pass(21000);
  equal(b.statuses.slice(0, 3), ['connecting', 'live', 'waiting no_answer'], 'no answer');
  ok(b.sockets[0].closed, 'the socket is closed');
});

test('a hidden page, whose timers run once a minute, keeps a healthy connection', async (b) => {
  await b.live();
  const tick = [...b.timers.values()].find(({ every }) => every);
  for (let minute = 0; minute < 5; minute += 1) {
    b.now += 60000;
    tick.at = b.now + 1000;
    tick.fn();
    await b.settle();
    equal([b.socket.of('ping').length, b.client.status], [minute + 1, 'live'], `minute ${minute}`);
  }
});

test('a connection that is not made within 15 s is given up', async (b) => {
  await b.start();
  await b.pass(17000);
  equal(b.statuses[1], 'waiting no_answer', 'no socket opened');
  await b.start();
  await b.socket.open();
  await b.pass(17000);
  equal(b.client.status === 'live', false, 'no welcome');
  b.client.close();
  await b.start({ getToken: () => new Promise(() => {}) });
  await b.pass(17000);
  equal(b.statuses.slice(-2), ['waiting no_answer', 'connecting'], 'no token');
});

test('nobody signed in closes, at the beginning and later', async (b) => {
  for (const nobody of [null, undefined, '']) {
    b.token = nobody;
    const opened = b.sockets.length;
    await b.start();
    equal([b.status, b.sockets.length], ['closed signed_out', opened], String(nobody));
  }
  b.token = b.jwt(60);
  await b.live();
  const frames = [];
  b.client.subscribe('user:me', (frame) => frames.push(frame));
  b.token = null;
  await b.pass(60000);
  equal([b.status, b.socket.closed], ['closed signed_out', true], 'when the token would be renewed');
  equal(frames, [{ type: 'revoked', topics: ['user:me'], reason: 'signed_out' }], 'handlers are told');
});

test('a token that cannot be had is asked for again', async (b) => {
  b.token = new Error('no network');
  await b.start();
  equal(b.status, 'waiting no_token', 'the status');
  b.token = b.jwt(60);
  await b.pass(b.wait());
  await b.welcome();
  equal(b.status, 'live', 'afterwards');
});

test('a token of another person closes', async (b) => {
  b.token = b.jwt(60);
  await b.live();
  b.token = b.jwt(60, { sub: 'user_2' });
  await b.pass(60000);
  equal([b.status, b.socket.of('auth').length], ['closed other_person', 1], 'at the renewal');
  b.token = b.jwt(60);
  await b.live();
  b.token = b.jwt(60, { sub: 'user_2' });
  await b.socket.lose(4401, '');
  await b.pass(30000);
  equal(b.status, 'closed other_person', 'at the next connection');
});

test('a token is renewed in band, before it ends, on the same connection', async (b) => {
  b.token = () => b.jwt(60);
  b.chance = 0;
  await b.live();
  const times = [];
  for (const chance of [0.5, 1, 0]) {
    const [before, count] = [b.now, b.socket.of('auth').length];
    // The one after this is arranged with this chance.
    b.chance = chance;
    while (b.socket.of('auth').length === count && b.now - before < 70000) await b.pass(500);
    times.push((b.now - before) / 1000);
    await b.socket.say({ type: 'welcome', seq: 20, epoch: 'e1', user: null });
  }
  equal(times, [50, 48, 45], 'seconds until each');
  equal(new Set(b.socket.of('auth').map(({ token }) => token)).size, 4, 'different tokens');
  equal([b.sockets.length, b.statuses], [1, ['connecting', 'live']], 'nobody notices');
  b.token = () => b.jwt(6);
  await b.pass(60000);
  const count = b.socket.of('auth').length;
  await b.pass(30000);
  ok(Math.abs(b.socket.of('auth').length - count - 6) <= 1, 'short ones too');
});

test('a token that is still the same is asked for again shortly', async (b) => {
  b.token = b.jwt(60);
  await b.live();
  await b.pass(48000);
  const asked = b.asked;
  ok(asked >= 2, 'asked before the end');
  await b.pass(6000);
  ok(b.asked - asked >= 2 && b.asked - asked <= 4, `${b.asked - asked} times in 6 s`);
  equal(b.socket.of('auth').length, 1, 'and not sent again');
  b.token = b.jwt(60);
  await b.pass(2000);
  equal(b.socket.of('auth').length, 2, 'until there is another');
});

test('a renewal that fails is tried again, on the same connection', async (b) => {
  b.token = b.jwt(60);
  await b.live();
  b.token = new Error('no network');
  await b.pass(50000);
  equal([b.client.status, b.socket.of('auth').length], ['live', 1], 'meanwhile');
  b.token = b.jwt(60);
  await b.pass(3000);
  equal(b.socket.of('auth').length, 2, 'afterwards');
  await b.socket.say({ type: 'error', code: 'not_ready' });
  await b.pass(3000);
  equal(b.socket.of('auth').length, 3, 'and again where the server could not judge it');
});

test('a clock that is wrong, long lives and tokens without an end neither hurry nor forget', async (b) => {
  const real = b.now;
  for (const [what, wrong] of [['ahead', 3600000], ['behind', -3600000]]) {
    b.now = real;
    b.token = b.jwt(60);
    b.now = real + wrong;
    b.asked = 0;
    await b.live();
    await b.pass(30000);
    equal(b.asked, 1, `${what}: not at once`);
    await b.pass(25000);
    ok(b.asked > 1, `${what}: in time`);
    b.client.close();
    await b.settle();
  }
  for (const [what, token] of [['a year', b.jwt(31536000)], ['no token of a session', 'admin-token']]) {
    b.token = token;
    b.asked = 0;
    await b.live();
    const tick = [...b.timers.values()].find(({ every }) => every);
    for (let hour = 0; hour < 48; hour += 1) {
      b.now += 3600000;
      tick.at = b.now + 1000;
      tick.fn();
      await b.settle();
    }
    equal([b.asked, b.client.status], [1, 'live'], what);
    b.client.close();
  }
});

test('what is no frame closes and comes back; it throws nothing', async (b) => {
  const garbled = [
    '', '{', 'null', '[]', '7', '"x"', '{}', '{"type":7}',
    { type: 'event' },
    { type: 'event', seq: 'x', topic: 'user:1', event: 'e' },
    { type: 'event', seq: 1.5, topic: 'user:1', event: 'e' },
    { type: 'event', seq: 11, topic: {}, event: 'e' },
    { type: 'event', seq: 11, topic: 'user:1', event: null },
    { type: 'reset', topic: 'user:1' },
    { type: 'reset', seq: 1 },
    { type: 'revoked' },
    { type: 'revoked', topics: 'user:1', reason: 'x' },
    { type: 'revoked', topics: [null], reason: 'x' },
    { type: 'revoked', topics: ['user:1'] },
    { type: 'subscribed', topics: ['user:1'] },
    { type: 'subscribed' },
    { type: 'welcome', seq: 1, epoch: 'e1' },
    { type: 'error' },
  ];
  for (const frame of garbled) {
    await b.live();
    b.client.subscribe('user:1', () => {});
    await b.settle();
    await b.joined('user:1');
    const { socket } = b;
    await socket.say(frame);
    equal([b.status, socket.closed], ['waiting garbled', true], JSON.stringify(frame));
    b.client.close();
  }
  for (const first of [{ type: 'subscribed', topics: ['user:1'] }, { type: 'welcome', seq: '1', epoch: 'e' }, { type: 'welcome', seq: 1 }]) {
    await b.start();
    await b.socket.open();
    await b.socket.say(first);
    equal(b.status, 'waiting garbled', `${JSON.stringify(first)} instead of a welcome`);
    b.client.close();
  }
  await b.live();
  await b.socket.say({ type: 'later', than: 'this client' }, { type: '__proto__' }, { type: 'constructor' }, { type: 'pong' });
  equal(b.status, 'live', 'types of a newer server are passed over');
  await b.socket.say(change(11, '__proto__'), change(12, 'nobody'), { type: 'reset', topic: 'x', seq: 1 });
  equal(b.status, 'live', 'so is what was not asked for');
});

test('a client that is closed does nothing more', async (b) => {
  await b.live();
  const frames = [];
  b.client.subscribe('user:1', (frame) => frames.push(frame));
  await b.settle();
  await b.joined('user:1');
  const { socket } = b;
  b.client.close();
  b.client.close();
  await socket.say(change(11, 'user:1'));
  await b.pass(120000);
  happens('online');
  await b.settle();
  equal([frames, b.sockets.length, socket.closed, socket.of('auth').length], [[], 1, true, 1], 'nothing');
  equal([b.statuses, b.timers.size], [['connecting', 'live', 'closed closed'], 0], 'the status, and no timer');
});

test('closing at any moment leaves nothing behind', async (b) => {
  for (const when of ['connecting', 'live', 'waiting']) {
    const opened = b.sockets.length;
    await b.start({ onStatus: (status) => status === when && b.client.close() });
    if (b.sockets.length > opened) await b.welcome();
    if (when === 'waiting') await b.socket.lose();
    await b.pass(120000);
    equal([b.client.status, b.timers.size], ['closed', 0], when);
    ok(b.sockets.slice(opened).every(({ closed }) => closed), `${when}: sockets are closed`);
  }
});

test('a client that is closed before it has begun asks nothing', async (b) => {
  const starting = b.start();
  b.client.close();
  await starting;
  await b.pass(60000);
  equal([b.asked, b.sockets.length, b.statuses], [0, 0, ['closed closed']], 'nothing');
});

test('an answer about a token that comes too late changes nothing', async (b) => {
  const waiting = [];
  const getToken = () => new Promise((...both) => waiting.push(both));
  const answer = async (index, token) => {
    if (token) waiting[index][0](token);
    else waiting[index][1](new Error('no network'));
    await b.settle();
  };
  await b.start({ getToken });
  b.client.close();
  await answer(0, '');
  equal([b.client.status, b.timers.size], ['closed', 0], 'after the end');
  await b.start({ getToken });
  await answer(1, b.jwt(60));
  await b.welcome();
  await b.pass(50000);
  equal(waiting.length, 3, 'the renewal asks');
  await b.socket.lose();
  await b.pass(b.wait());
  await answer(3, b.jwt(60));
  await b.socket.open();
  await answer(2, b.jwt(60));
  equal(b.socket.of('auth').length, 1, 'the renewal of a connection that is lost');
  await b.socket.say({ type: 'welcome', seq: 20, epoch: 'e1', user: null });
  equal(b.client.status, 'live', 'the new one');
});

test('listeners of the page are taken and given back', async (b) => {
  const { addEventListener: add, removeEventListener: remove } = globalThis;
  const taken = [];
  globalThis.addEventListener = (...given) => taken.push(given) && add.apply(globalThis, given);
  globalThis.removeEventListener = (name, fn) => {
    taken.splice(taken.findIndex((one) => one[0] === name && one[1] === fn), 1);
    remove.call(globalThis, name, fn);
  };
  await b.live();
  const during = taken.length;
  b.client.close();
  Object.assign(globalThis, { addEventListener: add, removeEventListener: remove });
  equal([during, taken.length], [1, 0], 'how many');
});

test('a socket that cannot be made is tried again', async (b) => {
  let tries = 0;
  function WebSocket() {
    tries += 1;
    throw new DOMException('forbidden', 'SecurityError');
  }
  await b.start({ WebSocket });
  equal(b.status, 'waiting cannot_open', 'the status');
  await b.pass(b.wait());
  equal(tries, 2, 'again');
});

test('without a WebSocket, as on a server, it is closed and does nothing', async (b) => {
  const real = globalThis.WebSocket;
  globalThis.WebSocket = undefined;
  try {
    const client = b.connect({ url: 'https://h', getToken: () => b.reported.push('asked for a token') });
    const frames = [];
    client.subscribe('user:me', (frame) => frames.push(frame));
    await b.pass(60000);
    equal([client.status, b.timers.size], ['closed', 0], 'nothing runs');
    equal(frames, [{ type: 'revoked', topics: ['user:me'], reason: 'no_websocket' }], 'handlers are told');
  } finally {
    globalThis.WebSocket = real;
  }
});

test('who listens for the status hears the present one, and may stop', async (b) => {
  await b.live();
  const heard = [];
  const stop = b.client.onStatus((status, reason) => heard.push([status, reason]));
  await b.socket.lose();
  stop();
  b.client.close();
  equal(heard, [['live', undefined], ['waiting', 'lost']], 'what was heard');
});
