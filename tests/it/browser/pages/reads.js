// Reads: an object, never older than what the page has been told.

import { change, equal, ok, test } from './bench.js';

const asOf = (b) => b.asking.url.searchParams.get('min_rev');

/** What becomes of a read: its body, or its reason. */
const outcome = (read) => read.then((body) => body, ({ reason, final }) => [reason, final]);

test('an object is read with a token, as new as the newest change that was told', async (b) => {
  await b.start();
  let body = outcome(b.client.get('/v1/users/me'));
  await b.settle();
  equal(b.asking.url.href, 'https://sync.example.com/v1/users/me', 'before anything was told');
  const { init } = b.asking;
  equal([init.headers, init.credentials, init.redirect], [{ authorization: 'Bearer admin-token' }, 'omit', 'error'], 'how it is asked');
  await b.asking.respond(200, { id: 'u1' });
  equal(await body, { id: 'u1' }, 'the body');
  await b.welcome();
  b.client.get('v1/users/me?a=b');
  await b.settle();
  equal(b.asking.url.search, '?a=b&min_rev=10', 'what the greeting names');
  let read;
  b.client.subscribe('users', ({ type, seq }) => type === 'event' && seq === 17 && (read = b.client.get('/v1/users/u1')));
  await b.settle();
  await b.joined('users');
  await b.socket.say(change(12, 'users'), change(17, 'users'));
  equal([b.asking.url.pathname, asOf(b)], ['/v1/users/u1', '17'], 'by a handler, of the event that it got');
  ok(read instanceof Promise, 'it read');
  await b.socket.say({ type: 'reset', topic: 'users', seq: 40 });
  b.client.get('/v1/users/me');
  await b.settle();
  equal(asOf(b), '40', 'after a reset');
  await b.asking.respond(200, {});
});

test('what was told stays known over a lost connection, and ends with its epoch', async (b) => {
  const read = async () => {
    b.client.get('/v1/users/me').catch(() => {});
    await b.settle();
    return asOf(b);
  };
  await b.live();
  b.client.subscribe('users', () => {});
  await b.settle();
  await b.joined('users');
  await b.socket.say(change(30, 'users'));
  await b.socket.lose();
  equal(await read(), '30', 'while there is no connection');
  await b.pass(b.wait());
  // A replica that is behind.
  await b.welcome(28);
  equal(await read(), '30', 'on one that has told less');
  await b.socket.lose();
  await b.pass(b.wait());
  await b.welcome(5, 'e2');
  equal(await read(), '5', 'in another epoch');
});

test('a list reads its rows as new as what was told, page by page', async (b) => {
  await b.live();
  const list = b.client.liveList({ topic: 'users' });
  list.subscribe(() => {});
  await b.settle();
  await b.joined('users');
  equal(asOf(b), '10', 'the first page');
  await b.socket.say(change(31, 'users', { data: { id: 'a', rev: 31 } }));
  await b.asking.page([{ id: 'a', rev: 31 }], 'c1');
  equal([asOf(b), b.asking.url.searchParams.get('cursor')], ['31', 'c1'], 'the next one');
  await b.asking.page([]);
});

test('a read that fails says why, and goes nowhere else', async (b) => {
  await b.live();
  const failing = async (respond) => {
    const told = outcome(b.client.get('/v1/users/me'));
    await b.settle();
    await respond();
    return told;
  };
  equal(await failing(() => b.asking.respond(503, { code: 'stale' }, { 'retry-after': '1' })), ['http_503', false], 'not there yet');
  equal(await failing(() => b.asking.respond(404, {})), ['not_found', true], 'not for this caller');
  equal(await failing(() => b.asking.respond(200, 'text')), ['garbled', false], 'no object');
  equal(await failing(() => b.asking.fail()), ['unreachable', false], 'no answer');
  b.token = 'admin-token-2';
  const asked = b.requests.length;
  const told = failing(() => b.asking.respond(401, {}));
  await b.settle();
  await b.settle();
  equal([b.requests.length, b.asking.init.headers.authorization], [asked + 2, 'Bearer admin-token-2'], 'again with the next token');
  await b.asking.respond(200, { id: 'u1' });
  equal(await told, { id: 'u1' }, 'then');
  const refused = [];
  const asking = b.requests.length;
  for (const path of ['https://evil.example/x', 'data:text/plain,x', 7]) {
    b.client.get(path).catch((error) => refused.push(error.name));
    await b.settle();
  }
  equal([refused, b.requests.length], [['TypeError', 'TypeError', 'TypeError'], asking], 'elsewhere');
  b.client.get('//evil.example/x');
  await b.settle();
  equal(b.asking.url.href, 'https://sync.example.com/evil.example/x?min_rev=10', 'a path only');
  await b.asking.respond(200, {});
  b.token = null;
  equal(await outcome(b.client.get('/v1/users/me')), ['signed_out', true], 'without a token');
});
