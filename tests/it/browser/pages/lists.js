// Lists: rows and what is told of them, in whatever order they come.

import { change, equal, ok, test } from './bench.js';

const member = (id, name = id, more = {}) => ({ id, clerk_id: `user_${id}`, display_name: name, image_url: null, role: 'org:member', ...more });
const told = (seq, what, row, more = {}) => change(seq, 'org:o1', { event: `membership.${what}`, subject: `org_1/${row.clerk_id}`, data: row, ...more });
const user = (id, rev, more = {}) => ({ id, clerk_id: `user_${id}`, display_name: id, rev, ...more });
const names = (list) => list.getSnapshot().map(({ display_name: name }) => name);

/** A list that somebody listens to, with its topic joined; `changes` counts what it told. */
async function listen(b, more = {}) {
  await b.live();
  const list = b.client.liveList({ topic: 'org:org_1', ...more });
  b.changes = 0;
  b.stop = list.subscribe(() => (b.changes += 1));
  await b.settle();
  await b.joined(more.topic || 'org:o1');
  return list;
}

/** The same with these rows. */
async function loaded(b, rows, more) {
  const list = await listen(b, more);
  await b.asking.page(rows);
  return list;
}

test('a list is read once its topic is joined, page by page, with the token', async (b) => {
  await b.live();
  const list = b.client.liveList({ topic: 'org:org_1' });
  await b.settle();
  equal([b.requests.length, list.loading, list.getSnapshot()], [0, true, []], 'before anybody listens');
  list.subscribe(() => {});
  await b.settle();
  equal([b.requests.length, b.socket.of('subscribe').length], [0, 1], 'before the topic is joined');
  await b.joined('org:o1');
  const { url, init } = b.asking;
  equal(url.href, 'https://sync.example.com/v1/organizations/org_1/members?limit=200&min_rev=10', 'the first page');
  equal([init.headers, init.credentials, init.redirect], [{ authorization: 'Bearer admin-token' }, 'omit', 'error'], 'how it is asked');
  await b.asking.page([member('b'), member('a')], 'c1');
  equal([b.asking.url.search, list.loading, names(list)], ['?limit=200&cursor=c1&min_rev=10', true, []], 'the second page');
  await b.asking.page([member('c')]);
  equal([names(list), list.loading, list.error], [['a', 'b', 'c'], false, null], 'all, in the order of the keys');
  ok(b.requests.every((one) => !one.url.href.includes('admin-token')), 'no address holds the token');
});

test('each kind of list has its place, its events, and may have its own', async (b) => {
  for (const [options, path] of [
    [{ topic: 'users' }, '/base/v1/users'],
    [{ topic: 'organizations' }, '/base/v1/organizations'],
    [{ topic: 'org:a/b' }, '/base/v1/organizations/a%2Fb/members'],
    [{ topic: 'users', path: '/v1/users?x=1' }, '/base/v1/users'],
  ]) {
    await b.live({ url: 'https://h/base' });
    b.client.liveList(options).subscribe(() => {});
    await b.settle();
    await b.joined(options.topic);
    equal([b.asking.url.pathname, b.asking.url.searchParams.get('limit')], [path, '200'], JSON.stringify(options));
  }
  for (const options of [{ topic: 'admin' }, { topic: 'user:me' }, {}, { topic: 'users', path: 'https://evil.example/x' }, { topic: 'users', path: 'data:text/plain,x' }]) {
    let thrown = false;
    try {
      b.client.liveList(options);
    } catch (error) {
      thrown = error instanceof TypeError;
    }
    ok(thrown, `${JSON.stringify(options)} is refused`);
  }
});

test('a list follows what is told of its own kind, and nothing else', async (b) => {
  const list = await loaded(b, [member('a'), member('b')]);
  await b.socket.say(
    told(11, 'updated', member('a', 'Ada'), { changed: ['display_name'] }),
    told(12, 'created', member('c')),
    told(13, 'deleted', member('b', null)),
    change(14, 'org:o1', { event: 'organization.updated', data: { id: 'o1', name: 'One' } }),
    change(15, 'org:o1', { event: 'permissions.updated', data: { id: 'a' } }),
  );
  equal(list.getSnapshot(), [member('a', 'Ada'), member('c')], 'the rows');
  const all = await loaded(b, [{ id: 'o1', name: 'One', rev: 3 }], { topic: 'organizations' });
  await b.socket.say(
    change(11, 'organizations', { event: 'membership.created', data: { id: 'm1' } }),
    change(12, 'organizations', { event: 'organization.created', data: { id: 'o2', name: 'Two', rev: 12 } }),
  );
  equal(all.getSnapshot().map(({ id }) => id), ['o1', 'o2'], 'organisations only');
});

test('an event that comes before the rows is laid over them', async (b) => {
  const list = await listen(b);
  await b.socket.say(told(11, 'updated', member('a', 'newer')), told(12, 'created', member('c')));
  await b.asking.page([member('a', 'older')], 'c1');
  await b.asking.page([member('b')]);
  await b.pass(1000);
  equal([names(list), list.loading], [['newer', 'b', 'c'], false], 'the rows');
});

test('who is deleted while the rows are read is gone, whichever came first', async (b) => {
  for (const first of ['event', 'rows']) {
    const list = await listen(b);
    await b.asking.page([member('a')], 'c1');
    if (first === 'event') await b.socket.say(told(11, 'deleted', member('b')));
    await b.asking.page([member('b')]);
    if (first === 'rows') await b.socket.say(told(11, 'deleted', member('b')));
    await b.pass(1000);
    equal([names(list), list.loading], [['a'], false], `${first} first`);
  }
});

test('who leaves and comes back while the rows are read is there', async (b) => {
  const list = await listen(b);
  await b.socket.say(told(11, 'deleted', member('a')));
  const shown = [];
  list.subscribe(() => list.loading || shown.push(names(list).join()));
  // The rows are of a moment after the return; what tells of it is still under way.
  await b.asking.page([member('a', 'back')]);
  await b.pass(300);
  await b.socket.say(told(12, 'created', member('a', 'back')));
  await b.pass(1000);
  equal([names(list), list.loading], [['back'], false], 'the rows');
  equal(shown, ['back'], 'and is never shown as gone');
});

test('rows that are newer than what is told of them never go back', async (b) => {
  const list = await listen(b);
  await b.socket.say(told(11, 'updated', member('a', 'second')));
  const shown = [];
  list.subscribe(() => list.loading || shown.push(names(list).join()));
  await b.asking.page([member('a', 'third')]);
  await b.pass(200);
  await b.socket.say(told(12, 'updated', member('a', 'third')));
  await b.pass(1000);
  equal(shown, ['third'], 'what was shown');
});

test('where rows have a rev, an older event never replaces a newer row', async (b) => {
  const list = await listen(b, { topic: 'users' });
  const event = (seq, what, row) => change(seq, 'users', { event: `user.${what}`, data: row });
  await b.socket.say(event(11, 'updated', user('a', 11, { display_name: 'older' })), event(12, 'deleted', { id: 'b', rev: 12 }));
  await b.socket.say(event(13, 'updated', user('c', 13, { display_name: 'newer' })));
  await b.asking.page([user('a', 20), user('b', 20), user('c', 5)]);
  await b.pass(1000);
  equal(names(list), ['a', 'b', 'newer'], 'the rows');
  await b.socket.say(event(14, 'updated', user('a', 14, { display_name: 'older' })));
  equal(names(list), ['a', 'b', 'newer'], 'later, too');
  await b.socket.say(event(21, 'updated', user('a', 21, { display_name: 'newest' })), event(22, 'deleted', { id: 'b', rev: 22 }));
  equal(names(list), ['newest', 'newer'], 'what is newer');
});

test('a column that changed and is not told goes, rather than to stay as it was', async (b) => {
  const list = await loaded(b, [user('a', 5, { email: 'a@example.com', locale: 'de' })], { topic: 'users' });
  await b.socket.say(change(11, 'users', { changed: ['email', 'display_name'], data: user('a', 11, { display_name: 'Ada' }) }));
  equal(list.getSnapshot(), [{ id: 'a', clerk_id: 'user_a', rev: 11, locale: 'de', display_name: 'Ada' }], 'the row');
});

test('what was told before the rows were asked for is in them', async (b) => {
  await b.live();
  b.client.subscribe('users', () => {});
  const list = b.client.liveList({ topic: 'org:org_1' });
  await b.settle();
  await b.joined('users');
  await b.socket.say(change(30, 'users'));
  list.subscribe(() => {});
  await b.settle();
  await b.joined('org:o1');
  // A page that went on elsewhere is told of an older change.
  await b.socket.say(told(25, 'deleted', member('a')));
  await b.asking.page([member('a')]);
  await b.pass(1000);
  equal(names(list), ['a'], 'the rows');
});

test('a reset reads everything anew, and shows what was there until then', async (b) => {
  const list = await loaded(b, [member('a'), member('b')]);
  await b.socket.say({ type: 'reset', topic: 'org:o1', seq: 90 });
  equal([names(list), list.loading, b.requests.length], [['a', 'b'], true, 2], 'meanwhile');
  await b.socket.say({ type: 'reset', topic: 'org:o1', seq: 95 });
  const [, stale, newest] = b.requests;
  await stale.page([member('x')]);
  equal(names(list), ['a', 'b'], 'an overtaken answer is not used');
  await newest.page([member('b'), member('c')]);
  equal([names(list), list.loading], [['b', 'c'], false], 'afterwards');
});

test('a list is read anew where the connection breaks meanwhile, and not where it breaks later', async (b) => {
  const list = await listen(b);
  const [first] = b.requests;
  await b.socket.lose();
  await b.pass(b.wait());
  await b.welcome(40);
  await b.joined('org:o1');
  equal(b.requests.length, 2, 'asked for again');
  await first.page([member('old')]);
  await b.socket.say(told(38, 'deleted', member('a')));
  await b.asking.page([member('a')]);
  await b.pass(1000);
  equal(names(list), ['a'], 'what is told late and older is in the rows');
  await b.socket.lose();
  await b.pass(b.wait());
  await b.welcome(50);
  await b.joined('org:o1');
  await b.socket.say(told(45, 'updated', member('a', 'renamed')));
  equal([names(list), b.requests.length], [['renamed'], 2], 'later it is resumed');
});

test('a list that is revoked is empty and says why', async (b) => {
  const list = await loaded(b, [member('a')]);
  await b.socket.say({ type: 'revoked', topics: ['org:o1'], reason: 'membership_ended' });
  equal([names(list), list.loading, list.error.reason, list.error.final], [[], false, 'membership_ended', true], 'the list');
  await b.socket.say(told(11, 'created', member('b')));
  await b.pass(60000);
  equal([names(list), b.requests.length], [[], 1], 'and stays so');
  const waiting = await listen(b);
  const { asking } = b;
  await b.socket.say({ type: 'revoked', topics: ['org:o1'], reason: 'membership_ended' });
  await asking.page([member('a')]);
  equal([names(waiting), waiting.error.reason], [[], 'membership_ended'], 'also while its rows are read');
  const dissolved = await loaded(b, [member('a')]);
  await b.socket.say(change(11, 'org:o1', { event: 'organization.deleted', data: { id: 'o1' } }));
  equal([names(dissolved), dissolved.error.reason], [[], 'organization_deleted'], 'an admin is told by the event');
});

test('a list ends with its client, except that a page that closes knows', async (b) => {
  b.token = b.jwt(60);
  const list = await loaded(b, [member('a')]);
  b.token = null;
  await b.pass(60000);
  equal([names(list), list.error.reason], [[], 'signed_out'], 'signed out');
  b.token = b.jwt(60);
  const other = await loaded(b, [member('a')]);
  const before = b.changes;
  b.client.close();
  equal([names(other), b.changes - before], [['a'], 0], 'closed');
  await listen(b);
  await b.asking.respond(503, {});
  const asked = b.requests.length;
  b.client.close();
  await b.pass(60000);
  equal(b.requests.length, asked, 'closed while it is tried again');
  b.token = 'admin-token';
  const last = await listen(b);
  b.token = null;
  await b.asking.page([member('a')], 'c1');
  equal([last.error.reason, b.requests.length], ['signed_out', asked + 1], 'signed out between two pages');
});

test('snapshots are frozen, and the same until something changes', async (b) => {
  const list = await loaded(b, [member('a'), member('b')]);
  const first = list.getSnapshot();
  ok(first === list.getSnapshot(), 'the same array');
  ok(Object.isFrozen(first) && first.every(Object.isFrozen), 'frozen');
  const before = b.changes;
  await b.socket.say(told(11, 'updated', member('a', 'Ada')));
  const second = list.getSnapshot();
  ok(first !== second && first[0].display_name === 'a' && second[0].display_name === 'Ada', 'a new one');
  ok(first[1] === second[1], 'a row that did not change is the same');
  equal(b.changes - before, 1, 'told once');
  await b.socket.say({ type: 'reset', topic: 'org:o1', seq: 20 });
  ok(second !== list.getSnapshot(), 'loading is a change');
  const [getSnapshot, subscribe] = [list.getSnapshot, list.subscribe];
  ok(getSnapshot() === list.getSnapshot() && typeof subscribe(() => {}) === 'function', 'both can be handed on alone');
});

test('order and key can be chosen', async (b) => {
  const options = { key: (row) => row.clerk_id, sort: (x, y) => y.display_name.localeCompare(x.display_name) };
  const list = await loaded(b, [member('a'), member('c')], options);
  await b.socket.say(told(11, 'created', member('b')), told(12, 'deleted', { clerk_id: 'user_c' }));
  equal(names(list), ['b', 'a'], 'the rows');
});

test('an answer that is no list, or an error of the server, is tried again after a while', async (b) => {
  const list = await listen(b);
  b.chance = 1;
  const cases = [
    ['http_503', () => b.asking.respond(503, {}, { 'retry-after': '7' }), 7000],
    ['http_429', () => b.asking.respond(429, {}), 500],
    ['unreachable', () => b.asking.fail(), 1000],
    ['garbled', () => b.asking.respond(200, { data: 'x' }), 2000],
    ['unreachable', () => b.asking.page([null]), 4000],
  ];
  for (const [reason, answer, wait] of cases) {
    const asked = b.requests.length;
    await answer();
    equal([list.error.reason, list.error.final, list.loading], [reason, false, true], reason);
    await b.pass(wait - 1);
    equal(b.requests.length, asked, `${reason}: not before ${wait} ms`);
    await b.pass(1);
    equal(b.requests.length, asked + 1, `${reason}: then`);
  }
  await b.asking.page([member('a')]);
  equal([names(list), list.error], [['a'], null], 'in the end');
});

test('an answer that does not come is given up, and one page for ever is no list', async (b) => {
  const list = await listen(b);
  await b.pass(30000);
  equal(list.error.reason, 'unreachable', 'after 30 s');
  await b.pass(1000);
  await b.asking.page([member('a')], 'same');
  await b.asking.page([member('b')], 'same');
  equal([list.error.reason, names(list)], ['garbled', []], 'the same cursor twice');
});

test('a token that is refused is replaced once; who may not read is told so', async (b) => {
  const list = await listen(b);
  b.token = 'admin-token-2';
  await b.asking.respond(401, {});
  equal([b.requests.length, b.asking.init.headers.authorization], [2, 'Bearer admin-token-2'], 'at once');
  await b.asking.respond(401, {});
  equal([b.requests.length, list.error.reason], [2, 'http_401'], 'then after a while');
  await b.pass(1000);
  await b.asking.page([member('a')]);
  equal(names(list), ['a'], 'in the end');
  for (const [status, reason] of [[403, 'forbidden'], [404, 'not_found'], [422, 'invalid_request']]) {
    const refused = await listen(b);
    await b.asking.respond(status, {});
    equal([refused.error.reason, refused.error.final, refused.loading], [reason, true, false], `${status}`);
    equal(b.socket.of('unsubscribe').length, 1, 'it does not go on listening');
  }
});

test('rows are never read with the token of another person', async (b) => {
  b.token = b.jwt(60);
  const list = await listen(b);
  b.token = b.jwt(60, { sub: 'user_2' });
  await b.asking.page([member('a')], 'c1');
  equal([list.error.reason, names(list), b.requests.length], ['other_person', [], 1], 'the list');
});

test('a list rests when nobody listens, and is read anew for who listens then', async (b) => {
  const list = await loaded(b, [member('a')]);
  b.stop();
  // As React does, twice, while it looks at a component.
  const again = list.subscribe(() => {});
  again();
  const third = list.subscribe(() => {});
  await b.pass(6000);
  equal([b.socket.of('unsubscribe').length, b.requests.length], [0, 1], 'a moment without anybody changes nothing');
  third();
  await b.pass(6000);
  equal(b.socket.of('unsubscribe').length, 1, 'nobody for long');
  list.subscribe(() => {});
  await b.settle();
  equal(list.loading, true, 'read anew');
  await b.joined('org:o1');
  await b.asking.page([member('b')]);
  equal([names(list), list.loading], [['b'], false], 'the rows');
});

test('two lists and a handler share a topic', async (b) => {
  const one = await loaded(b, [member('a')]);
  const seqs = [];
  b.client.subscribe('org:org_1', ({ seq }) => seqs.push(seq));
  const two = b.client.liveList({ topic: 'org:org_1' });
  two.subscribe(() => {});
  await b.settle();
  await b.asking.page([member('a'), member('b')]);
  await b.socket.say(told(11, 'updated', member('a', 'Ada')));
  equal([names(one), names(two), seqs, b.socket.of('subscribe').length], [['Ada'], ['Ada', 'b'], [11], 1], 'each has it');
});

test('an event without a key is reported, and a listener that throws breaks nothing', async (b) => {
  const list = await loaded(b, [member('a')]);
  const sound = [];
  list.subscribe(() => {
    throw new Error('of a listener');
  });
  list.subscribe(() => sound.push(names(list).join()));
  await b.socket.say(told(11, 'updated', { display_name: 'nobody' }), change(12, 'org:o1', { event: 'membership.updated', data: null }));
  await b.socket.say(told(13, 'updated', member('a', 'Ada')));
  equal(names(list), ['Ada'], 'the rows');
  ok(sound.includes('Ada'), 'the others are told');
  ok(b.reported.includes('clerk-sync: an event of org:org_1 has no key (gateway.list_fields)'), 'what is reported');
  b.reported.length = 0;
});
