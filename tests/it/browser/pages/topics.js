// Topics: each change once and in order to each handler, over every lost connection.

import { change, equal, ok, test } from './bench.js';

/** Follows a topic; what its handler gets, in short. */
function follow(b, topic, options) {
  const got = [];
  got.stop = b.client.subscribe(topic, (frame) => got.push(frame.type === 'event' ? frame.seq : `${frame.type} ${frame.reason || frame.seq}`), options);
  return got;
}

const asked = (socket) => socket.of('subscribe').map(({ topics, after, epoch }) => [topics[0], after, epoch]);

test('what is asked for at one moment is asked once a topic, when the connection is live', async (b) => {
  await b.start();
  const [one, two] = [follow(b, 'user:me'), follow(b, 'user:me')];
  follow(b, 'org:1');
  await b.welcome(10);
  equal(asked(b.socket), [['user:me', undefined, undefined], ['org:1', undefined, undefined]], 'the questions');
  await b.joined('user:u1', 'org:o1');
  await b.socket.say(change(11, 'user:u1'), change(12, 'org:o1'), change(13, 'user:u1'));
  equal([one, two], [[11, 13], [11, 13]], 'both handlers get it, by the canonical name');
  const late = follow(b, 'user:me');
  const alias = follow(b, 'user:u1');
  await b.settle();
  equal(asked(b.socket).length, 2, 'who comes later shares the subscription, under either name');
  await b.socket.say(change(14, 'user:u1'));
  equal([one, late, alias], [[11, 13, 14], [14], [14]], 'from then on');
});

test('each topic goes on after its own last change, or the point where it joined', async (b) => {
  await b.live();
  const [one, two] = [follow(b, 'user:me'), follow(b, 'org:1')];
  follow(b, 'org:2', { after: 3 });
  await b.settle();
  equal(asked(b.socket)[2], ['org:2', 3, 'e1'], 'a page that has something goes on from there');
  await b.joined('user:u1', 'org:o1', 'org:o2');
  await b.socket.say(change(4, 'org:o2'), change(21, 'user:u1'));
  await b.socket.lose();
  await b.pass(b.wait());
  await b.welcome(30);
  equal(asked(b.socket), [['user:me', 21, 'e1'], ['org:1', 10, 'e1'], ['org:2', 4, 'e1']], 'the questions');
  await b.socket.say(change(22, 'user:u1'));
  equal(one, [21], 'nothing comes before its answer');
  await b.joined('user:u1', 'org:o1', 'org:o2');
  await b.socket.say(change(22, 'user:u1'), change(25, 'org:o1'));
  equal([one, two], [[21, 22], [25]], 'afterwards');
  await b.socket.lose();
  await b.pass(b.wait());
  await b.welcome(30);
  await b.socket.lose();
  await b.pass(b.wait());
  await b.welcome(30);
  equal(asked(b.socket), [['user:me', 22, 'e1'], ['org:1', 25, 'e1'], ['org:2', 4, 'e1']], 'a connection that brought nothing');
});

test('a change that comes twice, or late, is given once', async (b) => {
  await b.live();
  const got = follow(b, 'users');
  await b.settle();
  await b.joined('users');
  for (const seq of [9, 10, 11, 11, 13, 12, 13, 14]) await b.socket.say(change(seq, 'users'));
  equal(got, [11, 13, 14], 'what the handler got');
});

test('a handler that goes back gets what it lacks, in order, and the others nothing twice', async (b) => {
  await b.live();
  const notices = [];
  b.client.onNotice(({ text }) => notices.push(text));
  const note = { type: 'notice', level: 'info', text: 'n', event: 'user.updated' };
  const one = follow(b, 'users');
  await b.settle();
  await b.joined('users');
  await b.socket.say(change(11, 'users'), note, change(12, 'users'), note);
  const two = follow(b, 'users', { after: 5 });
  await b.settle();
  equal(b.socket.sent.slice(2), [
    { type: 'unsubscribe', topics: ['users'] },
    { type: 'subscribe', topics: ['users'], after: 5, epoch: 'e1' },
  ], 'it begins again');
  await b.socket.say(change(13, 'users'));
  equal([one, two], [[11, 12, 13], []], 'what was under way is not for the new one yet');
  await b.joined('users');
  for (const seq of [6, 7, 11, 12, 13, 14]) await b.socket.say(change(seq, 'users'), note);
  equal([one, two], [[11, 12, 13, 14], [6, 7, 11, 12, 13, 14]], 'what each got');
  equal(notices.length, 3, 'notices of what is new to everybody: 11, 12 and 14');
});

test('of two handlers that go back one after the other each begins with its own answer', async (b) => {
  await b.live();
  const one = follow(b, 'users');
  await b.settle();
  await b.joined('users');
  const two = follow(b, 'users', { after: 5 });
  await b.settle();
  const three = follow(b, 'users', { after: 2 });
  await b.settle();
  await b.joined('users');
  await b.socket.say(change(6, 'users'), change(7, 'users'));
  await b.joined('users');
  for (const seq of [3, 6, 7, 11]) await b.socket.say(change(seq, 'users'));
  equal([one, two, three], [[11], [6, 7, 11], [3, 6, 7, 11]], 'what each got');
});

test('who joins while the connection is lost begins when it is back', async (b) => {
  await b.live();
  const one = follow(b, 'users');
  await b.settle();
  await b.joined('users');
  await b.socket.say(change(11, 'users'));
  await b.socket.lose();
  const two = follow(b, 'users');
  await b.pass(b.wait());
  await b.welcome(20);
  equal([asked(b.socket), b.socket.of('unsubscribe')], [[['users', 11, 'e1']], []], 'the question');
  await b.joined('users');
  await b.socket.say(change(12, 'users'), change(21, 'users'));
  equal([one, two], [[11, 12, 21], [21]], 'what each got');
});

test('two names of one topic become one subscription, and lose nothing', async (b) => {
  await b.live();
  const [one, two] = [follow(b, 'user:me'), follow(b, 'user:user_1')];
  await b.settle();
  await b.joined('user:u1', 'user:u1');
  await b.socket.say(change(11, 'user:u1'));
  equal(b.socket.sent.slice(3), [
    { type: 'unsubscribe', topics: ['user:u1'] },
    { type: 'subscribe', topics: ['user:me'], after: 10, epoch: 'e1' },
  ], 'it begins again for both');
  await b.joined('user:u1');
  await b.socket.say(change(11, 'user:u1'), change(12, 'user:u1'));
  equal([one, two], [[11, 12], [11, 12]], 'what each got');
  two.stop();
  await b.settle();
  await b.socket.say(change(13, 'user:u1'));
  equal([one, two, b.socket.of('unsubscribe').length], [[11, 12, 13], [11, 12], 1], 'one leaves, the other stays');
  one.stop();
  equal(b.socket.of('unsubscribe').length, 2, 'both have left');
});

test('who leaves one of two names before it is answered takes nothing from the other', async (b) => {
  await b.live();
  const one = follow(b, 'user:me');
  await b.settle();
  const two = follow(b, 'user:user_1');
  await b.settle();
  two.stop();
  await b.joined('user:u1', 'user:u1');
  equal(b.socket.sent.slice(-2), [
    { type: 'unsubscribe', topics: ['user:u1'] },
    { type: 'subscribe', topics: ['user:me'], after: 10, epoch: 'e1' },
  ], 'it begins again');
  await b.joined('user:u1');
  await b.socket.say(change(11, 'user:u1'));
  equal([one, two], [[11], []], 'what each got');
});

test('the last handler that stops unsubscribes; one that stopped hears nothing', async (b) => {
  await b.live();
  const [one, two] = [follow(b, 'users'), follow(b, 'users')];
  await b.settle();
  await b.joined('users');
  one.stop();
  one.stop();
  await b.socket.say(change(11, 'users'));
  equal([one, two, b.socket.of('unsubscribe')], [[], [11], []], 'one has stopped');
  two.stop();
  equal(b.socket.of('unsubscribe'), [{ type: 'unsubscribe', topics: ['users'] }], 'both have');
  await b.socket.say(change(12, 'users'));
  follow(b, 'org:1').stop();
  await b.settle();
  equal([two, asked(b.socket).length], [[11], 1], 'what is left at once is not asked for');
  await b.socket.lose();
  await b.pass(b.wait());
  await b.welcome();
  equal(asked(b.socket), [], 'nor again');
});

test('leaving and coming back at once is a new subscription', async (b) => {
  await b.live();
  const one = follow(b, 'org:1');
  await b.settle();
  one.stop();
  const two = follow(b, 'org:1');
  await b.settle();
  equal(b.socket.sent.slice(1).map(({ type }) => type), ['subscribe', 'unsubscribe', 'subscribe'], 'in this order');
  await b.joined('org:o1', 'org:o1');
  await b.socket.say(change(11, 'org:o1'));
  equal([one, two], [[], [11]], 'who gets it');
});

test('a handler that throws, or stops another, breaks nothing', async (b) => {
  await b.live();
  const got = [];
  b.client.subscribe('users', () => {
    throw new Error('of the page');
  });
  b.client.subscribe('users', ({ seq }) => got.push(seq) === 2 && third.stop());
  const third = follow(b, 'users');
  b.client.onNotice(() => {
    throw new Error('of a notice');
  });
  b.client.onStatus(() => {
    throw new Error('of a status');
  });
  await b.settle();
  await b.joined('users');
  const note = { type: 'notice', level: 'info', text: 'n', event: 'user.updated' };
  await b.socket.say(change(11, 'users'), note, change(12, 'users'), change(13, 'users'));
  equal([got, third], [[11, 12, 13], [11]], 'the others get theirs');
  equal(b.reported, ['of a status', 'of the page', 'of a notice', 'of the page', 'of the page'], 'what is reported');
  await b.socket.lose();
  await b.pass(b.wait());
  await b.welcome();
  equal(asked(b.socket), [['users', 13, 'e1']], 'and it goes on');
  b.reported.length = 0;
});

test('a handler that closes the client stops everything', async (b) => {
  await b.live();
  const got = [];
  b.client.subscribe('users', ({ seq }) => {
    got.push(seq);
    b.client.close();
  });
  const other = follow(b, 'users');
  await b.settle();
  await b.joined('users');
  await b.socket.say(change(11, 'users'), change(12, 'users'));
  equal([got, other, b.timers.size], [[11], [], 0], 'what was got');
});

test('a reset is told, and what follows it comes, whatever its number', async (b) => {
  await b.live();
  const [one, two] = [follow(b, 'users'), follow(b, 'org:1')];
  await b.settle();
  await b.joined('users', 'org:o1');
  await b.socket.say(change(50, 'users'), { type: 'reset', topic: 'users', seq: 40 }, change(41, 'users'), change(40, 'users'));
  equal([one, two], [[50, 'reset 40', 41], []], 'what each got');
  await b.socket.lose();
  await b.pass(b.wait());
  await b.welcome();
  equal(asked(b.socket), [['users', 41, 'e1'], ['org:1', 10, 'e1']], 'where each goes on');
});

test('another history resets every topic, once', async (b) => {
  await b.live();
  const [one, two] = [follow(b, 'users'), follow(b, 'org:1', { after: 2 })];
  await b.settle();
  await b.joined('users', 'org:o1');
  await b.socket.say(change(50, 'users'));
  await b.socket.lose();
  await b.pass(b.wait());
  await b.welcome(5, 'e2');
  equal(asked(b.socket), [['users', undefined, undefined], ['org:1', undefined, undefined]], 'old numbers are not used');
  await b.socket.lose();
  await b.pass(b.wait());
  await b.welcome(6, 'e2');
  await b.joined('users', 'org:o1');
  await b.socket.say(change(7, 'users'));
  equal([one, two], [[50, 'reset 6', 7], ['reset 6']], 'what each got, over a connection that broke meanwhile');
  await b.socket.lose();
  await b.pass(b.wait());
  await b.welcome(8, 'e2');
  equal(asked(b.socket), [['users', 7, 'e2'], ['org:1', 6, 'e2']], 'where each goes on');
});

test('what is revoked or refused ends, and is not asked for again', async (b) => {
  await b.live();
  const [one, two, three, four] = ['org:1', 'org:2', 'nonsense', 'users'].map((topic) => follow(b, topic));
  await b.settle();
  await b.joined('org:o1');
  await b.socket.say({ type: 'error', code: 'forbidden', topic: 'org:2' }, { type: 'error', code: 'invalid_topic', topic: 'nonsense' });
  await b.joined('users');
  await b.socket.say({ type: 'revoked', topics: ['org:o1'], reason: 'membership_ended' }, change(11, 'org:o1'), change(12, 'users'));
  equal([one, two, three, four], [['revoked membership_ended'], ['revoked forbidden'], ['revoked invalid_topic'], [12]], 'what each got');
  [one, two, three].forEach(({ stop }) => stop());
  equal(b.socket.of('unsubscribe'), [], 'there is nothing to leave');
  await b.socket.lose();
  await b.pass(b.wait());
  await b.welcome();
  equal(asked(b.socket), [['users', 12, 'e1']], 'afterwards');
  const again = follow(b, 'org:1');
  await b.settle();
  await b.joined('users', 'org:o1');
  await b.socket.say(change(13, 'org:o1'));
  equal([one, again], [['revoked membership_ended'], [13]], 'who joins again asks again');
});

test('a subscription for which the server is not ready is asked for again', async (b) => {
  await b.live();
  const got = follow(b, 'users', { after: 4 });
  await b.settle();
  await b.socket.say({ type: 'error', code: 'not_ready' });
  await b.pass(3000);
  equal(asked(b.socket), [['users', 4, 'e1'], ['users', 4, 'e1']], 'the questions');
  await b.joined('users');
  await b.socket.say(change(5, 'users'));
  equal(got, [5], 'afterwards');
});

test('a hundred topics are asked for within what the server takes', async (b) => {
  await b.start();
  for (let n = 0; n < 100; n += 1) follow(b, `org:${n}`);
  await b.welcome();
  const times = [];
  for (let second = 0; second < 5 && asked(b.socket).length < 100; second += 1) {
    times.push(asked(b.socket).length);
    await b.pass(1000);
  }
  equal([times, asked(b.socket).length], [[60, 90], 100], 'how many were asked for, second by second');
  equal(new Set(asked(b.socket).map(([topic]) => topic)).size, 100, 'each once');
});

test('what is asked for wrongly is said at once', async (b) => {
  await b.live();
  for (const given of [['users'], [7, () => {}], ['users', () => {}, { after: 'x' }], ['users', () => {}, { after: -1 }]]) {
    let thrown = false;
    try {
      b.client.subscribe(...given);
    } catch (error) {
      thrown = error instanceof TypeError;
    }
    ok(thrown, JSON.stringify(given));
  }
});
